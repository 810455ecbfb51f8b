# SPDX-License-Identifier: Apache-2.0
"""An Ironic with state, over genuine HTTP on the loopback: as much of its API and state machine as the backend uses.

Work that Ironic does by itself lasts for as many looks at the node as `Fake.looks` says. What is written to and read
from it is kept, so that tests can look for what should not be there.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Answer = tuple[int, object]

INVENTORY = {
    "cpu": {"count": 32, "architecture": "x86_64"},
    "memory": {"physical_mb": 65536},
    "disks": [{"name": "/dev/sda", "size": 8 * 2**30, "serial": "S1"}],
    "system_vendor": {"manufacturer": "Acme", "product_name": "X1", "serial_number": "A1"},
}

# verb: state it may be asked for in -> (transient state, state after success, state after failure)
_VERBS: dict[str, dict[str, tuple[str, str, str]]] = {
    "manage": {
        "enroll": ("verifying", "manageable", "enroll"),
        **dict.fromkeys(("available", "clean failed", "inspect failed", "adopt failed"), ("", "manageable", "")),
    },
    "inspect": {"manageable": ("inspecting", "manageable", "inspect failed")},
    "provide": {"manageable": ("cleaning", "available", "clean failed")},
    "clean": {"manageable": ("cleaning", "manageable", "clean failed")},
    "active": dict.fromkeys(("available", "deploy failed"), ("deploying", "active", "deploy failed")),
    "rebuild": dict.fromkeys(("active", "error"), ("deploying", "active", "deploy failed")),
    "deleted": dict.fromkeys(
        ("active", "deploy failed", "error", "rescue", "wait call-back"), ("cleaning", "available", "clean failed")
    ),
    "adopt": dict.fromkeys(("manageable", "adopt failed"), ("adopting", "active", "adopt failed")),
    "rescue": dict.fromkeys(("active", "rescue failed"), ("rescuing", "rescue", "rescue failed")),
    "unrescue": {"rescue": ("unrescuing", "active", "unrescue failed")},
    "abort": {"clean wait": ("", "clean failed", ""), "wait call-back": ("", "deploy failed", "")},
}


@dataclass(slots=True)
class Fake:
    """The world behind the API.

    Attributes:
        bmc: ``answers``, ``silent`` or ``refuses`` (the login).
        power: the truth, which Ironic's row may not show.
        failing: states that end badly: ``inspecting``, ``cleaning``, ``deploying``, ``rescuing``.
        looks: for how many looks at a node its work lasts.
        locked: so many requests to change something are answered 409 yet.
        unknown: whether it refuses our login.
        keeps_inventory: whether an inspection leaves one.
        refusing: a verb that is answered 400.
        newest: the newest microversion that it speaks.
        logins: the ``Authorization`` headers that requests had.
        spoken: the microversions that they asked for.
        lost: methods and ends of paths (``PUT provision``) of the next requests that are taken and never answered.
        dropped: the same of requests whose connection it closes without having looked at them.
        broken: the same of requests that a proxy before it answers 503.
        console: where nodes' consoles are; empty: their driver has none.
        complains: what it says of what ends badly.
        templates: steps of deploy templates, by name.
        vifs: of each node, its VIFs, by id the port of the node that was named, or "".
        ports: the ports of nodes.
        asked: every request to change something: method, path, body.
    """

    url: str = ""
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    bmc: str = "answers"
    power: str = "power off"
    failing: set[str] = field(default_factory=set)
    looks: int = 1
    locked: int = 0
    unknown: bool = False
    keeps_inventory: bool = True
    refusing: str = ""
    newest: str = "1.99"
    logins: set[str] = field(default_factory=set)
    spoken: set[str] = field(default_factory=set)
    lost: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    console: str = ""
    complains: str = f"the ramdisk failed, password={'hunter2'}"
    templates: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    vifs: dict[str, dict[str, str]] = field(default_factory=dict)
    ports: list[dict[str, Any]] = field(default_factory=list)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    pending: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    clock: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def verbs(self) -> list[str]:
        """The provision verbs that were taken or refused, in order."""
        return [body["target"] for _, path, body in self.asked if path.endswith("/states/provision")]

    def add(self, uuid: str, state: str, **more: Any) -> dict[str, Any]:
        """A node that was there before."""
        node = {
            "uuid": uuid, "driver": "redfish", "provision_state": state, "provision_updated_at": None,
            "power_state": self.power, "target_power_state": None, "reservation": None, "maintenance": False,
            "maintenance_reason": None, "fault": None, "last_error": None, "extra": {}, "properties": {},
            "driver_internal_info": {}, "inspection_finished_at": None, "driver_info": {}, "instance_info": {}, **more,
        }  # fmt: skip
        self.nodes[uuid] = node
        return node

    def finish(self, uuid: str) -> None:
        """What it does with a node is done by the next look."""
        self.pending[uuid] = (1, *self.pending[uuid][1:])

    def order(self, uuid: str, verb: str) -> None:
        """Somebody else asks for *verb*, which is not in `asked`."""
        self._provision(self.nodes[uuid], verb)

    def answer(self, method: str, path: str, body: Any, query: Mapping[str, str] | None = None) -> Answer:
        """What it answers to one request."""
        if path in ("/", "/v1", "/v1/"):
            version = {
                "id": "v1", "status": "CURRENT", "min_version": "1.1", "version": self.newest,
                "links": [{"href": f"{self.url}/v1/", "rel": "self"}],
            }  # fmt: skip
            return 200, {"name": "Ironic", "versions": [version], "default_version": version, "version": version}
        if self.unknown:
            return 401, {"error": "who are you"}
        words = path.removeprefix("/v1/").split("/")
        if method == "GET":
            return self._look(words, query or {})
        self.asked.append((method, path, body))
        if self.locked:
            self.locked -= 1
            return _fault(409, f"Node {words[1] if len(words) > 1 else ''} is locked by host other")
        if words[2:3] == ["vifs"]:
            return self._vif(method, words, body)
        if method == "POST":
            self.add(body["uuid"], "enroll", **{key: body[key] for key in ("driver", "driver_info", "extra")})
            self.nodes[body["uuid"]]["power_state"] = None
            return 201, {}
        node = self.nodes.get(words[1])
        if node is None:
            return _fault(404, "no such node")
        if words[2:] == ["maintenance"]:
            node |= {"maintenance": method == "PUT", "fault": None}
            return 202, {}
        if method == "DELETE":
            del self.nodes[words[1]]
            return 204, {}
        if method == "PATCH":
            return self._patch(node, body)
        if words[2:] == ["states", "console"]:
            if not self.console:
                return _fault(400, "Driver redfish does not support console (disabled or not implemented).")
            node["console_enabled"] = body["enabled"]
            return 202, {}
        return self._power(node, body["target"]) if words[3] == "power" else self._provision(node, body["target"])

    def _look(self, words: list[str], query: Mapping[str, str]) -> Answer:
        if words[0] == "deploy_templates":
            steps = self.templates.get(words[1])
            return (200, {"name": words[1], "steps": steps}) if steps else _fault(404, "no such template")
        if words == ["nodes"]:
            there = [uuid for uuid in sorted(self.nodes) if uuid > query.get("marker", "")]
            most = int(query.get("limit", 1000))
            page: dict[str, object] = {"nodes": [self._look(["nodes", uuid], {})[1] for uuid in there[:most]]}
            if len(there) > most:
                page["next"] = f"{self.url}/v1/nodes?marker={there[most - 1]}"
            return (200, page) if query.get("marker", "") in ("", *self.nodes) else _fault(404, "no such marker")
        node = self.nodes.get(words[1])
        if node is None:
            return _fault(404, "no such node")
        if words[2:] == ["vifs"]:
            return 200, {"vifs": [{"id": ident} for ident in self.vifs.get(words[1], {})]}
        if words[2:] == ["ports"]:
            return 200, {"ports": [port for port in self.ports if port["node"] == words[1]]}
        if words[2:] == ["inventory"] and not self.keeps_inventory:
            return _fault(404, f"no inventory of {words[1]}")
        if words[2:] == ["inventory"]:
            return 200, {"inventory": INVENTORY, "plugin_data": {}}
        if words[2:] == ["management", "boot_device"]:
            return (200, {"boot_device": "disk"}) if self.bmc == "answers" else _fault(500, self._complaint())
        if words[2:] == ["states", "console"]:
            if not self.console:
                return _fault(400, "Driver redfish does not support console (disabled or not implemented).")
            info = {"type": "socat", "url": self.console} if node.get("console_enabled") else None
            return 200, {"console_enabled": bool(info), "console_info": info}
        shown = json.loads(json.dumps(node))
        self._pass(node)
        return 200, shown

    def _vif(self, method: str, words: list[str], body: Any) -> Answer:
        there = self.vifs.setdefault(words[1], {})
        if method == "DELETE":
            return (204, {}) if there.pop(words[3], None) is not None else _fault(400, "no such VIF")
        if body["id"] in there:
            return _fault(409, "the VIF is attached already")
        there[body["id"]] = body.get("port_uuid", "")
        return 204, {}

    def _pass(self, node: dict[str, Any]) -> None:
        if node["uuid"] not in self.pending:
            return
        left, good, bad = self.pending[node["uuid"]]
        if left > 1:
            self.pending[node["uuid"]] = (left - 1, good, bad)
            return
        del self.pending[node["uuid"]]
        was, node["reservation"] = node["provision_state"], None
        if was == "verifying":
            if self.bmc != "answers":
                node["last_error"] = f"Failed to get power state for node. Error: {self._complaint()}"
                self._move(node, bad)
                return
            node["power_state"] = self.power
        if was in self.failing:
            node["last_error"] = self.complains
            if was == "cleaning":
                node |= {"maintenance": True, "fault": "clean failure"}
            self._move(node, bad)
            return
        job = ((node["extra"] or {}).get("bms") or {}).get("job") or {}
        if was == "cleaning" and node.get("automated_clean"):
            times = {"start_time": self.clock.isoformat(), "end_time": self.clock.isoformat()}
            disk = {"serial": "S1", "size_bytes": 8 * 2**30, "method": "overwrite", "sample_sha256": "00", **times}
            node["driver_internal_info"]["bms_erased"] = {"request": job.get("id"), "disks": [disk]}
        if was == "deploying":
            info = node["instance_info"]
            told = f"{info['image_os_hash_algo']}:{info['image_os_hash_value']}"
            node["driver_internal_info"]["bms_image"] = {"request": job.get("id"), "disk": "S1", "checksum": told}
        if was == "inspecting":
            node["inspection_finished_at"] = self.clock.isoformat()
        self._move(node, good)

    def _move(self, node: dict[str, Any], state: str) -> None:
        self.clock += timedelta(seconds=1)
        node |= {"provision_state": state, "provision_updated_at": self.clock.isoformat()}

    def _patch(self, node: dict[str, Any], operations: list[dict[str, Any]]) -> Answer:
        held = node.get("instance_uuid")
        for operation in operations:
            if operation["path"] == "/instance_uuid" and operation["op"] == "add" and held not in (
                None, operation["value"],
            ):  # fmt: skip
                return _fault(409, f"Node {node['uuid']} is associated with instance {held}.")
        state = node["provision_state"]
        for operation in operations:
            path, value = operation["path"], operation.get("value")
            if path == "/retired" and value and state == "available":
                return _fault(409, "an available node is not retired")
            if path == "/protected" and value and state not in ("active", "rescue"):
                return _fault(409, "only what is deployed is protected")
        for operation in operations:
            *folders, name = operation["path"].strip("/").split("/")
            place = node
            for folder in folders:
                place = place.setdefault(folder, {})
            place[name] = operation.get("value")
        return 200, {}

    def _power(self, node: dict[str, Any], target: str) -> Answer:
        if node["provision_state"] in ("cleaning", "clean wait"):
            return _fault(400, "not while cleaning")
        node["last_error"] = None
        if self.bmc != "answers":
            node["last_error"] = f"Failed to change power state to '{target}': {self._complaint()}"
            return 202, {}
        if self.power != target:
            self.clock += timedelta(seconds=1)
            node["driver_internal_info"]["last_power_state_change"] = self.clock.isoformat()
        self.power = node["power_state"] = "power on" if target == "rebooting" else target
        return 202, {}

    def _provision(self, node: dict[str, Any], target: str) -> Answer:
        found = _VERBS.get(target, {}).get(node["provision_state"])
        if target == "provide" and node.get("retired"):
            return _fault(409, "the node is retired")
        if target in ("deleted", "rebuild") and node.get("protected"):
            return _fault(403, "the node is protected")
        if found is None or target == self.refusing:
            return _fault(400, f"{target} cannot be had in state {node['provision_state']}")
        transient, good, bad = found
        if good == "available" and node.get("retired"):
            good = "manageable"
        node["last_error"] = None
        if not transient:
            self._move(node, good)
            return 202, {}
        self._move(node, transient)
        node["reservation"] = "conductor"
        self.pending[node["uuid"]] = (self.looks, good, bad)
        return 202, {}

    def _complaint(self) -> str:
        return {
            "silent": "Unable to connect to https://192.0.2.7",
            "refuses": "HTTP GET https://192.0.2.7/redfish/v1/Systems returned code 401. Invalid credentials",
        }[self.bmc]


def _fault(status: int, text: str) -> Answer:
    return status, {"error_message": json.dumps({"faultcode": "Client", "faultstring": text})}


@contextmanager
def serving() -> Iterator[Fake]:
    """The fake on a port of the loopback, until the block ends."""
    fake, lock = Fake(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            fake.logins.add(self.headers.get("authorization") or "")
            fake.spoken.add(self.headers.get("x-openstack-ironic-api-version") or "")
            parts = urlsplit(self.path)
            path, query = parts.path, dict(parse_qsl(parts.query))
            what = f"{self.command} {path.rpartition('/')[2]}"
            if what in fake.dropped:
                fake.dropped.remove(what)
                self.close_connection = True
                return
            with lock:
                bad = what in fake.broken
                status, answer = (503, {}) if bad else fake.answer(self.command, path, body, query)
            if bad:
                fake.broken.remove(what)
            if what in fake.lost:
                fake.lost.remove(what)
                self.close_connection = True
                return
            content = b"" if status == 204 else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _do  # noqa: N815 -- the names that http.server calls

        def log_message(self, *_args: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    fake.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
