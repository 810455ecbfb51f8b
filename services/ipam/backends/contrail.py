# SPDX-License-Identifier: Apache-2.0
"""`AddressPlane` over Contrail: a prefix is a subnet under an IPAM of its own, a lease is an instance-ip.

What it must not believe (docs/decisions/0072-contrail.md):

- *Done* is no address: after each POST everybody with that very address is read, and ours must be among them, alone.
- The lock of an address can be freed while an instance-ip has it (``ip-free``): then two are told that it is theirs. So
  who else has it counts, and never what the lock says. We ask for no ``ip-alloc`` and no ``ip-free``.
- Counts of free addresses drift; none is asked for.
- A list of references is changed one by one: a PUT would undo what others wrote meanwhile.

An interface is never made nor bound here: network refers an instance-ip to one, and knows it by its annotations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn

from services.ipam.backends.contrail_words import (
    Place,
    address_in,
    hold_of,
    hold_uuid,
    holder_of,
    ipam_of,
    ipam_uuid,
    lease_in,
    notes_of,
    range_of,
    realm_of,
    subnet_of,
    subnets_of,
)
from services.ipam.domain.addresses import Address, Network
from services.ipam.domain.holding import Holder, Marked, Realm, Taken
from services.ipam.domain.leases import Lease
from services.ipam.domain.prefixes import Prefix
from services.kernel.errors import Exhausted, NotFound, WrongState
from services.runtime.contrail import (
    ADDRESS_TAKEN,
    EXHAUSTED,
    EXISTS,
    QUOTA,
    Contrail,
    Resource,
    find_network,
    pairs_of,
    refs_of,
)
from services.runtime.openstack import Refused

_TRIES = 3

NOBODY = "nobody"
"""Who has an address that is allocated though no instance-ip has it: a bare ``ip-alloc``, a floating IP."""

_SUBNETS = ("network_ipam_refs", "address_allocation_mode")


class ContrailPlane:
    """See `AddressPlane`.

    Args:
        api: answers Contrail, opened when it is first needed; raises PeerUnavailable as long as it cannot be.
        dhcp: whether Contrail serves DHCP in subnets that we make.
    """

    def __init__(self, api: Callable[[], Contrail], *, dhcp: bool = True) -> None:
        self._api = api
        self._dhcp = dhcp

    def survey(self, network: str, cidr: Network) -> Realm | None:
        """See `AddressPlane`."""
        return _realm_in(self._network(network), cidr)

    def make(self, prefix: Prefix) -> Realm:
        """See `AddressPlane`. The reference is added to those that the network has, and undoes none."""
        network = self._network(prefix.network)
        ident = ipam_uuid(prefix)
        try:
            self._api().create("network-ipam", ipam_of(prefix, network))
            subnets = {"ipam_subnets": [subnet_of(prefix, dhcp=self._dhcp)]}
            try:
                self._api().add_ref("virtual-network", network["uuid"], "network-ipam", ident, subnets)
            except Refused:
                self._api().delete("network-ipam", ident)
                raise
        except Refused as error:
            _refuse(error, f"a subnet {prefix.cidr}")
        made = _realm_in(self._network(prefix.network), prefix.cidr)
        if made is None:
            msg = f"Contrail says that it made a subnet {prefix.cidr}, and does not show it"
            raise WrongState(msg, remedy="Look at the network's references to IPAMs.", subject=prefix.network)
        return made

    def forget(self, prefix: Prefix) -> bool:
        """See `AddressPlane`."""
        ident = ipam_uuid(prefix)
        if self._api().get("network-ipam", ident, "display_name") is None:
            return True
        try:
            self._api().remove_ref("virtual-network", Place.of(prefix.realm).network, "network-ipam", ident)
            self._api().delete("network-ipam", ident)
        except Refused:
            return False
        return True

    def hold(self, lease: Lease, realm: str) -> str:
        """See `AddressPlane`."""
        place, ident = Place.of(realm), hold_uuid(lease.name)
        server = place.server()
        if server is not None and server.address == lease.address:
            # Contrail would give it away.
            raise Taken(server)
        for _ in range(_TRIES):
            made = self._ask_for(lease, place)
            there = self._at(place, lease.address)
            others = [one for one in there if one["uuid"] != ident]
            if others:
                if made:
                    self._api().delete("instance-ip", ident)
                raise Taken(self._holders(others)[0])
            if there:
                self._tell(there[0], lease)
                return ident
            self._clear(ident, lease)
        # Or others are just making and removing some there: then the next round takes this back.
        raise Taken(Holder(lease.address, NOBODY, kind="allocated, and no instance-ip has it"))

    def drop(self, lease: Lease) -> None:
        """See `AddressPlane`."""
        ident = hold_uuid(lease.name)
        try:
            self._api().delete("instance-ip", ident)
        except Refused as error:
            _refuse(error, f"that instance-ip {ident} goes")

    def holder(self, realm: str, address: Address) -> Holder | None:
        """See `AddressPlane`. Of several who have it, one that is not ours."""
        place = Place.of(realm)
        server = place.server()
        if server is not None and server.address == address:
            return server
        found = self._holders(self._at(place, address))
        return min(found, key=lambda one: bool(one.lease)) if found else None

    def holders(self, realm: str) -> Sequence[Holder]:
        """See `AddressPlane`. Who has an address twice with ours comes after ours: the last one counts."""
        place = Place.of(realm)
        network = self._api().get("virtual-network", place.network, *_SUBNETS)
        subnet = next((one for one in subnets_of(network or {}) if one["subnet_uuid"] == place.subnet), None)
        if subnet is None:
            msg = f"Contrail has no subnet {place.subnet}"
            raise NotFound(msg, remedy="It is looked for by its range, or made again.", name=place.subnet)
        inside = range_of(subnet)
        listed = self._api().every("instance-ip", back_ref_id=[place.network])
        found = self._holders([one for one in listed if (has := address_in(one)) is not None and has in inside])
        server = place.server()
        return [*sorted(found, key=lambda one: not one.lease), *([server] if server else [])]

    def marked(self, ref: str, cidr: Network) -> Marked | None:
        """See `AddressPlane`. The UUID follows from the lease's name, so that no mark can be copied."""
        found = self._api().get("instance-ip", ref)
        address = address_in(found) if found is not None else None
        if found is None or address is None or address not in cidr or not lease_in(found):
            return None
        interfaces = sorted(str(one["uuid"]) for one in refs_of(found, "virtual-machine-interface"))
        used = f"interface {', '.join(interfaces)}" if interfaces else ""
        return Marked(self._holders([found])[0], used)

    def remove(self, marked: Marked, cidr: Network) -> bool:
        """See `AddressPlane`."""
        ref = marked.holder.ref
        if self.marked(ref, cidr) != marked:
            return False
        try:
            self._api().delete("instance-ip", ref)
        except Refused as error:
            _refuse(error, f"that instance-ip {ref} goes")
        return True

    def _network(self, network: str) -> Resource:
        found = find_network(self._api(), network, *_SUBNETS)
        if found is None:
            msg = f"Contrail has no network that is {network}"
            remedy = "Make the network first, or name one of Contrail's by its UUID, in its own project."
            raise WrongState(msg, remedy=remedy, subject=network)
        mode = str(found.get("address_allocation_mode") or "")
        if mode.startswith("flat-subnet"):
            msg = f"Contrail's network {found['uuid']} takes addresses from an IPAM's flat subnets ({mode})"
            remedy = "Such addresses are several networks' at once; name a network that has subnets of its own."
            raise WrongState(msg, remedy=remedy, subject=network)
        return found

    def _ask_for(self, lease: Lease, place: Place) -> bool:
        """Whether an instance-ip for *lease* was made; False if there is one, or something in the way."""
        try:
            self._api().call("POST", "/instance-ips", {"instance-ip": hold_of(lease, place)})
        except Refused as error:
            if error.kind in (EXISTS, ADDRESS_TAKEN):
                return False
            _refuse(error, f"an instance-ip with {lease.address}")
        return True

    def _at(self, place: Place, address: Address) -> list[Resource]:
        """All instance-ips of the network that have *address*."""
        where = {"instance_ip_address": str(address)}
        found = self._api().every("instance-ip", where=where, back_ref_id=[place.network])
        return [one for one in found if address_in(one) == address]

    def _tell(self, found: Resource, lease: Lease) -> None:
        """Puts right what our instance-ip says of its lease; what others noted there stays."""
        notes = notes_of(lease)
        if not notes.items() <= pairs_of(found, "annotations").items():
            self._api().set_pairs(str(found["uuid"]), "annotations", notes)

    def _clear(self, ident: str, lease: Lease) -> None:
        """Removes what was made without the address, or with another, which never changes afterwards."""
        found = self._api().get("instance-ip", ident, "instance_ip_address")
        if found is not None and address_in(found) != lease.address:
            self._api().delete("instance-ip", ident)

    def _holders(self, found: Iterable[Resource]) -> list[Holder]:
        """Who *found* are, with the machines behind them."""
        with_address = [(one, has) for one in found if (has := address_in(one)) is not None]
        # What ours is attached to is network's.
        wanted = {
            str(ref["uuid"])
            for one, _ in with_address
            if not lease_in(one)
            for ref in refs_of(one, "virtual-machine-interface")
        }
        interfaces = self._api().every("virtual-machine-interface", obj_uuids=sorted(wanted)) if wanted else []
        known = {str(one["uuid"]): one for one in interfaces}
        return [holder_of(one, has, known) for one, has in with_address]


def _realm_in(network: Resource, cidr: Network) -> Realm | None:
    found = [subnet for subnet in subnets_of(network) if range_of(subnet) == cidr]
    return realm_of(network, found[0]) if found else None


def _refuse(error: Refused, what: str) -> NoReturn:
    """Tells a refusal of Contrail's in our words."""
    if error.kind == QUOTA:
        msg = f"Contrail refuses {what}: {error.text}"
        raise Exhausted(msg, remedy="Raise the project's quota, or remove what it does not need.", peer="contrail")
    why = "it is in no subnet of the network's" if error.kind == EXHAUSTED else error.text
    msg = f"Contrail refuses {what} ({error.status}): {why}"
    raise WrongState(msg, remedy="Put right what it says, in Contrail.", peer="contrail", kind=error.kind)
