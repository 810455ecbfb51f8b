# SPDX-License-Identifier: Apache-2.0
"""A Nova and a Placement with state, whose driver works the nodes of a `fake_ironic.Fake`; and ports of leases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from services.kernel.errors import PeerUnavailable, WrongState
from services.lifecycle.backends.neutron_ports import LeasePort
from services.runtime.openstack import Answer
from tests.lifecycle.backends.fake_ironic import Fake

CLASS = "CUSTOM_BM"


@dataclass(slots=True)
class FakeNova:
    """Transport to both; what a server is made of is kept in `servers`.

    Attributes:
        ironic: where its driver works.
        limits: of every project.
        slow: how many looks at a server pass before its driver begins, and before a deletion ends.
        lost: methods of the next requests that are taken and never answered.
        refusing: why the next server is refused: status and text.
        broken: how it answers everything: status and text.
        failing: why the next server fails; "".
        traits: what Placement shows of every node.
        reserved: what Placement shows as reserved, of one.
        asked: every request: method, path.
    """

    ironic: Fake
    servers: dict[str, dict[str, Any]] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    slow: int = 0
    lost: list[str] = field(default_factory=list)
    refusing: tuple[int, str] = (0, "")
    broken: tuple[int, str] = (0, "")
    failing: str = ""
    traits: list[str] = field(default_factory=lambda: ["CUSTOM_BMS_HELD"])
    reserved: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)
    project: str = ""
    made: int = 0

    def compute(self, project: str) -> FakeNova:
        """The transport by a token for *project*."""
        self.project = project
        return self

    def send(self, method: str, path: str, body: object = None, content_type: str = "") -> Answer:
        """See `Transport.send`."""
        self.asked.append((method, path))
        words = urlsplit(path).path.strip("/").split("/")
        if self.broken[0]:
            return Answer(self.broken[0], {"error": {"message": self.broken[1]}})
        answer = self._answer(method, words, parse_qs(urlsplit(path).query), body)
        if method in self.lost:
            self.lost.remove(method)
            msg = "the answer got lost"
            raise PeerUnavailable(msg)
        return answer

    def _answer(self, method: str, words: list[str], query: dict[str, list[str]], body: Any) -> Answer:
        if words[0] == "resource_providers":
            return self._placement(words)
        if words[0] == "limits":
            return Answer(200, {"limits": {"absolute": self.limits}})
        if words[0] == "flavors":
            return Answer(200, {"flavor": {"id": words[1], "vcpus": 8, "ram": 1024}})
        if words[2:] == ["action"]:
            return self._stop(words[1], body)
        if method == "POST":
            return self._boot(body["server"])
        if words[1:] == ["detail"]:
            after = query.get("marker")
            shown = [] if after else [one for one in self.servers.values() if [one["tenant_id"]] == query["project_id"]]
            return Answer(200, {"servers": shown})
        found = self.servers.get(words[1])
        if found is None:
            return Answer(404, {"itemNotFound": {"message": "Instance could not be found."}})
        if method == "DELETE":
            found["OS-EXT-STS:task_state"] = "deleting"
            found["left"] = self.slow
            return Answer(204, {})
        self._go_on(found)
        return Answer(200, {"server": dict(found)}) if words[1] in self.servers else Answer(404, {})

    def _boot(self, wanted: dict[str, Any]) -> Answer:
        status, text = self.refusing
        if status:
            self.refusing = (0, "")
            return Answer(status, {"forbidden": {"message": text}})
        self.made += 1
        ident = f"{self.made:08d}-0000-4000-8000-00000000000b"
        self.servers[ident] = {
            "id": ident, "tenant_id": self.project, "status": "BUILD", "left": self.slow, "wanted": wanted,
            "metadata": wanted["metadata"], "OS-EXT-STS:task_state": "scheduling",
        }  # fmt: skip
        return Answer(202, {"server": {"id": ident}})

    def _stop(self, ident: str, body: Any) -> Answer:
        assert body == {"os-stop": None}
        found = self.servers[ident]
        if found["status"] != "ACTIVE":
            return Answer(409, {"conflictingRequest": {"message": "Cannot 'stop' instance while it is in this state"}})
        found |= {"OS-EXT-STS:task_state": "powering-off", "left": self.slow}
        return Answer(202, {})

    def _go_on(self, server: dict[str, Any]) -> None:
        """What Nova did since somebody looked last."""
        if server["left"]:
            server["left"] -= 1
            return
        node = self.ironic.nodes[server["wanted"]["hypervisor_hostname"]]
        if server["OS-EXT-STS:task_state"] == "deleting":
            if node.get("instance_uuid") == server["id"]:
                node["instance_uuid"] = None
                if node["provision_state"] in ("active", "deploy failed", "error"):
                    self.ironic.order(node["uuid"], "deleted")
            del self.servers[server["id"]]
        elif server["OS-EXT-STS:task_state"] == "powering-off":
            server |= {"status": "SHUTOFF", "OS-EXT-STS:task_state": None}
        elif server["OS-EXT-STS:task_state"] == "scheduling":
            server["OS-EXT-STS:task_state"] = "spawning"
            if self.failing or node.get("instance_uuid"):
                server |= {
                    "status": "ERROR",
                    "fault": {"message": self.failing or "Exceeded maximum number of retries."},
                }
                self.failing = ""
                return
            node["instance_uuid"] = server["id"]
            info = {"image_os_hash_algo": "sha256", "image_os_hash_value": "ab" * 32}
            node["instance_info"] = {**node["instance_info"], **info}
            self.ironic.order(node["uuid"], "active")
        elif server["status"] == "BUILD" and node["provision_state"] == "active":
            server |= {"status": "ACTIVE", "OS-EXT-STS:task_state": None}
        elif server["status"] == "BUILD" and node["provision_state"] == "deploy failed":
            server |= {"status": "ERROR", "fault": {"message": "Exceeded maximum number of retries."}}

    def _placement(self, words: list[str]) -> Answer:
        node = self.ironic.nodes.get(words[1])
        if node is None:
            return Answer(404, {"errors": [{"detail": "no such provider"}]})
        if words[2] == "inventories":
            return Answer(200, {"inventories": {CLASS: {"total": 1, "reserved": self.reserved}}})
        if words[2] == "traits":
            return Answer(200, {"traits": self.traits})
        own = [one for one in self.servers.values() if one["wanted"]["hypervisor_hostname"] == words[1]]
        used = any(one["status"] != "ERROR" or node.get("instance_uuid") == one["id"] for one in own)
        return Answer(200, {"usages": {CLASS: int(used)}})


@dataclass(slots=True)
class FakePorts:
    """Ports of leases: one for each but those that are `missing`."""

    missing: set[str] = field(default_factory=set)
    mac_address: str = "52:54:00:00:00:01"

    def of(self, instance: str, leases: Sequence[str]) -> list[LeasePort]:
        """See `neutron_ports.Ports`."""
        for lease in leases:
            if lease in self.missing:
                msg = f"{lease} has no port in Neutron"
                raise WrongState(msg)
        return [LeasePort(f"port of {lease}", self.mac_address) for lease in leases]
