# SPDX-License-Identifier: Apache-2.0
"""`AddressPlane` over Neutron: a prefix is a subnet, a lease is a port.

A port of ours is known by its name, which is the lease's: lease names are random, and nobody knows one before its port
is there. Where Neutron says that the address is taken, the port that has it is looked at: if it is the lease's own, an
earlier attempt made it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn

from services.ipam.backends.neutron_words import (
    SUBNET,
    Place,
    addresses_of,
    body_of_port,
    body_of_subnet,
    holder_of,
    made_for,
    realm_of,
)
from services.ipam.domain.addresses import Address, Network
from services.ipam.domain.holding import UNSURE, Holder, MacTaken, Marked, Realm, Taken, mac_of
from services.ipam.domain.leases import Lease
from services.ipam.domain.prefixes import Prefix
from services.kernel.errors import Exhausted, NotFound, WrongState
from services.runtime.neutron import LEASE, Neutron, Resource, age, find_network, is_ours, trunk_above
from services.runtime.openstack import Refused

_TRIES = 3
_TAKEN = ("IpAddressAlreadyAllocated", "IpAddressInUse")
_MAC_TAKEN = "MacAddressInUse"

_USES = {"binding:host_id": "host", "device_id": "device", "trunk_details": "trunk"}
"""What shows that somebody uses a port."""

NOBODY = "nobody"
"""Who has an address that Neutron takes for allocated though no port has it; it forgets to free some."""

_SHOWN = ("id", "name", "device_owner", "device_id", "project_id", "mac_address", "fixed_ips", "description", "tags")


class NeutronPlane:
    """See `AddressPlane`.

    Args:
        api: answers Neutron, opened when it is first needed; raises PeerUnavailable as long as it cannot be.
        dhcp: whether Neutron serves DHCP in subnets that we make.
    """

    def __init__(self, api: Callable[[], Neutron], *, dhcp: bool = False) -> None:
        self._api = api
        self._dhcp = dhcp

    def survey(self, network: str, cidr: Network) -> Realm | None:
        """See `AddressPlane`."""
        there = str(self._network(network)["id"])
        found = self._api().every("subnets", network_id=there, cidr=str(cidr))
        return realm_of(min(found, key=age)) if found else None

    def make(self, prefix: Prefix) -> Realm:
        """See `AddressPlane`."""
        body = body_of_subnet(prefix, self._network(prefix.network), dhcp=self._dhcp)
        try:
            made = self._api().create("subnets", body)
            self._api().mark("subnets", str(made["id"]), SUBNET)
        except Refused as error:
            _refuse(error, f"a subnet {prefix.cidr}")
        return realm_of(made)

    def forget(self, prefix: Prefix) -> bool:
        """See `AddressPlane`."""
        subnet = Place.of(prefix.realm).subnet
        found = self._api().get("subnets", subnet)
        if found is None or found.get("description") != made_for(prefix):
            return True
        try:
            self._api().delete("subnets", subnet)
        except Refused:
            return False
        return True

    def hold(self, lease: Lease, realm: str) -> str:
        """See `AddressPlane`."""
        place = Place.of(realm)
        for _ in range(_TRIES):
            port = self._held(lease, place)
            if port is not None:
                if LEASE not in (port.get("tags") or ()):
                    self._api().mark("ports", str(port["id"]), LEASE)
                return str(port["id"])
        # Or others are just making and removing ports there: then the next round takes this back.
        raise Taken(Holder(lease.address, NOBODY, kind="allocated, and no port has it"))

    def drop(self, lease: Lease) -> None:
        """See `AddressPlane`."""
        if lease.hold not in ("", UNSURE):
            idents = [lease.hold]
        else:
            idents = [str(port["id"]) for port in self._api().every("ports", name=lease.name) if is_ours(port, LEASE)]
        for ident in idents:
            try:
                self._api().delete("ports", ident)
            except Refused as error:
                _refuse(error, f"that port {ident} goes")

    def holder(self, realm: str, address: Address) -> Holder | None:
        """See `AddressPlane`."""
        found = self._at(Place.of(realm), address)
        return None if found is None else holder_of(found, address)

    def holders(self, realm: str) -> Sequence[Holder]:
        """See `AddressPlane`."""
        subnet = Place.of(realm).subnet
        # A filter by a subnet that is gone answers an empty list, as if nobody had an address.
        if self._api().get("subnets", subnet) is None:
            msg = f"Neutron has no subnet {subnet}"
            raise NotFound(msg, remedy="It is looked for by its range, or made again.", name=subnet)
        ports = self._api().every("ports", fixed_ips=[f"subnet_id={subnet}"], fields=list(_SHOWN))
        return [holder_of(port, address) for port in ports for address in addresses_of(port, subnet)]

    def marked(self, ref: str, cidr: Network) -> Marked | None:
        """See `AddressPlane`."""
        port = self._api().get("ports", ref)
        address = next((one for one in addresses_of(port) if one in cidr), None) if port is not None else None
        if port is None or address is None or not is_ours(port, LEASE):
            return None
        uses = [f"{word} {port[key]}" for key, word in _USES.items() if port.get(key)]
        above = trunk_above(self._api(), ref)
        uses += [f"trunk {above['id']}"] if above is not None else []
        others = [str(one) for one in addresses_of(port) if one != address]
        used = ", ".join([*uses, *(f"address {one}" for one in others)])
        return Marked(holder_of(port, address), used, repr(port.get("binding:profile")))

    def remove(self, marked: Marked, cidr: Network) -> bool:
        """See `AddressPlane`."""
        ref = marked.holder.ref
        if self.marked(ref, cidr) != marked:
            return False
        try:
            self._api().delete("ports", ref)
        except Refused as error:
            _refuse(error, f"that port {ref} goes")
        return True

    def _network(self, network: str) -> Resource:
        found = find_network(self._api(), network)
        if found is not None:
            return found
        msg = f"Neutron has no network that is {network}"
        remedy = "Make the network first, or name one of Neutron's by its id, in its own project."
        raise WrongState(msg, remedy=remedy, subject=network)

    def _held(self, lease: Lease, place: Place) -> Resource | None:
        """The port of *lease*, made or put right; None if it changed meanwhile.

        Raises:
            MacTaken, Taken, and what Neutron refuses.
        """
        try:
            found = None if lease.hold in ("", UNSURE) else self._api().get("ports", lease.hold)
            if found is not None:
                return self._put_right(found, lease, place)
            project = self._api().project(lease.project)
            return self._api().create("ports", body_of_port(lease, place, project))
        except Refused as error:
            own = self._in_the_way(error, lease, place)
        try:
            return None if own is None else self._put_right(own, lease, place)
        except Refused as error:
            self._in_the_way(error, lease, place)
            return None

    def _put_right(self, port: Resource, lease: Lease, place: Place) -> Resource:
        """*port*, with what is not as it should be changed."""
        changes: dict[str, object] = {}
        if port["mac_address"] != mac_of(lease):
            changes["mac_address"] = mac_of(lease)
        if lease.address not in addresses_of(port, place.subnet):
            others = [each for each in port["fixed_ips"] if each["subnet_id"] != place.subnet]
            changes["fixed_ips"] = [*others, {"subnet_id": place.subnet, "ip_address": str(lease.address)}]
        if port["name"] != lease.name:
            changes["name"] = lease.name
        return self._api().update("ports", str(port["id"]), changes) if changes else port

    def _in_the_way(self, error: Refused, lease: Lease, place: Place) -> Resource | None:
        """Says what made Neutron refuse; answers the port if it is the lease's own, None if nothing is any more."""
        if error.kind in _TAKEN:
            found = self._at(place, lease.address)
            if found is not None and found["name"] != lease.name:
                raise Taken(holder_of(found, lease.address))
            return found
        if error.kind == _MAC_TAKEN:
            mac = mac_of(lease)
            found = next(iter(self._api().every("ports", network_id=place.network, mac_address=mac)), None)
            if found is not None and found["name"] != lease.name:
                raise MacTaken(mac, holder_of(found, next(iter(addresses_of(found)), lease.address)))
            return found
        if error.kind != "PortNotFound":
            _refuse(error, f"a port with {lease.address}")
        return None

    def _at(self, place: Place, address: Address) -> Resource | None:
        where = [f"subnet_id={place.subnet}", f"ip_address={address}"]
        found = self._api().every("ports", network_id=place.network, fixed_ips=where)
        return next((port for port in found if address in addresses_of(port, place.subnet)), None)


def _refuse(error: Refused, what: str) -> NoReturn:
    """Tells a refusal of Neutron's in our words."""
    if error.kind == "OverQuota":
        msg = f"Neutron refuses {what}: {error.text}"
        remedy = "Raise the project's quota, or remove what it does not need (openstack quota show)."
        raise Exhausted(msg, remedy=remedy, peer="neutron") from None
    msg = f"Neutron refuses {what} ({error.kind or error.status}): {error.text}"
    raise WrongState(msg, remedy="Put right what it says, in Neutron.", peer="neutron", kind=error.kind) from None
