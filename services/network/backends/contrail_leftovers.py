# SPDX-License-Identifier: Apache-2.0
"""What of ours is in Contrail: the machines that stand for servers, and the interfaces that refer to them.

Every interface of ours refers to its server's machine, so nobody else's has to be listed to find them. Port groups bear
no mark: Contrail makes and removes them with the interfaces.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from services.network.backends.contrail_found import some, told
from services.network.backends.contrail_reading import BINDINGS, ids
from services.network.backends.contrail_words import MARK, UNIT, machine_uuid
from services.network.ports import Marked
from services.runtime.contrail import Contrail, Resource, pairs_of
from services.runtime.openstack import Refused

_INTERFACE, _MACHINE = "virtual-machine-interface", "virtual-machine"
_BACK_REFS = "virtual_machine_interface_back_refs"
_ADDRESSES = "instance_ip_back_refs"


class ContrailLeftovers:
    """`services.network.ports.Leftovers` over one Contrail; may be called from any thread."""

    def __init__(self, api: Contrail) -> None:
        self._api = api

    def page(self, after: str, size: int) -> tuple[list[Marked], str]:
        """See `Leftovers.page`: so many machines, with all that refers to them."""
        with _refusals():
            listed, following = self._api.page(
                _MACHINE, after, size, fields=[_BACK_REFS], where={"server_type": "baremetal-server"}
            )
            machines = [one for one in listed if _is_machine(one)]
            wanted = {ident for one in machines for ident in ids(one, _BACK_REFS)}
            interfaces = some(self._api, _INTERFACE, wanted)
        found = [*map(_machine, machines), *(_interface(one) for one in interfaces.values() if _is_ours(one))]
        return found, following

    def marked(self, ident: str) -> Marked | None:
        """See `Leftovers.marked`."""
        with _refusals():
            interface = self._api.get(_INTERFACE, ident)
            if interface is not None:
                return _interface(interface) if _is_ours(interface) else None
            machine = self._api.get(_MACHINE, ident)
        return _machine(machine) if machine is not None and _is_machine(machine) else None

    def remove(self, marked: Marked) -> bool:
        """See `Leftovers.remove`. An address that refers to an interface stays, without it: it is ipam's."""
        with _refusals():
            if self.marked(marked.ident) != marked:
                return False
            if marked.kind == _INTERFACE:
                interface = self._api.get(_INTERFACE, marked.ident, _ADDRESSES) or {}
                for address in sorted(ids(interface, _ADDRESSES)):
                    self._api.remove_ref("instance-ip", address, _INTERFACE, marked.ident)
            self._api.delete(marked.kind, marked.ident)
        return True


def _is_ours(interface: Resource) -> bool:
    """Whether it bears our mark, and is at the machine of the server that the mark says."""
    server = pairs_of(interface, "annotations").get(MARK, "")
    return bool(server) and ids(interface, "virtual_machine_refs") == {machine_uuid(server)}


def _is_machine(machine: Resource) -> bool:
    server = pairs_of(machine, "annotations").get(MARK, "")
    return bool(server) and machine["uuid"] == machine_uuid(server)


def _interface(interface: Resource) -> Marked:
    pairs = pairs_of(interface, "annotations")
    networks = sorted(ids(interface, "virtual_network_refs"))
    says = (networks, sorted(pairs_of(interface, BINDINGS).items()), sorted(ids(interface, "virtual_port_group_refs")))
    return Marked(
        str(interface["uuid"]), _INTERFACE, pairs[MARK], pairs.get(UNIT, ""), networks[0] if networks else "",
        _created(interface), repr(says),
    )  # fmt: skip


def _machine(machine: Resource) -> Marked:
    server = pairs_of(machine, "annotations")[MARK]
    return Marked(str(machine["uuid"]), _MACHINE, server, "", "", _created(machine))


def _created(thing: Resource) -> datetime | None:
    text = str((thing.get("id_perms") or {}).get("created") or "")
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except Refused as error:
        raise told(error) from None
