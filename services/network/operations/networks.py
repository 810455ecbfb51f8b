# SPDX-License-Identifier: Apache-2.0
"""Making, reading and removing networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from services.kernel.calls import Call
from services.kernel.clock import Ids
from services.kernel.errors import AlreadyExists, Exhausted, Forbidden, NotFound, StillInUse
from services.kernel.events import Event
from services.kernel.pages import Page, PageRequest
from services.network.domain.networks import CHOSEN_VLANS, Network, PortClass, Segment
from services.network.operations.store import Condition, Store

_ROUNDS = 8
"""Rounds of eight random VLANs before the lowest free one is looked for; unless a site is nearly full, one will do."""


@dataclass(frozen=True, slots=True)
class NewNetwork:
    """A network as asked for; ``vlan`` 0 chooses one."""

    name: str
    display_name: str
    network_class: PortClass
    vlan: int


class Networks:
    """The verbs of networks.

    Args:
        ids: its salts are what VLANs are chosen by.
    """

    def __init__(self, ids: Ids) -> None:
        self._ids = ids

    def create(self, store: Store, call: Call, new: NewNetwork) -> Network:
        """Makes a network.

        Raises:
            AlreadyExists: the name, the VLAN or the site's network of this class is taken.
            Exhausted: no VLAN is left to choose.
            Forbidden: a private class, asked for by somebody who is no administrator.
        """
        _require_right(call, new.network_class)
        for vlan in self._choices(store, new.vlan):
            if made := self._insert(store, call, new, Segment.of_vlan(vlan)):
                return made
            self._require_free(store, new)
        msg = "every VLAN is taken"
        raise Exhausted(msg, remedy="Remove a network that is not used, or name a VLAN outside 100 to 3999.")

    def check(self, store: Store, call: Call, new: NewNetwork) -> None:
        """Refuses what `create_on` would, as far as it can be said before a controller is asked.

        Raises:
            AlreadyExists: the name, or the site's network of this class is taken.
            Forbidden: a private class, asked for by somebody who is no administrator.
        """
        _require_right(call, new.network_class)
        self._require_free(store, replace(new, vlan=0))

    def create_on(self, store: Store, call: Call, new: NewNetwork, segment: Segment) -> Network:
        """Makes a network of one that a controller has made, or had.

        Raises:
            AlreadyExists: the name, what the controller calls it, or the site's network of this class is taken.
            Forbidden: a private class, asked for by somebody who is no administrator.
        """
        self.check(store, call, new)
        if made := self._insert(store, call, new, segment):
            return made
        self._require_free(store, replace(new, vlan=0))
        other = store.networks_on([segment.fabric_id]).get(segment.fabric_id)
        taken = other.name if other else "another one"
        msg = f"{segment.fabric_id} is {taken} already, and no network is two of ours"
        raise AlreadyExists(msg, remedy=f"Use {taken}, or take another network.", name=taken)

    def get(self, store: Store, name: str) -> tuple[Network, int]:
        """The network and how many ports are on it.

        Raises:
            NotFound: there is none.
        """
        found = store.network(name)
        if found is None:
            raise missing(name)
        return found

    def list(
        self, store: Store, project: str, page: PageRequest, where: Sequence[Condition]
    ) -> Page[tuple[Network, int]]:
        """A page of networks by name, of every project if *project* is ""."""
        return store.list_networks(project, page, where)

    def check_deletable(self, store: Store, call: Call, name: str) -> None:
        """Refuses what `delete` would, before a controller is asked."""
        self._deletable(store.network(name), call, name)

    def delete(self, store: Store, call: Call, name: str) -> Network:
        """Removes a network that no port is on; answers what it was.

        Raises:
            Forbidden: a private class, by somebody who is no administrator.
            NotFound: there is none.
            StillInUse: a port is on it, asked for or seen.
        """
        network = self._deletable(store.lock_network(name), call, name)
        self._record(store, call, network, "network.deleted")
        store.delete_network(network)
        return network

    @staticmethod
    def _deletable(found: tuple[Network, int] | None, call: Call, name: str) -> Network:
        if found is None:
            raise missing(name)
        network, ports = found
        _require_right(call, network.network_class)
        if ports:
            msg = f"{name} still has {ports} server ports on it, asked for or seen"
            raise StillInUse(
                msg,
                remedy="Detach the instances from it first; ListPortAttachments, filtered by network, names the ports.",
                name=name,
                ports=str(ports),
            )
        return network

    def _choices(self, store: Store, vlan: int) -> Iterator[int]:
        if vlan:
            yield vlan
            return
        for _ in range(_ROUNDS):
            salt = self._ids.salt()
            for at in range(0, 16, 2):
                yield CHOSEN_VLANS[int.from_bytes(salt[at : at + 2], "big") % len(CHOSEN_VLANS)]
        # Another caller may take it in the same moment, and the next one too; four in a row is bad luck.
        for _ in range(4):
            if lowest := store.free_vlan(CHOSEN_VLANS.start, CHOSEN_VLANS.stop - 1):
                yield lowest

    def _insert(self, store: Store, call: Call, new: NewNetwork, segment: Segment) -> Network | None:
        """The network, kept and told of; None if something of it is taken."""
        network = Network(new.name, new.display_name, new.network_class, segment, call.now, call.now)
        network = replace(network, head=store.end_of(new.name))
        if not store.insert_network(network):
            return None
        self._record(store, call, network, "network.created")
        return network

    @staticmethod
    def _require_free(store: Store, new: NewNetwork) -> None:
        """Says what is taken; returns if it was only a VLAN that nobody insisted on."""
        if store.network(new.name) is not None:
            msg = f"{new.name} exists"
            raise AlreadyExists(msg, remedy="Choose another id.", name=new.name)
        other = store.network_of_class(new.network_class) if new.network_class.private else None
        if other is not None:
            msg = f"the site has its {new.network_class} network already: {other.name}"
            raise AlreadyExists(msg, remedy=f"Use {other.name}, or delete it first.", name=other.name)
        if new.vlan:
            msg = f"VLAN {new.vlan} belongs to another network"
            raise AlreadyExists(msg, remedy="Choose another VLAN, or none.", vlan_id=str(new.vlan))

    @staticmethod
    def _record(store: Store, call: Call, network: Network, kind: str) -> None:
        event = Event(
            stream=network.name,
            type=kind,
            time=call.now,
            actor=call.caller.subject,
            project=network.project,
            request_id=call.request_id,
            facts={
                "network_class": network.network_class.value,
                "vlan_id": str(network.segment.vlan),
                "vni": str(network.segment.vni),
                "fabric_id": network.segment.fabric_id,
                "vrf": network.vrf,
            },
        )
        store.save_head(network, store.append(event, network.head))


def missing(name: str) -> NotFound:
    """The refusal of a network that is not there, or not to be known of."""
    msg = f"{name} does not exist"
    return NotFound(msg, remedy="bms network list shows those there are.", name=name)


def _require_right(call: Call, network_class: PortClass) -> None:
    if network_class.private and not call.caller.is_admin:
        msg = f"{network_class} networks are the administrator's"
        raise Forbidden(msg, remedy="Ask an administrator.", network_class=network_class)
