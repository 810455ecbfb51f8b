# SPDX-License-Identifier: Apache-2.0
"""A Neutron in memory: networks, subnets, ports and trunks, with Neutron's own refusals; in process or over HTTP.

`FakeNeutron` is a `services.runtime.openstack.Transport`: ``Neutron(FakeNeutron(), OWN)``. neutron_http.py puts it on
the loopback. Seen at Neutron 29: tags in a POST are an error for networks and dropped for ports, an unknown filter is
an error, a page says where the next one begins; no trunk goes on or off a port that is bound, no port goes into a trunk
that says whose it is, and a trunk is ACTIVE when its parent is; a parent shows its trunk, and a subport shows nothing.
"""

from __future__ import annotations

import ipaddress
import itertools
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from services.kernel.errors import PeerUnavailable
from services.runtime.openstack import Answer

OWN = "0a" * 16
"""The id of the project of our own login."""

_WORDS = {"networks": "network", "subnets": "subnet", "ports": "port", "trunks": "trunk"}
_FILTERS = {
    "id", "name", "project_id", "tags", "description", "network_id", "mac_address", "binding:host_id", "device_id",
    "device_owner", "status", "shared", "fixed_ips", "port_id", "admin_state_up", "ip_version", "cidr",
}  # fmt: skip
_UNBOUND = {"binding:vif_type": "unbound", "binding:vif_details": {}}


class _Fault(Exception):
    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind, self.message = status, kind, message


