# SPDX-License-Identifier: Apache-2.0
"""A Keystone in memory over HTTP on the loopback: it issues, validates and revokes tokens, is slow, and goes away."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

DEFAULT = {"id": "default", "name": "Default"}
SERVICE = "5e" * 16
"""The id of the project of our own login."""


@dataclass
class FakeKeystone:
    """What it knows; the test changes it.

    Attributes:
        password: of the user ``bms``, whom it lets validate.
        tokens: what each token says.
        asked: tokens that somebody asked for, in order.
        logins: how often somebody logged in.
        closed: ids of projects that our own user has no role in.
        catalogue: the public URL of each type of service.
        forbids: whether our own user may not validate.
        answers_with: an HTTP status that it answers every question for a token with; 0 for what is right.
        open: not set, questions for tokens wait.
        away: whether it ends connections without an answer.
    """

    url: str = ""
    password: str = field(default_factory=lambda: secrets.token_hex(12))
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    logins: int = 0
    closed: set[str] = field(default_factory=set)
    catalogue: dict[str, str] = field(default_factory=dict)
    forbids: bool = False
    answers_with: int = 0
    open: threading.Event = field(default_factory=threading.Event)
    away: bool = False

    def issue(
        self,
        user: str = "a1" * 16,
        *,
        project: str = "",
        roles: tuple[str, ...] = ("member", "reader"),
        system: bool = False,
        domain: bool = False,
        seconds: float = 3600,
    ) -> str:
        """A token of *user*, for what is named."""
        expires = datetime.now(UTC) + timedelta(seconds=seconds)
        body: dict[str, Any] = {
            "user": {"id": user, "name": f"name of {user[:4]}", "domain": DEFAULT},
            "methods": ["password"],
            "expires_at": expires.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "roles": [{"id": f"id of {role}", "name": role} for role in roles],
        }
        if project:
            body["project"] = {"id": project, "name": f"name of {project[:4]}", "domain": DEFAULT}
        if system:
            body["system"] = {"all": True}
        if domain:
            body["domain"] = DEFAULT
        token = f"gAAAAA{secrets.token_urlsafe(96)}"
        self.tokens[token] = body
        return token

    def revoke(self, token: str) -> None:
        """Does not know *token* any more."""
        del self.tokens[token]

    def write_clouds(self, path: Path, **auth: str) -> Path:
        """A clouds.yaml in which it is called ``site``."""
        login = {
            "auth_url": self.url, "username": "bms", "password": self.password, "project_name": "service",
            "user_domain_id": "default", "project_domain_id": "default", **auth,
        }  # fmt: skip
        path.write_text(json.dumps({"clouds": {"site": {"auth": login}}}))
        path.chmod(0o600)
        return path

    def login(self, asked: Mapping[str, Any]) -> tuple[int, str, dict[str, Any]]:
        """Answers to ``POST /v3/auth/tokens``: status, token, body."""
        self.logins += 1
        user = asked["auth"]["identity"]["password"]["user"]
        project = asked["auth"].get("scope", {}).get("project", {}).get("id", SERVICE)
        if (user["name"], user["password"]) != ("bms", self.password) or project in self.closed:
            return 401, "", {"error": {"code": 401, "message": "The request you have made requires authentication."}}
        token = self.issue("b0" * 16, project=project, roles=("service",))
        catalogue = [
            {"type": kind, "name": kind, "endpoints": [{"interface": "public", "region_id": "one", "url": url}]}
            for kind, url in self.catalogue.items()
        ]
        return 201, token, {"token": {**self.tokens[token], "catalog": catalogue}}

    def validate(self, own: str, token: str) -> tuple[int, dict[str, Any]]:
        """Answers to ``GET /v3/auth/tokens``: status, body."""
        if self._expired(own):
            return 401, {"error": {"code": 401, "message": "The request you have made requires authentication."}}
        self.asked.append(token)
        self.open.wait(20)
        if self.answers_with:
            return self.answers_with, {}
        if self.forbids:
            return 403, {"error": {"code": 403, "message": "You are not authorized."}}
        if self._expired(token):
            return 404, {"error": {"code": 404, "message": f"Could not find token: {token}."}}
        return 200, {"token": self.tokens[token]}

    def _expired(self, token: str) -> bool:
        body = self.tokens.get(token)
        return body is None or datetime.fromisoformat(body["expires_at"]).timestamp() <= time.time()


@contextmanager
def fake_keystone() -> Iterator[FakeKeystone]:
    """A Keystone on a free port of the loopback, until the block ends."""
    fake = FakeKeystone()
    fake.open.set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(fake))
    fake.url = f"http://127.0.0.1:{server.server_address[1]}/v3"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield fake
    finally:
        fake.open.set()
        server.shutdown()
        server.server_close()
        thread.join(10)


def _handler(fake: FakeKeystone) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if fake.away:
                self.close_connection = True
                return
            if not self.path.startswith("/v3/auth/tokens"):
                version = {"id": "v3.14", "status": "stable", "links": [{"rel": "self", "href": fake.url}]}
                self._send(200, {"version": version})
                return
            status, body = fake.validate(self.headers["X-Auth-Token"], self.headers["X-Subject-Token"])
            self._send(status, body)

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if fake.away:
                self.close_connection = True
                return
            status, token, body = fake.login(json.loads(content))
            self._send(status, body, token)

        def _send(self, status: int, body: object, token: str = "") -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            if token:
                self.send_header("X-Subject-Token", token)
            with suppress(BrokenPipeError):  # whoever asked has given up
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            return

    return Handler
