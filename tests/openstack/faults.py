# SPDX-License-Identifier: Apache-2.0
"""A genuine Ironic that can be made to fail: in each operation of each node, as a process, and on the way to it."""

from __future__ import annotations

import http.client
import json
import random
import secrets
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from services.lifecycle.backends.ironic_api import Deadline, IronicApi
from tests.openstack.cloud import ironic, parts
from tests.openstack.cloud.programs import programs
from tests.openstack.fleet import Fleet

DISK_BYTES = 64 * 1024
INTERFACES = {
    "boot": "redfish-virtual-media", "deploy": "bms-faulty", "inspect": "bms-steered", "management": "fake",
    "network": "noop", "power": "bms-steered", "rescue": "bms-steered",
}  # fmt: skip
POINTS = {
    "deploy": {"bms-faulty": "faulty:FaultyDeploy"},
    **{kind: {"bms-steered": f"steered:Steered{kind.title()}"} for kind in ("power", "inspect", "rescue")},
}
STORM = ("error", "unavailable", "dropped before", "dropped after", "error after")
"""What may become of a request: refused with 500 or 503, lost before it arrives, or done and its answer lost."""


@dataclass(slots=True)
class Way:
    """The way to Ironic, on which requests may get lost.

    Attributes:
        share: of requests that something happens to.
        happened: what happened to which, in order.
    """

    port: int = 0
    share: float = 0.0
    chance: random.Random = field(default_factory=lambda: random.Random(7))
    happened: list[tuple[str, str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fate(self, method: str, path: str) -> str:
        """What becomes of a request; "" for nothing."""
        with self.lock:
            fate = STORM[len(self.happened) % len(STORM)] if self.chance.random() < self.share else ""
            if fate:
                self.happened.append((fate, method, path.partition("?")[0]))
            return fate


@dataclass(slots=True)
class FaultyIronic:
    """One process of a genuine Ironic.

    Attributes:
        endpoint: where the product asks, by way of `way`.
        api: a client of the test's own, past it.
        process: it; see `kill`.
    """

    folder: Path
    endpoint: str
    api: IronicApi
    way: Way
    argv: list[str]
    environ: Mapping[str, str]
    port: int
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> Path:
        """Everything that it said."""
        return self.folder / "ironic.log"

    def plug(self, port: int, serial: str) -> Path:
        """A disk of the server whose BMC would be at *port*, with somebody's data on it."""
        disk = self.folder / "disks" / str(port) / serial
        disk.parent.mkdir(parents=True, exist_ok=True)
        disk.write_bytes(secrets.token_bytes(DISK_BYTES))
        return disk

    def plug_all(self, fleet: Fleet) -> None:
        """Each server gets the disk that the stand-in's inspection tells of."""
        for name, bmc in fleet.bmcs.items():
            self.plug(bmc.port, f"S{fleet.uuid(name)[:8]}")

    def steer(self, port: int, **words: str) -> None:
        """Has operations of the server at *port* go as *words* say from now on; see tests/openstack/standin."""
        wheel = self.folder / "wheels" / f"{port}.json"
        beside = wheel.with_suffix(".new")
        beside.write_text(json.dumps(words))
        beside.rename(wheel)

    def node(self, uuid: str) -> Mapping[str, Any]:
        """The node as it stands."""
        return self.api.node(uuid, Deadline()).data

    def kill(self) -> None:
        """Ends it as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def start(self) -> None:
        """Starts it again."""
        self.process = parts.start(self.folder, self.log, self.argv, self.environ)
        parts.answers(f"http://127.0.0.1:{self.port}", self.log)


@contextmanager
def running_faulty(
    folder: Path, *, more: Mapping[str, Mapping[str, object]] | None = None, api: Callable[[], IronicApi] | None = None
) -> Iterator[FaultyIronic]:
    """One, until the block ends; by itself it lets anybody in.

    Args:
        more: options by section, in place of its own or beside them.
        api: makes the test's client, where it takes a login.
    """
    installed, more = programs(), more or {}
    port = parts.free_port()
    (folder / "wheels").mkdir()
    options = {"auth_strategy": "noauth", "host": "faulty", "rpc_transport": "none", **more.get("DEFAULT", {})}
    base = ironic.settings(folder, hardware="redfish", interfaces=INTERFACES, **options)
    own: dict[str, dict[str, object]] = {
        "api": {"host_ip": "127.0.0.1", "port": port},
        "database": {"connection": parts.sqlite(folder / "ironic.sqlite")},
        "oslo_concurrency": {"lock_path": folder / "locks"},
        "conductor": {
            "automated_clean": False, "sync_power_state_interval": 3600, "check_provision_state_interval": 2,
            "node_locked_retry_interval": 1, **more.get("conductor", {}),
        },
    }  # fmt: skip
    config = parts.write_ini(folder / "ironic.conf", {**more, **base, **own})
    parts.run(folder, [str(installed / "ironic-dbsync"), "--config-file", str(config), "create_schema"], "dbsync")
    points = {f"ironic.hardware.interfaces.{kind}": at for kind, at in POINTS.items()}
    environ = {
        "PYTHONPATH": parts.announce(folder / "site", points), "BMS_STANDIN_DISKS": str(folder / "disks"),
        "BMS_STANDIN_WHEELS": str(folder / "wheels"),
    }  # fmt: skip
    argv = [str(installed / "ironic"), "--config-file", str(config)]
    process = parts.start(folder, folder / "ironic.log", argv, environ)
    own_api = api() if api is not None else IronicApi(endpoint=f"http://127.0.0.1:{port}")
    with _way_to(port) as way:
        found = FaultyIronic(folder, f"http://127.0.0.1:{way.port}", own_api, way, argv, environ, port, process)
        try:
            parts.answers(f"http://127.0.0.1:{port}", found.log)
            yield found
        finally:
            parts.end(found.process)


@contextmanager
def _way_to(port: int) -> Iterator[Way]:
    """A proxy before Ironic on the loopback, until the block ends."""
    way = Way()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _carry(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length) if length else None
            fate = way.fate(self.command, self.path)
            if fate == "dropped before":
                self.close_connection = True
                return
            if fate in ("error", "unavailable"):
                self._answer(500 if fate == "error" else 503, {}, b'{"error_message": "a storm"}')
                return
            try:
                ahead = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                with suppress(OSError):
                    ahead.connect()
                ahead.request(self.command, self.path, body, dict(self.headers))
                answer = ahead.getresponse()
                status, headers, content = answer.status, dict(answer.getheaders()), answer.read()
                ahead.close()
            except (OSError, http.client.HTTPException):
                self.close_connection = True
                return
            if fate == "dropped after":
                self.close_connection = True
            elif fate == "error after":
                self._answer(500, {}, b'{"error_message": "a storm"}')
            else:
                self._answer(status, headers, content)

        def _answer(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in ("connection", "content-length", "transfer-encoding", "date", "server"):
                    self.send_header(name, value)
            if status not in (204, 304):
                self.send_header("Content-Length", str(len(content)))
            # Whoever asked may have lost patience.
            with suppress(OSError):
                self.end_headers()
                if status not in (204, 304):
                    self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _carry  # noqa: N815 -- http.server's names

        def log_message(self, *_args: object) -> None:
            """Says nothing."""

    class Server(ThreadingHTTPServer):
        # Five may knock at once by default: on a busy machine others were lost that no storm had taken.
        request_queue_size = 128
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    way.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield way
    finally:
        server.shutdown()
        server.server_close()