class FakeNeutron:
    """What it knows, by collection and id; the test changes it.

    Attributes:
        told: every request that changes something: method and path, in order.
        aliases: of the extensions it has.
        policies: its RBAC policies.
        away: whether it does not answer.
        loses: method and collection whose next answer is lost, after it was done.
        refuses: what the next request of a method to a collection is answered: status, kind.
        binds: whether ports that say where they are plugged in can be bound; else they fail.
        settles: whether what is bound becomes ACTIVE at once; else by `settle`.
        most: the most that one page holds.
        quota: how many there may be of a collection.
    """

    def __init__(self) -> None:
        self.networks: dict[str, dict[str, Any]] = {}
        self.subnets: dict[str, dict[str, Any]] = {}
        self.ports: dict[str, dict[str, Any]] = {}
        self.trunks: dict[str, dict[str, Any]] = {}
        self.told: list[tuple[str, str]] = []
        self.aliases = {
            "binding", "provider", "standard-attr-tag", "standard-attr-description", "trunk", "rbac-policies",
        }  # fmt: skip
        self.policies: list[dict[str, str]] = []
        self.away = False
        self.loses: tuple[str, str] | None = None
        self.refuses: dict[tuple[str, str], tuple[int, str]] = {}
        self.binds = True
        self.settles = True
        self.most = 1000
        self.quota: dict[str, int] = {}
        self._ids = itertools.count(1)
        self._vlans = itertools.count(200)
        self._lock = threading.RLock()

    # -- for tests -----------------------------------------------------------------------------------------------------

    def network(self, project: str = OWN, **more: Any) -> dict[str, Any]:
        """A network that somebody made."""
        made: dict[str, Any] = self.do("POST", "/networks", {"network": {"project_id": project, **more}})["network"]
        return self.networks[made["id"]]

    def subnet(self, network: str, cidr: str, **more: Any) -> dict[str, Any]:
        """A subnet that somebody made."""
        body = {"network_id": network, "cidr": cidr, "ip_version": ipaddress.ip_network(cidr).version, **more}
        made: dict[str, Any] = self.do("POST", "/subnets", {"subnet": body})["subnet"]
        return self.subnets[made["id"]]

    def port(self, network: str, **more: Any) -> dict[str, Any]:
        """A port that somebody made."""
        made: dict[str, Any] = self.do("POST", "/ports", {"port": {"network_id": network, **more}})["port"]
        return self.ports[made["id"]]

    def settle(self) -> None:
        """The switches have done what they were told."""
        with self._lock:
            for port in self.ports.values():
                if port["binding:vif_type"] == "other":
                    port["status"] = "ACTIVE"
            for trunk in self.trunks.values():
                trunk["status"] = self.ports[trunk["port_id"]]["status"]

    def do(self, method: str, path: str, body: Any = None) -> Any:
        """A request of somebody else's, which must go through."""
        with self._lock:
            status, answer = self._answer(method, path, body)
        assert status < 300, answer
        return answer

    # -- for who calls it ----------------------------------------------------------------------------------------------

    def send(self, method: str, path: str, body: object = None, content_type: str = "") -> Answer:
        """See `services.runtime.openstack.Transport.send`."""
        status, answer = self.handle(method, path, body)
        if status == 0:
            raise PeerUnavailable("Neutron cannot be reached", peer="neutron")
        return Answer(status, answer)

    def handle(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Status and document of the answer; status 0: the connection ends without."""
        with self._lock:
            collection = path.strip("/").split("/")[0].split("?")[0]
            if self.away:
                return 0, {}
            if method != "GET":
                self.told.append((method, path))
            if refused := self.refuses.pop((method, collection), None):
                return refused[0], _error(refused[1], f"{refused[1]} was asked for by the test")
            status, answer = self._answer(method, path, body)
            if self.loses == (method, collection):
                self.loses = None
                return 0, {}
            # As it goes over a wire: nobody holds a part of what is in here.
            return status, json.loads(json.dumps(answer))

    # -- the API -------------------------------------------------------------------------------------------------------

    def _answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        url = urlsplit(path)
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        query: dict[str, list[str]] = {}
        for key, value in parse_qsl(url.query, keep_blank_values=True):
            query.setdefault(key, []).append(value)
        try:
            return self._route(method, parts, query, body)
        except _Fault as fault:
            return fault.status, _error(fault.kind, fault.message)

    def _route(self, method: str, parts: list[str], query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        collection = parts[0]
        if collection == "extensions":
            return 200, {"extensions": [{"alias": alias} for alias in sorted(self.aliases)]}
        if collection in self.aliases & {"rbac-policies"} and method == "GET":
            shown = [one for one in self.policies if all(one[key] in query[key] for key in one.keys() & query.keys())]
            return 200, {"rbac_policies": shown}
        if collection not in _WORDS or (collection == "trunks" and "trunk" not in self.aliases):
            raise _Fault(404, "HTTPNotFound", "The resource could not be found.")
        word, things = _WORDS[collection], self._things(collection)
        if len(parts) == 1:
            if method == "GET":
                return 200, self._page(collection, query)
            return 201, {word: self._shown(collection, self._make(collection, body[word]))}
        thing = things.get(parts[1])
        if thing is None:
            raise _Fault(404, f"{word.title()}NotFound", f"{word.title()} {parts[1]} could not be found.")
        if len(parts) == 2:
            if method == "GET":
                return 200, {word: self._shown(collection, thing)}
            if method == "PUT":
                self._change(collection, thing, body[word])
                return 200, {word: self._shown(collection, thing)}
            self._remove(collection, thing)
            return 204, {}
        if parts[2] == "tags":
            return self._tags(method, thing, parts[3:], body)
        return 200, self._subports(thing, parts[2], body["sub_ports"])

    def _things(self, collection: str) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = getattr(self, collection)
        return found

    def _page(self, collection: str, query: dict[str, list[str]]) -> dict[str, Any]:
        limit = min(int(query.pop("limit", ["0"])[0]) or self.most, self.most)
        marker = query.pop("marker", [""])[0]
        for word in ("fields", "sort_key", "sort_dir"):
            query.pop(word, None)
        if strange := sorted(set(query) - _FILTERS):
            raise _Fault(400, "HTTPBadRequest", f"{strange} is invalid attribute for filtering")
        things = sorted(self._things(collection).items())
        if marker and marker not in self._things(collection):
            raise _Fault(404, f"{_WORDS[collection].title()}NotFound", f"{marker} could not be found.")
        found = [
            self._shown(collection, thing)
            for ident, thing in things
            if ident > marker and all(_matches(thing, key, values) for key, values in query.items())
        ]
        answer: dict[str, Any] = {collection: found[:limit]}
        if len(found) >= limit:
            answer[f"{collection}_links"] = [{"rel": "next", "href": "..."}]
        return answer

    def _make(self, collection: str, given: Mapping[str, Any]) -> dict[str, Any]:
        if len(self._things(collection)) >= self.quota.get(collection, 10**6):
            raise _Fault(409, "OverQuota", f"Quota exceeded for resources: ['{_WORDS[collection]}'].")
        if "tags" in given and collection != "ports":
            raise _Fault(400, "HTTPBadRequest", "Attribute 'tags' not allowed in POST")
        number = next(self._ids)
        thing = {
            "id": f"00000000-0000-4000-9000-{number:012d}", "name": "", "description": "", "project_id": OWN,
            **{key: value for key, value in given.items() if key != "tags"},
            "tags": [], "created_at": f"2026-01-01T00:00:{number % 60:02d}Z", "revision_number": 1,
        }  # fmt: skip
        thing["tenant_id"] = thing["project_id"]
        checks: dict[str, Callable[[dict[str, Any]], None]] = {
            "networks": self._new_network, "subnets": self._new_subnet, "ports": self._new_port,
            "trunks": self._new_trunk,
        }  # fmt: skip
        checks[collection](thing)
        self._things(collection)[thing["id"]] = thing
        return thing

    def _new_network(self, thing: dict[str, Any]) -> None:
        vlan = thing.setdefault("provider:segmentation_id", None) or next(self._vlans)
        thing.setdefault("provider:network_type", "vlan")
        thing.setdefault("provider:physical_network", "physnet1")
        if thing["provider:network_type"] in ("flat", "local"):
            vlan = None
        where = ("provider:network_type", "provider:physical_network")
        for other in self.networks.values():
            same = all(other[key] == thing[key] for key in where)
            if same and vlan and other["provider:segmentation_id"] == vlan:
                raise _Fault(409, "VlanIdInUse", f"Unable to create the network. The VLAN {vlan} is in use.")
        thing |= {"provider:segmentation_id": vlan, "subnets": [], "status": "ACTIVE"}
        for key, value in (("shared", False), ("router:external", False), ("admin_state_up", True)):
            thing.setdefault(key, value)
        thing.setdefault("port_security_enabled", True)

    def _new_subnet(self, thing: dict[str, Any]) -> None:
        if thing["network_id"] not in self.networks:
            raise _Fault(404, "NetworkNotFound", f"Network {thing['network_id']} could not be found.")
        net = ipaddress.ip_network(thing["cidr"])
        for other in self.networks[thing["network_id"]]["subnets"]:
            there = ipaddress.ip_network(self.subnets[other]["cidr"])
            if there.version == net.version and there.overlaps(net):
                message = f"Invalid input for operation: Requested subnet with cidr: {net} overlaps."
                raise _Fault(400, "InvalidInput", message)
        gateway = thing.setdefault("gateway_ip", str(net.network_address + 1))
        low, high = net.network_address + (1 if net.version == 4 else 0), net.broadcast_address - (net.version == 4)
        if "allocation_pools" not in thing:
            low += int(str(low) == gateway)
            thing["allocation_pools"] = [{"start": str(low), "end": str(high)}]
        for key, value in (("enable_dhcp", True), ("dns_nameservers", []), ("host_routes", [])):
            thing.setdefault(key, value)
        self.networks[thing["network_id"]]["subnets"].append(thing["id"])

    def _new_port(self, thing: dict[str, Any]) -> None:
        network = self.networks.get(thing["network_id"])
        if network is None:
            raise _Fault(404, "NetworkNotFound", f"Network {thing['network_id']} could not be found.")
        number = int(thing["id"][-6:])
        thing["mac_address"] = thing.get("mac_address", f"fa:16:3e:00:00:{number % 256:02x}").lower()
        for port in self.ports.values():
            if (port["network_id"], port["mac_address"]) == (thing["network_id"], thing["mac_address"]):
                message = f"The mac address {port['mac_address']} is in use."
                raise _Fault(409, "MacAddressInUse", message)
        wanted = thing.pop("fixed_ips", None)
        thing["fixed_ips"] = self._addresses(thing, [{}] if wanted is None and network["subnets"] else wanted or [])
        defaults = {
            "admin_state_up": True, "status": "DOWN", "device_id": "", "device_owner": "", "security_groups": ["sg"],
            "binding:vnic_type": "normal", "binding:profile": {}, "binding:host_id": "", "extra_dhcp_opts": [],
            "port_security_enabled": network["port_security_enabled"],
        }  # fmt: skip
        thing |= {key: value for key, value in defaults.items() if key not in thing} | _UNBOUND
        self._bind(thing)

    def _new_trunk(self, thing: dict[str, Any]) -> None:
        if thing["port_id"] not in self.ports:
            raise _Fault(404, "PortNotFound", f"Port {thing['port_id']} could not be found.")
        if any(trunk["port_id"] == thing["port_id"] for trunk in self.trunks.values()):
            raise _Fault(409, "ParentPortInUse", f"Port {thing['port_id']} is in use by another trunk.")
        if self.ports[thing["port_id"]]["binding:host_id"]:
            raise _Fault(409, "ParentPortInUse", f"Port {thing['port_id']} is bound.")
        given = thing.pop("sub_ports", [])
        thing |= {"sub_ports": [], "status": "DOWN", "admin_state_up": True}
        self._subports(thing, "add_subports", given)

    def _subports(self, trunk: dict[str, Any], verb: str, given: list[dict[str, Any]]) -> dict[str, Any]:
        if not trunk["admin_state_up"]:
            raise _Fault(409, "TrunkDisabled", f"Trunk {trunk['id']} is currently disabled.")
        if verb == "add_subports" and trunk["status"] == "ERROR":
            raise _Fault(409, "TrunkInErrorState", f"Trunk {trunk['id']} is in error state.")
        for sub in given:
            if verb == "remove_subports":
                trunk["sub_ports"] = [each for each in trunk["sub_ports"] if each["port_id"] != sub["port_id"]]
                continue
            if any(each["port_id"] == sub["port_id"] for other in self.trunks.values() for each in other["sub_ports"]):
                raise _Fault(409, "TrunkPortInUse", f"Port {sub['port_id']} is in use by another trunk.")
            if whose := self.ports[sub["port_id"]]["device_id"]:
                raise _Fault(409, "PortInUse", f"Port {sub['port_id']} already has an attached device {whose}.")
            if any(each["segmentation_id"] == sub["segmentation_id"] for each in trunk["sub_ports"]):
                raise _Fault(409, "DuplicateSubPort", f"segmentation_id {sub['segmentation_id']} is in use.")
            trunk["sub_ports"].append(dict(sub))
        trunk["status"] = self.ports[trunk["port_id"]]["status"]
        return trunk

    def _change(self, collection: str, thing: dict[str, Any], given: Mapping[str, Any]) -> None:
        if collection == "ports":
            mac = given.get("mac_address", thing["mac_address"])
            if mac != thing["mac_address"] and thing["binding:host_id"]:
                raise _Fault(409, "PortBound", f"port is already bound, new_mac {mac}.")
            if "fixed_ips" in given:
                given = {**given, "fixed_ips": self._addresses(thing, given["fixed_ips"])}
        before = (thing.get("binding:host_id"), thing.get("binding:profile"))
        thing |= given
        thing["revision_number"] += 1
        if collection == "ports" and (
            before != (thing["binding:host_id"], thing["binding:profile"])
            or thing["binding:vif_type"] == "binding_failed"
        ):
            self._bind(thing)

    def _bind(self, port: dict[str, Any]) -> None:
        port |= {"status": "DOWN", **_UNBOUND}
        if not port["binding:host_id"]:
            return
        plugged = (port["binding:profile"] or {}).get("local_link_information")
        port["binding:vif_type"] = "other" if plugged and self.binds else "binding_failed"
        if port["binding:vif_type"] == "other" and self.settles:
            port["status"] = "ACTIVE"
        for trunk in self.trunks.values():
            if trunk["port_id"] == port["id"]:
                trunk["status"] = port["status"]

    def _remove(self, collection: str, thing: dict[str, Any]) -> None:
        ident = thing["id"]
        if collection == "networks" and any(port["network_id"] == ident for port in self.ports.values()):
            raise _Fault(409, "NetworkInUse", f"Unable to complete operation on network {ident}. There are ports.")
        if collection == "subnets":
            if any(ip["subnet_id"] == ident for port in self.ports.values() for ip in port["fixed_ips"]):
                raise _Fault(409, "SubnetInUse", f"Unable to complete operation on subnet {ident}: ports have an IP.")
            self.networks[thing["network_id"]]["subnets"].remove(ident)
        if collection == "ports":
            for trunk in self.trunks.values():
                if trunk["port_id"] == ident:
                    message = f"Port {ident} is currently a parent port for trunk {trunk['id']}."
                    raise _Fault(409, "PortInUseAsTrunkParent", message)
                if any(sub["port_id"] == ident for sub in trunk["sub_ports"]):
                    message = f"Port {ident} is currently a subport for trunk {trunk['id']}."
                    raise _Fault(409, "PortInUseAsSubPort", message)
        if collection == "trunks":
            if not thing["admin_state_up"]:
                raise _Fault(409, "TrunkDisabled", f"Trunk {ident} is currently disabled.")
            if self.ports[thing["port_id"]]["binding:host_id"]:
                raise _Fault(409, "TrunkInUse", f"Trunk {ident} is currently in use.")
        if collection == "networks":
            for subnet in thing["subnets"]:
                del self.subnets[subnet]
        del self._things(collection)[ident]

    @staticmethod
    def _tags(method: str, thing: dict[str, Any], which: list[str], body: Any) -> tuple[int, Any]:
        tags = set(thing["tags"])
        if method == "PUT":
            tags = tags | set(which) if which else set(body["tags"])
        elif method == "DELETE":
            tags = tags - set(which) if which else set()
        thing["tags"] = sorted(tags)
        return (201 if which else 200), {"tags": thing["tags"]}

    def _addresses(self, port: Mapping[str, Any], wanted: list[dict[str, str]]) -> list[dict[str, str]]:
        """The addresses of a port, chosen where only a subnet, or nothing, is said."""
        subnets = [self.subnets[each] for each in self.networks[port["network_id"]]["subnets"]]
        taken = {
            (ip["subnet_id"], ip["ip_address"])
            for other in self.ports.values() if other["id"] != port["id"]
            for ip in other["fixed_ips"]
        }  # fmt: skip
        found: list[dict[str, str]] = []
        for want in wanted:
            address, among = want.get("ip_address"), [s for s in subnets if want.get("subnet_id") in (None, s["id"])]
            if address is None:
                chosen = next((each for subnet in among for each in _free(subnet, taken)), None)
                if chosen is None:
                    message = f"No more IP addresses available on network {port['network_id']}."
                    raise _Fault(409, "IpAddressGenerationFailure", message)
                found.append(chosen)
                continue
            inside = [s for s in among if ipaddress.ip_address(address) in ipaddress.ip_network(s["cidr"])]
            if not inside:
                raise _Fault(400, "InvalidIpForNetwork", f"IP address {address} is not a valid IP for the network.")
            if (inside[0]["id"], address) in taken:
                message = f"IP address {address} already allocated in subnet {inside[0]['id']}"
                raise _Fault(409, "IpAddressAlreadyAllocated", message)
            found.append({"subnet_id": inside[0]["id"], "ip_address": address})
        return found

    def _shown(self, collection: str, thing: dict[str, Any]) -> dict[str, Any]:
        trunk = next((each for each in self.trunks.values() if each["port_id"] == thing["id"]), None)
        if collection != "ports" or trunk is None:
            return thing
        return {**thing, "trunk_details": {"trunk_id": trunk["id"], "sub_ports": trunk["sub_ports"]}}


def _free(subnet: Mapping[str, Any], taken: set[tuple[str, str]]) -> Iterator[dict[str, str]]:
    for pool in subnet["allocation_pools"]:
        address, end = ipaddress.ip_address(pool["start"]), ipaddress.ip_address(pool["end"])
        while int(address) <= int(end):
            if (subnet["id"], str(address)) not in taken:
                yield {"subnet_id": subnet["id"], "ip_address": str(address)}
            address += 1


def _matches(thing: Mapping[str, Any], key: str, values: list[str]) -> bool:
    if key == "tags":
        return set(",".join(values).split(",")) <= set(thing["tags"])
    if key == "fixed_ips":
        pairs = [value.split("=", 1) for value in values]
        return any(all(ip[part] == wanted for part, wanted in pairs) for ip in thing["fixed_ips"])
    return str(thing.get(key)).lower() in [value.lower() for value in values]


def _error(kind: str, message: str) -> dict[str, Any]:
    return {"NeutronError": {"type": kind, "message": message, "detail": ""}}
