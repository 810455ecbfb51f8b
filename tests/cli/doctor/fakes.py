# SPDX-License-Identifier: Apache-2.0
"""A cloud in memory on the loopback: Keystone, and of the others what a doctor asks them. A test breaks it."""

from __future__ import annotations

import json
import secrets
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

TYPES = {"ironic": "baremetal", "neutron": "network", "placement": "placement", "nova": "compute", "glance": "image"}
PROJECT, ADMIN = "5e" * 16, "ad" * 16
NODE = "0a2b6f7e-0000-4000-8000-000000000001"
STEPS = ("cleaning", "provisioning", "rescuing")


def _networks() -> list[dict[str, Any]]:
    return [
        {
            "id": f"id-{name}", "name": name, "project_id": ADMIN, "shared": False, "router:external": False,
            "admin_state_up": True, "subnets": ["s"], "provider:network_type": "vlan",
            "provider:physical_network": "p", "provider:segmentation_id": number,
        }
        for number, name in enumerate(STEPS)
    ]  # fmt: skip


def _pages() -> dict[str, Any]:
    node = {
        "uuid": NODE, "name": "r1", "driver": "redfish", "provision_state": "available", "power_state": "power off",
        "network_interface": "neutron", "resource_class": "bm.large", "automated_clean": True, "owner": ADMIN,
        "driver_info": {"redfish_password": "******"},
    }  # fmt: skip
    link = {"switch_id": "00:00:5e:00:53:01", "port_id": "Ethernet1", "switch_info": "leaf1"}
    driver = {
        "name": "redfish", "default_deploy_interface": "direct", "default_network_interface": "neutron",
        "enabled_network_interfaces": ["neutron", "noop"], "enabled_rescue_interfaces": ["agent"],
        "enabled_inspect_interfaces": ["agent"],
    }  # fmt: skip
    extensions = [{"alias": alias} for alias in ("binding", "port-security", "provider", "trunk")]
    specs = {
        "resources:CUSTOM_BM_LARGE": "1",
        **{f"resources:{name}": "0" for name in ("VCPU", "MEMORY_MB", "DISK_GB")},
    }
    quota = {what: {"limit": 100, "used": 1, "reserved": 0} for what in ("port", "network", "subnet")}
    stamp = (datetime.now(UTC) - timedelta(seconds=2)).strftime("%Y-%m-%dT%H:%M:%S+00:00")
    return {
        "/v3": {"version": {"id": "v3.14", "status": "stable"}},
        f"/v3/projects/{ADMIN}": {"project": {"id": ADMIN, "name": "admin"}},
        "/ironic/": {"default_version": {"id": "v1", "min_version": "1.1", "version": "1.115"}},
        "/ironic/v1/nodes": {"nodes": [node]},
        "/ironic/v1/ports": {"ports": [{"uuid": "p1", "node_uuid": NODE, "local_link_connection": link}]},
        "/ironic/v1/conductors": {
            "conductors": [{"hostname": "c1", "alive": True, "drivers": ["redfish"], "updated_at": stamp}]
        },
        "/ironic/v1/drivers": {"drivers": [driver]},
        "/ironic/v1/allocations": {"allocations": []},
        "/ironic/v1/deploy_templates": {"deploy_templates": []},
        "/neutron/": {"versions": [{"id": "v2.0"}]},
        "/neutron/v2.0/extensions": {"extensions": extensions},
        "/neutron/v2.0/agents": {"agents": [{"agent_type": "Baremetal Node", "host": "h", "alive": True}]},
        "/neutron/v2.0/networks": {"networks": _networks()},
        "/neutron/v2.0/rbac-policies": {"rbac_policies": []},
        "/neutron/v2.0/ports": {"ports": []},
        f"/neutron/v2.0/quotas/{PROJECT}/details.json": {"quota": quota},
        "/placement/": {"versions": [{"id": "v1.0", "min_version": "1.0", "max_version": "1.39"}]},
        "/placement/resource_providers": {"resource_providers": [{"uuid": NODE}]},
        f"/placement/resource_providers/{NODE}/inventories": {
            "inventories": {"CUSTOM_BM_LARGE": {"total": 1, "reserved": 0}}
        },
        f"/placement/resource_providers/{NODE}/allocations": {"allocations": {}},
        "/nova/": {"versions": [{"id": "v2.0"}, {"id": "v2.1", "min_version": "2.1", "version": "2.104"}]},
        "/nova/v2.1/flavors/detail": {"flavors": [{"name": "bm", "extra_specs": specs}]},
        "/nova/v2.1/os-services": {
            "services": [
                {"binary": "nova-compute", "host": "h", "state": "up", "status": "enabled", "updated_at": stamp}
            ]
        },
        "/glance/": {"versions": [{"id": "v2.17"}, {"id": "v2.2"}]},
        "/glance/v2/info/import": {"import-methods": {"value": ["web-download"]}},
        "/glance/v2/info/stores": {"stores": [{"id": "fast", "default": "true"}]},
        "/glance/v2/images": {"images": [{"id": "i", "os_hash_algo": "sha512"}]},
        "/glance/v2/info/usage": {"usage": {}},
    }


