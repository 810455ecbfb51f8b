# SPDX-License-Identifier: Apache-2.0
"""A Keystone and an Ironic in memory over HTTP on the loopback: pages, versions, refusals, silence."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.telemetry.bridge.notes import SECRET

USER = "ironic-reader"


@dataclass
class FakeIronic:
    """What it knows; the test changes it.

    Attributes:
        most: rows of a page, Ironic's ``max_limit``.
        newest: the newest version of its API.
        status: an HTTP status that it answers every listing with; 0 for what is right.
        garbage: answers this instead of JSON.
        asked: the paths of all requests, with their version.
        logins: the bodies of all logins at Keystone.
        expired: it takes no token that was given out before.
        loops: its pages have no end.
    """

    url: str = ""
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    ports: dict[str, dict[str, Any]] = field(default_factory=dict)
    most: int = 1000
    newest: str = "1.99"
    status: int = 0
    garbage: bytes = b""
    asked: list[tuple[str, str]] = field(default_factory=list)
    logins: list[dict[str, Any]] = field(default_factory=list)
    expired: bool = False
    loops: bool = False
    endpoint: str = ""

    def put(self, *rows: dict[str, Any]) -> None:
        """These nodes or ports are there, in the API's form."""
        for row in rows:
            times = {
                name: value.replace("Z", "+00:00") for name, value in row.items() if name.endswith("_at") and value
            }
            (self.ports if "node_uuid" in row else self.nodes)[row["uuid"]] = {**row, **times}

    def conf(self, **more: str) -> str:
        """The old daemon's files for it."""
        defaults = {"introspect_port": "0", "ironic_list_interval": "5", **more}
        lines = "\n".join(f"{name} = {value}" for name, value in defaults.items())
        return f"""[DEFAULTS]
{lines}

[KEYSTONE]
auth_url = {self.url}/v3
auth_type = password
admin_user = {USER}
admin_password = {SECRET}
admin_tenant_name = service
user_domain_name = Default
project_domain_name = Default
region_name = RegionOne
"""

    # --- what it answers -------------------------------------------------------------------------

    def list(self, what: str, query: dict[str, list[str]]) -> dict[str, Any]:
        """One page."""
        rows = self.nodes if what == "nodes" else self.ports
        after = query.get("marker", [""])[0]
        limit = min(self.most, int(query.get("limit", ["1000"])[0]))
        left = [uuid for uuid in sorted(rows) if uuid > after or self.loops]
        page: dict[str, Any] = {what: [rows[uuid] for uuid in left[:limit]]}
        if len(left) > limit or self.loops:
            page["next"] = f"http://ironic.internal/baremetal/v1/{what}/detail?limit={limit}&marker={left[limit - 1]}"
        return page

    def token(self, body: dict[str, Any]) -> dict[str, Any] | None:
        """The token for a login, with the catalog; None for a wrong one."""
        self.logins.append(body)
        user = body["auth"]["identity"]["password"]["user"]
        if (user["name"], user["password"]) != (USER, SECRET):
            return None
        endpoint = {"id": "1", "interface": "internal", "region": "RegionOne", "region_id": "RegionOne"}
        services = [
            {"type": "baremetal", "name": "ironic", "id": "2", "endpoints": [{**endpoint, "url": self.endpoint}]}
        ]
        person = {"id": "3", "name": USER, "domain": {"id": "default", "name": "Default"}}
        return {"token": {
            "methods": ["password"], "user": person, "catalog": services, "expires_at": "2099-01-01T00:00:00.000000Z",
            "issued_at": "2020-01-01T00:00:00.000000Z", "roles": [], "project": {**person, "name": "service"},
        }}  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    ironic: FakeIronic

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        token = self.ironic.token(body)
        if token is None:
            self._answer(401, {"error": {"message": "no"}})
        else:
            self.ironic.expired = False
            self._answer(201, token, {"X-Subject-Token": f"token-{len(self.ironic.logins)}"})

    def do_GET(self) -> None:
        path = urlsplit(self.path)
        if path.path.startswith("/v3"):
            version = {"id": "v3.14", "status": "stable", "links": [{"rel": "self", "href": f"{self.ironic.url}/v3/"}]}
            self._answer(200, {"version": version})
            return
        spoken = self.headers.get("X-OpenStack-Ironic-API-Version", "")
        self.ironic.asked.append((self.path, spoken))
        maximum = {"X-OpenStack-Ironic-API-Maximum-Version": self.ironic.newest}
        parts = path.path.strip("/").split("/")
        known = self.headers.get("X-Auth-Token", "").startswith("token-") and not self.ironic.expired
        if parts == ["v1"]:
            self._answer(200, {"id": "v1", "version": {"version": self.ironic.newest}}, maximum)
        elif not known:
            self._answer(401, {}, maximum)
        elif _number(spoken) > _number(self.ironic.newest):
            self._answer(406, {}, maximum)
        elif self.ironic.status:
            self._answer(self.ironic.status, {"error_message": f"quoting {SECRET}"}, maximum)
        elif self.ironic.garbage:
            self._raw(200, self.ironic.garbage, maximum)
        else:
            self._answer(200, self.ironic.list(parts[1], parse_qs(path.query)), maximum)

    def _answer(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        self._raw(status, json.dumps(body).encode(), headers or {})

    def _raw(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Type": "application/json", "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


@contextmanager
def fake_ironic() -> Iterator[FakeIronic]:
    """One on a free port, until the block ends."""
    ironic = FakeIronic()
    handler = type("Handler", (_Handler,), {"ironic": ironic})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    ironic.url = f"http://127.0.0.1:{server.server_address[1]}"
    ironic.endpoint = ironic.url
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield ironic
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
