# SPDX-License-Identifier: Apache-2.0
"""A service of OpenStack over HTTP on the loopback that answers as it is told, and keeps what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True)
class Said:
    """One answer. Status 0: the connection ends without one; -1: nobody answers before the server ends."""

    status: int
    content: bytes = b"{}"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: its headers by names in small letters."""

    method: str
    path: str
    headers: Mapping[str, str]
    content: bytes


@dataclass
class Peer:
    """A service whose versioned endpoint is at *root*.

    Attributes:
        says: what the next requests are answered with, first to last; after that ``{}``.
        asked: the requests so far, but for those after what it is.
        knows: whether it knows a token; any, unless the test says otherwise.
        connections: over how many it was asked.
        started: whether it says what it is; until then it answers all with 503.
        below: whether it says that below its version too; Glance says it at its root alone.
    """

    root: str
    url: str = ""
    says: list[Said] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    knows: Callable[[str], bool] = lambda _: True
    connections: int = 0
    started: bool = True
    below: bool = True
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def methods(self) -> list[str]:
        """Of what it was asked."""
        return [each.method for each in self.asked]


@contextmanager
def served(root: str) -> Iterator[Peer]:
    """One on a free port of the loopback, until the block ends."""
    peer = Peer(root)
    server = _Server(("127.0.0.1", 0), _handler(peer))
    peer.url = f"http://127.0.0.1:{server.server_address[1]}{root}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield peer
    finally:
        peer.over.set()
        server.shutdown()
        server.server_close()
        thread.join(10)


class _Server(ThreadingHTTPServer):
    request_queue_size = 64


def _handler(peer: Peer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            peer.connections += 1

        def _serve(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if not peer.started:
                self._answer(503, b"{}")
                return
            if self.path == "/" or self.path.rstrip("/") == peer.root:
                known = self.path == "/" or peer.below
                self._answer(200 if known else 404, json.dumps(_version(peer.url)).encode() if known else b"<html>")
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            peer.asked.append(Asked(self.command, self.path, headers, content))
            if not peer.knows(headers.get("x-auth-token", "")):
                self._answer(401, b"{}")
                return
            said = peer.says.pop(0) if peer.says else Said(200)
            if said.status < 0:
                peer.over.wait(20)
            if said.status <= 0:
                self.close_connection = True
                return
            self._answer(said.status, said.content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 -- the names that the base class looks for

        def _answer(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            with suppress(BrokenPipeError):  # whoever asked has given up
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            return

    return Handler


def _version(url: str) -> dict[str, Any]:
    root = url.rpartition("/")[2]
    one = {
        "id": root, "status": "CURRENT", "version": "2.96", "min_version": "2.1",
        "links": [{"rel": "self", "href": f"{url}/"}],
    }  # fmt: skip
    return {"version": one}