@dataclass
class FakeCloud:
    """What it answers; a test changes it.

    Attributes:
        pages: the JSON by path, without what stands behind ``?``.
        statuses: an HTTP status in place of 200, by path or by its beginning.
        slow: services that answer only when the test ends.
        ahead: seconds by which its clock is ahead.
        asked: paths that were asked for, with their queries.
        tokens: those that it gave out.
        patched: what somebody changed: the path, and the JSON patch.
        on_patch: called with each.
    """

    url: str = ""
    password: str = field(default_factory=lambda: secrets.token_hex(12))
    roles: tuple[str, ...] = ("admin", "service")
    offers: tuple[str, ...] = tuple(TYPES)
    pages: dict[str, Any] = field(default_factory=_pages)
    statuses: dict[str, int] = field(default_factory=dict)
    slow: tuple[str, ...] = ()
    ahead: float = 0.0
    asked: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    patched: list[tuple[str, Any]] = field(default_factory=list)
    on_patch: Callable[[Any], None] = lambda _: None
    end: threading.Event = field(default_factory=threading.Event)

    def write_clouds(self, path: Path, **more: Any) -> Path:
        """A clouds.yaml in which it is called ``site``."""
        auth = {
            "auth_url": f"{self.url}/v3", "username": "bms", "password": self.password, "project_name": "service",
            "user_domain_name": "Default", "project_domain_name": "Default",
        }  # fmt: skip
        path.write_text(json.dumps({"clouds": {"site": {"auth": auth, "region_name": "R", **more}}}))
        return path

    def log_in(self, asked: dict[str, Any]) -> tuple[int, str, dict[str, Any]]:
        """Answers to ``POST /v3/auth/tokens``."""
        if asked["auth"]["identity"]["password"]["user"]["password"] != self.password:
            return 401, "", {"error": {"code": 401, "message": "no"}}
        token = f"gAAAAA{secrets.token_urlsafe(32)}"
        self.tokens.append(token)
        now = datetime.now(UTC) + timedelta(seconds=self.ahead)
        catalogue = [
            {
                "type": TYPES[name],
                "name": name,
                "endpoints": [
                    {"interface": "public", "region": "R", "region_id": "R", "url": f"{self.url}/{name}", "id": name}
                ],
            }
            for name in self.offers
        ]
        body = {
            "user": {"id": "b0", "name": "bms", "domain": {"id": "default", "name": "Default"}},
            "project": {"id": PROJECT, "name": "service", "domain": {"id": "default", "name": "Default"}},
            "roles": [{"id": role, "name": role} for role in self.roles],
            "issued_at": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "expires_at": (now + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "catalog": catalogue,
            "methods": ["password"],
        }
        return 201, token, {"token": body}

    def page(self, path: str) -> tuple[int, Any]:
        """Answers to ``GET``."""
        self.asked.append(path)
        plain = urlsplit(path).path
        if any(plain.startswith(f"/{name}/") for name in self.slow):
            self.end.wait(30)
        for start, status in self.statuses.items():
            if plain.startswith(start):
                return status, {"message": f"told to answer with {status}"}
        found = self.pages.get(plain)
        return (200, found) if found is not None else (404, {"message": "no such thing"})


@contextmanager
def fake_cloud(tls: ssl.SSLContext | None = None) -> Iterator[FakeCloud]:
    """A cloud on a free port of the loopback, until the block ends."""
    cloud = FakeCloud()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, token, body = cloud.log_in(asked)
            self._answer(status, body, {"X-Subject-Token": token} if token else {})

        def do_GET(self) -> None:
            status, body = cloud.page(self.path)
            self._answer(status, body, {})

        def do_PATCH(self) -> None:
            patch = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            cloud.patched.append((self.path, patch))
            cloud.on_patch(patch)
            self._answer(200, {}, {})

        def date_time_string(self, timestamp: float | None = None) -> str:
            moved = datetime.now(UTC) + timedelta(seconds=cloud.ahead)
            return super().date_time_string(moved.timestamp())

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

        def _answer(self, status: int, body: Any, headers: dict[str, str]) -> None:
            raw = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Type": "application/json"}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    cloud.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
    cloud.pages["/v3"]["version"]["links"] = [{"rel": "self", "href": f"{cloud.url}/v3/"}]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield cloud
    finally:
        cloud.end.set()
        server.shutdown()
        server.server_close()
