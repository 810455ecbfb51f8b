# SPDX-License-Identifier: Apache-2.0
"""Address management of the VNC API, with what is strange about it.

An exhausted subnet that was named answers 200 and no address; ip-free frees what an instance-ip holds; the count drifts
up with every failure; broadcast is in use, gateway and service address are given away; a pool cannot be changed, and a
second one is stored and not used.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from tests.support.contrail_objects import Fault, Objects, Thing


@dataclass
class Subnet:
    """One subnet of a network, or of an IPAM of its own.

    Attributes:
        given: as it stands in the object.
        taken: addresses and who has them: the uuid of an instance-ip, or "" for a bare ip-alloc.
        drift: by how much the count is too high.
    """

    owner: str
    given: dict[str, Any]
    taken: dict[int, str] = field(default_factory=dict)
    drift: int = 0
    pools: list[dict[str, str]] = field(default_factory=list)

    @property
    def net(self) -> IPv4Network | IPv6Network:
        """Its range."""
        return net_of(self.given)

    @property
    def ident(self) -> str:
        """Its uuid."""
        return str(self.given["subnet_uuid"])

    def reserved(self) -> set[int]:
        """What is never chosen."""
        net = self.net
        own = {int(ip_address(self.given[name])) for name in ("default_gateway", "dns_server_address")}
        return own | {int(net.network_address), int(net.broadcast_address)}

    def choices(self) -> Iterator[int]:
        """What may be chosen, in order."""
        net = self.net
        whole = [(int(net.network_address), int(net.broadcast_address))]
        ranges = [(int(ip_address(pool["start"])), int(ip_address(pool["end"]))) for pool in self.pools] or whole
        reserved = self.reserved()
        upwards = bool(self.given.get("addr_from_start"))
        for first, last in ranges if upwards else reversed(ranges):
            numbers = range(first, last + 1) if upwards else range(last, first - 1, -1)
            yield from (number for number in numbers if number not in reserved)

    def choose(self, holder: str) -> str | None:
        """Gives the next one away; None if there is none."""
        number = next((one for one in self.choices() if one not in self.taken), None)
        if number is None:
            self.drift += 1
            return None
        self.taken[number] = holder
        return str(ip_address(number))

    def count(self) -> int:
        """What subnet-ip-count says of it."""
        if not self.pools:
            return 3 + len(self.taken) + self.drift
        ranges = [(int(ip_address(pool["start"])), int(ip_address(pool["end"]))) for pool in self.pools]
        inside = [one for one in self.taken if any(first <= one <= last for first, last in ranges)]
        return len(inside) + self.drift


class Addresses:
    """All subnets of one server."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self.subnets: dict[tuple[str, str], Subnet] = {}
        self._numbers = 4

    def shape(self, thing: Thing) -> None:
        """Checks and fills what a new network or IPAM says of its subnets, and takes them on."""
        if thing.kind == "virtual-network":
            self._numbers += 1
            thing.body.setdefault("virtual_network_network_id", self._numbers)
            thing.body.setdefault("is_shared", False)
        else:
            thing.body.setdefault("ipam_subnet_method", "user-defined-subnet")
        for given, ref in self._given(thing, thing.body):
            self._check(given, ref)
            self._fill(given)
        for given, _ in self._given(thing, thing.body):
            self._take_on(thing, given)

    def route(self, network: Thing) -> None:
        """Makes the routing instance of a new network."""
        made = self._objects.shaped("routing-instance", {"fq_name": [*network.fq_name, network.fq_name[-1]]})
        self._objects.keep(made)

    def forget(self, network: Thing) -> None:
        """Takes everything of a deleted network away; what ip-alloc gave from it goes without a word."""
        for key in [key for key in self.subnets if key[0] == network.uuid]:
            del self.subnets[key]
        for child in [one for one in self._objects.things.values() if one.parent == network.uuid]:
            self._objects.remove(child)

    def reshape(self, thing: Thing, changes: dict[str, Any]) -> None:
        """Checks what is to become of the subnets of a network or IPAM, fills the new ones, and forgets the others."""
        if not {"network_ipam_refs", "ipam_subnets"} & set(changes):
            return
        before = {key[1]: subnet for key, subnet in self.subnets.items() if key[0] == thing.uuid}
        wanted = list(self._given(thing, changes))
        for given, ref in wanted:
            self._check(given, ref)
        nets = [net_of(given) for given, _ in wanted]
        for index, one in enumerate(nets):
            for other in nets[index + 1 :]:
                if one.version == other.version and one.overlaps(other):
                    raise Fault(400, f"Overlapping addresses: [IPNetwork('{one}'), IPNetwork('{other}')]")
        kept = {subnet.ident for subnet in before.values() for given, _ in wanted if net_of(given) == subnet.net}
        for subnet in before.values():
            if subnet.ident not in kept:
                self._removable(thing, subnet, nets)
        for given, _ in wanted:
            there = next((subnet for subnet in before.values() if subnet.net == net_of(given)), None)
            if there is not None:
                self._changeable(thing, there, given)
        for given, _ in wanted:
            there = next((subnet for subnet in before.values() if subnet.net == net_of(given)), None)
            if there is None:
                self._fill(given)
                self._take_on(thing, given)
            else:
                given |= {key: value for key, value in there.given.items() if key not in given}
                there.given = given
        for ident in set(before) - kept:
            del self.subnets[thing.uuid, ident]

    def grant(self, thing: Thing) -> None:
        """Gives a new instance-ip its address, or none."""
        body = thing.body
        if ipams := body.get("network_ipam_refs"):
            subnets = [subnet for subnet in self.subnets.values() if subnet.owner == ipams[0]["uuid"]]
            self._set(thing, self._choose(thing, subnets, ""), None)
            return
        if not body.get("virtual_network_refs"):
            raise Fault(400, "can only join an iterable")
        network = self._objects.things[body["virtual_network_refs"][0]["uuid"]]
        subnets = [*self._of(network)]
        wanted, named = body.get("instance_ip_address"), body.get("subnet_uuid")
        family = {"v4": 4, "v6": 6}.get(body.get("instance_ip_family") or "")
        subnets = [subnet for subnet in subnets if family in (None, subnet.net.version)]
        if named:
            subnets = [subnet for subnet in subnets if subnet.ident == named]
            if not subnets:
                raise Fault(400, f"Virtual-Network({network.fq_name}) has invalid subnet({named})")
        if not wanted:
            address = self._choose(network, subnets, thing.uuid, named=bool(named))
            of = next((one for one in subnets if address and ip_address(address) in one.net), None)
            self._set(thing, address, of.ident if of else named)
            return
        try:
            number = ip_address(wanted)
        except ValueError:
            raise Fault(500, "</pre>") from None
        subnet = next((one for one in subnets if number.version == one.net.version and number in one.net), None)
        if subnet is None:
            raise Fault(400, f"Virtual-Network({network.fq_name}) has exhausted subnet([])")
        self._ask_for(subnet, int(number), thing.uuid)
        self._set(thing, wanted, subnet.ident)

    def keep_address(self, thing: Thing, changes: dict[str, Any]) -> None:
        """Refuses another address."""
        wanted = changes.get("instance_ip_address")
        if wanted and wanted != thing.body.get("instance_ip_address"):
            raise Fault(400, "Instance IP Address can not be changed")

    def let_go(self, thing: Thing) -> None:
        """Frees the address of a deleted instance-ip, if it is still its own."""
        for subnet in self.subnets.values():
            for number in [number for number, holder in subnet.taken.items() if holder == thing.uuid]:
                del subnet.taken[number]

    def alloc(self, network: Thing, body: dict[str, Any]) -> dict[str, Any]:
        """POST ip-alloc: addresses without object or owner."""
        named = body.get("subnet")
        subnets = [*self._of(network)]
        if named:
            subnets = [subnet for subnet in subnets if subnet.ident == named]
            if not subnets:
                raise Fault(500, "Internal Server Error")
        found: list[str | None] = []
        for _ in range(body.get("count", 1)):
            address = next((one for subnet in subnets if (one := subnet.choose(""))), None)
            if address is None and not named:
                raise Fault(409, f"Virtual-Network({network.fq_name}) has exhausted subnet([])")
            found.append(address)
        return {"ip_addr": found}

    def free(self, network: Thing, body: dict[str, Any]) -> str:
        """POST ip-free: whatever is named, whoever has it."""
        for address in body["ip_addr"]:
            for subnet in self._of(network):
                subnet.taken.pop(int(ip_address(address)), None)
        return ""

    def count(self, network: Thing, body: dict[str, Any]) -> dict[str, Any]:
        """POST subnet-ip-count."""
        there = {subnet.ident: subnet for subnet in self._of(network)}
        return {"ip_count_list": [there[one].count() if one in there else 0 for one in body["subnet_list"]]}

    def _of(self, network: Thing) -> Iterator[Subnet]:
        """The subnets of *network*: its own, then those of the IPAMs that have some of their own."""
        yield from [subnet for key, subnet in self.subnets.items() if key[0] == network.uuid]
        for ref in network.body.get("network_ipam_refs") or ():
            yield from [subnet for key, subnet in self.subnets.items() if key[0] == ref["uuid"]]

    def _choose(self, owner: Thing, subnets: list[Subnet], holder: str, *, named: bool = False) -> str | None:
        for subnet in subnets:
            if address := subnet.choose(holder):
                return address
        if not named:
            raise Fault(400, f"Virtual-Network({owner.fq_name}) has exhausted subnet([])")
        return None

    def _ask_for(self, subnet: Subnet, number: int, holder: str) -> None:
        net, given = subnet.net, subnet.given
        gateway = number == int(ip_address(given["default_gateway"]))
        service = not subnet.pools and number == int(ip_address(given["dns_server_address"]))
        edges = {int(net.network_address), int(net.broadcast_address)}
        if not gateway and (service or number in subnet.taken or number in edges):
            raise Fault(409, "IP address already in use")
        if number in subnet.taken:
            where = f"/api-server/subnets/{subnet.owner}:{net}/{ip_address(number)}"
            raise Fault(400, f"FQ Name: {where} exists already with ID: {subnet.taken[number]} at zookeeper")
        subnet.taken[number] = holder

    def _set(self, thing: Thing, address: str | None, subnet: str | None) -> None:
        thing.body |= {"instance_ip_address": address} if address else {}
        thing.body |= {"subnet_uuid": subnet} if subnet else {}

    def _given(self, thing: Thing, body: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """The subnets in *body*, and the reference that each stands in, as it was sent."""
        for one in (body.get("ipam_subnets") or {}).get("subnets") or ():
            yield one, {}
        for ref in body.get("network_ipam_refs") or () if thing.kind == "virtual-network" else ():
            ipam = self._objects.things[ref["uuid"]]
            for one in (ref["attr"] or {}).get("ipam_subnets") or ():
                yield one, {"to": ipam.fq_name, "attr": ref["attr"]}

    def _check(self, given: dict[str, Any], ref: dict[str, Any]) -> None:
        prefix, length = given["subnet"]["ip_prefix"], given["subnet"]["ip_prefix_len"]
        try:
            net = net_of(given)
        except ValueError:
            what = f"Error validating reference network_ipam_refs value {ref}"
            text = f"Bad reference in create: {what} Subnet type '{prefix}/{length}' is invalid"
            raise Fault(400, text) from None
        gateway = given.get("default_gateway")
        # All zeros say that there is none.
        if gateway and int(ip_address(gateway)) and ip_address(gateway) not in net:
            raise Fault(409, f"gateway Ip {gateway} out of cidr: {net}")
        for pool in given.get("allocation_pools") or ():
            first, last = ip_address(pool["start"]), ip_address(pool["end"])
            shown = f"start:{first}, end:{last}"
            if first not in net or last not in net:
                raise Fault(409, f"allocation pool {shown} out of cidr:{net}")
            if int(last) < int(first):
                raise Fault(409, f"Invalid allocation Pool {shown} in subnet:{net}")

    def _fill(self, given: dict[str, Any]) -> None:
        net = net_of(given)
        first, last = int(net.network_address), int(net.broadcast_address)
        gateway, service = (first + 1, first + 2) if given.get("addr_from_start") else (last - 1, last - 2)
        given["subnet_uuid"] = given.get("subnet_uuid") or str(uuid.uuid4())
        given["default_gateway"] = given.get("default_gateway") or str(ip_address(gateway))
        given["dns_server_address"] = given.get("dns_server_address") or str(ip_address(service))

    def _take_on(self, thing: Thing, given: dict[str, Any]) -> None:
        # A pool that is added later is kept in the object, and never chosen from.
        subnet = Subnet(thing.uuid, given, pools=list(given.get("allocation_pools") or ()))
        self.subnets[thing.uuid, subnet.ident] = subnet

    def _removable(self, network: Thing, subnet: Subnet, left: list[Any]) -> None:
        for other, _ in self._objects.referring(network):
            address = other.body.get("instance_ip_address") if other.kind == "instance-ip" else None
            if address and ip_address(address) in subnet.net:
                shown = [str(net) for net in left]
                raise Fault(409, f"Cannot update IP Block, IP({address}) is not in subnets ({shown})")

    def _changeable(self, network: Thing, there: Subnet, given: dict[str, Any]) -> None:
        old = there.given.get("allocation_pools") or []
        if any(pool not in (given.get("allocation_pools") or []) for pool in old):
            why = f"{there.net}:Allocation pool delete is not allowed"
            raise Fault(500, f"Virtual-Network({':'.join(network.fq_name)}) has invalid subnet({why})")
        before, after = there.given["default_gateway"], given.get("default_gateway")
        if after and after != before:
            raise Fault(400, f"default gateway change is not allowed orig:{before}, new: {after}")


def net_of(given: dict[str, Any]) -> IPv4Network | IPv6Network:
    """The range of a subnet as an object says it; host bits are let through."""
    return ip_network(f"{given['subnet']['ip_prefix']}/{given['subnet']['ip_prefix_len']}", strict=False)
