# SPDX-License-Identifier: Apache-2.0
"""The configuration API of contrail.py over HTTP on the loopback, with what only the wire shows.

Errors are bare text called HTML, a body must say its length, whatever is no JSON is 500, and with tokens a bad one is
Keystone's 401.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.contrail import FakeContrail

_MOST = 1_024_000


@contextmanager
def served(fake: FakeContrail) -> Iterator[str]:
    """The URL of *fake* on the loopback until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            self._answer(*self._carried_out())

        def _carried_out(self) -> tuple[int, Any]:
            if self.headers.get("Transfer-Encoding"):
                # What follows is never read.
                self.close_connection = True
                return 400, "Error while parsing chunked transfer body."
            length = int(self.headers.get("Content-Length") or 0)
            if length > _MOST:
                self.close_connection = True
                return 413, "<html><title>Error: 413 Request Entity Too Large</title></html>"
            raw = self.rfile.read(length)
            if fake.tokens is not None and self.headers.get("X-Auth-Token") not in fake.tokens and self.path != "/":
                return 401, {"error": {"code": 401, "title": "Unauthorized", "message": "Authentication required"}}
            body = None
            if self.command in ("POST", "PUT"):
                if not (self.headers.get("Content-Type") or "").startswith("application/json"):
                    return 500, "TypeError: 'NoneType' object is not subscriptable"
                try:
                    body = json.loads(raw)
                except ValueError:
                    return 500, "JSONDecodeError: Expecting value: line 1 column 1 (char 0)"
            status, answer = fake.handle(self.command, self.path, body)
            if status == 200 and self.command == "GET" and (tag := _tag(answer)) == self.headers.get("If-None-Match"):
                return (304, "") if tag else (status, answer)
            return status, answer

        def _answer(self, status: int, answer: Any) -> None:
            if not status:
                self.close_connection = True
                return
            data = json.dumps(answer).encode() if isinstance(answer, dict) else answer.encode()
            self.send_response(status)
            kind = "application/json" if isinstance(answer, dict) else "text/html; charset=UTF-8"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            if status == 401:
                self.send_header("WWW-Authenticate", 'Keystone uri="http://127.0.0.1:5000/v3"')
            if self.command == "GET" and (tag := _tag(answer)):
                self.send_header("ETag", tag)
            with suppress(BrokenPipeError, ConnectionResetError):  # whoever asked has given up
                self.end_headers()
                self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _handle  # noqa: N815 -- the names that the base class looks for

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def _tag(answer: Any) -> str:
    """The ETag of one object; "" for anything else."""
    inner = next(iter(answer.values()), None) if isinstance(answer, dict) and len(answer) == 1 else None
    perms = inner.get("id_perms") if isinstance(inner, dict) else None
    return f'"{perms["last_modified"]}"' if perms else ""
