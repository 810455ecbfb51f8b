# SPDX-License-Identifier: Apache-2.0
"""What of ours is in Contrail: machines that stand for servers, interfaces that refer to them, and what shows servers.

Every interface of ours refers to its server's machine, so nobody else's has to be listed to find them. Virtual port
groups bear no mark: Contrail makes and removes them with the interfaces. Ports and port groups are below nodes; of
others' nodes no more is read than names and annotations, since they have passwords of BMCs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from services.network.backends.contrail_found import some, told
from services.network.backends.contrail_reading import BINDINGS, ids
from services.network.backends.contrail_shown import GROUP, NODE, PORT, is_shown, port_shown, take_down
from services.network.backends.contrail_words import MARK, UNIT, machine_uuid
from services.network.ports import Marked
from services.runtime.contrail import Contrail, Resource, pairs_of
from services.runtime.openstack import Refused

_INTERFACE, _MACHINE = "virtual-machine-interface", "virtual-machine"
_BACK_REFS = "virtual_machine_interface_back_refs"
_ADDRESSES = "instance_ip_back_refs"
_SHOWN = (GROUP, PORT, NODE)
"""In the order in which they can be removed."""
_READ = ("annotations", "id_perms")


class ContrailLeftovers:
    """`services.network.ports.Leftovers` over one Contrail; may be called from any thread."""

    def __init__(self, api: Contrail) -> None:
        self._api = api

    def page(self, after: str, size: int) -> tuple[list[Marked], str]:
        """See `Leftovers.page`: so many machines with all that refers to them, or nodes with what is below them."""
        kind, _, marker = after.partition(" ")
        with _refusals():
            if kind == NODE:
                found, following = self._nodes(marker, size)
                return found, f"{NODE} {following}" if following else ""
            found, following = self._machines(marker, size)
            return found, f"{_MACHINE} {following}" if following else f"{NODE} "

    def _machines(self, after: str, size: int) -> tuple[list[Marked], str]:
        listed, following = self._api.page(
            _MACHINE, after, size, fields=[_BACK_REFS], where={"server_type": "baremetal-server"}
        )
        machines = [one for one in listed if _is_machine(one)]
        wanted = {ident for one in machines for ident in ids(one, _BACK_REFS)}
        interfaces = some(self._api, _INTERFACE, wanted)
        return [*(_interface(one) for one in interfaces.values() if _is_ours(one)), *map(_machine, machines)], following

    def _nodes(self, after: str, size: int) -> tuple[list[Marked], str]:
        nodes, following = self._api.page(NODE, after, size, fields=_READ, whole=False)
        parents = [str(one["uuid"]) for one in nodes]
        there = {kind: self._api.every(kind, parent_id=parents) if parents else [] for kind in (GROUP, PORT)}
        there[NODE] = nodes
        return [_shown(kind, one) for kind in _SHOWN for one in there[kind] if is_shown(kind, one)], following

    def marked(self, ident: str) -> Marked | None:
        """See `Leftovers.marked`."""
        with _refusals():
            interface = self._api.get(_INTERFACE, ident)
            if interface is not None:
                return _interface(interface) if _is_ours(interface) else None
            machine = self._api.get(_MACHINE, ident)
            if machine is not None:
                return _machine(machine) if _is_machine(machine) else None
            for kind in _SHOWN:
                shown = self._api.get(kind, ident, *_READ)
                if shown is not None:
                    return _shown(kind, shown) if is_shown(kind, shown) else None
        return None

    def remove(self, marked: Marked) -> bool:
        """See `Leftovers.remove`. An address that refers to an interface stays, without it: it is ipam's."""
        with _refusals():
            if self.marked(marked.ident) != marked:
                return False
            if marked.shows:
                take_down(self._api, marked.kind, marked.ident)
                return True
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


def _shown(kind: str, thing: Resource) -> Marked:
    pairs = pairs_of(thing, "annotations")
    server = pairs[MARK]
    unit = {NODE: "", PORT: port_shown(server, thing), GROUP: pairs.get(UNIT, "")}[kind]
    # Whoever writes to it changes the moment.
    says = str((thing.get("id_perms") or {}).get("last_modified") or "")
    return Marked(str(thing["uuid"]), kind, server, unit, "", _created(thing), says, shows=True)


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
