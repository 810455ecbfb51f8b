# SPDX-License-Identifier: Apache-2.0
"""Podman, and the site that docker/compose.yaml describes, as tests drive them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "localhost/bms-manager:test"
POSTGRES_IMAGE = "localhost/bms-postgres:test"
BASE_IMAGE = "python:3.11-slim"

# Not the services' usual ports, so that a site of the person who runs the tests is left alone.
PORTS: Mapping[str, int] = {
    "inventory": 25051,
    "lifecycle": 25052,
    "ipam": 25053,
    "network": 25054,
    "telemetry": 25055,
    "rest": 25081,
}
SERVICES = ("inventory", "lifecycle", "ipam", "network", "telemetry")

T = TypeVar("T")


class CommandFailed(AssertionError):
    """A command ended with another exit code than 0; the message holds what it said."""


def run(*command: str, environ: Mapping[str, str] | None = None, deadline: float = 120.0) -> str:
    """What *command* printed.

    Raises:
        CommandFailed: it failed.
    """
    done = subprocess.run(
        command,
        env={**os.environ, **(environ or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=deadline,
    )
    if done.returncode:
        msg = f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        raise CommandFailed(msg)
    return done.stdout


def eventually(look: Callable[[], T], *, deadline: float = 60.0) -> T:
    """What *look* answers, once it does so without an AssertionError.

    Raises:
        AssertionError: the last one, when *deadline* seconds have passed.
    """
    end = time.monotonic() + deadline
    while True:
        try:
            return look()
        except AssertionError:
            if time.monotonic() > end:
                raise
        time.sleep(0.5)


def podman(*arguments: str, deadline: float = 120.0) -> str:
    """What podman answered."""
    return run("podman", *arguments, deadline=deadline)


def build(tag: str, dockerfile: Path, context: Path) -> None:
    """Builds an image on the local base; what did not change since the last time comes from the cache."""
    podman(
        "build",
        "--build-arg",
        f"BASE={BASE_IMAGE}",
        "--pull=never",
        "--file",
        str(dockerfile),
        "--tag",
        tag,
        str(context),
        deadline=900,
    )


@dataclass
class Refused(Exception):
    """A call ended with another status than OK."""

    code: str
    text: str


@dataclass
class Site:
    """The containers of one compose project.

    Attributes:
        project: its name, before the names of containers and volumes.
        folder: where a client's files are, once it is up.
    """

    project: str
    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ports = {f"BMS_{name.upper()}_PORT": str(port) for name, port in PORTS.items()}
        self.environ = {**ports, "BMS_IMAGE": IMAGE, "BMS_POSTGRES_IMAGE": POSTGRES_IMAGE}

    def compose(self, *arguments: str, deadline: float = 300.0) -> str:
        """Runs podman-compose on the project."""
        tool = str(Path(sys.executable).parent / "podman-compose")
        file = str(ROOT / "docker" / "compose.yaml")
        return run(tool, "-p", self.project, "-f", file, *arguments, environ=self.environ, deadline=deadline)

    def container(self, service: str) -> str:
        """The name of the container of *service*."""
        return f"{self.project}_{service}_1"

    def up(self) -> None:
        """Starts everything, waits until every service says that it serves, and fetches a client's files."""
        self.compose("up", "--detach", "--no-build")
        for service in SERVICES:
            eventually(lambda service=service: self.require_serving(service), deadline=120)  # type: ignore[misc]
        podman("cp", f"{self.container('inventory')}:/site/.", str(self.folder))

    def down(self) -> None:
        """Stops and removes everything, volumes included."""
        self.compose("down", "--volumes", "--timeout", "10")

    def require_serving(self, service: str) -> None:
        """Asks as the image's own health check does.

        Raises:
            CommandFailed: it does not serve; the message holds its last words.
        """
        try:
            podman("exec", self.container(service), "python", "/opt/bms/healthcheck.py")
        except CommandFailed as error:
            msg = f"{error}\n{self.logs(service)}"
            raise CommandFailed(msg) from None

    def logs(self, service: str) -> str:
        """The last lines that *service* logged."""
        name = self.container(service)
        done = subprocess.run(["podman", "logs", "--tail", "8", name], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def grpcurl(self, service: str, method: str, request: Mapping[str, Any], options: Sequence[str]) -> dict[str, Any]:
        """Calls *method* from the host.

        Raises:
            Refused: it ended with another status than OK.
        """
        tool = str(Path(sys.executable).parent / "grpcurl")
        command = [tool, "-max-time", "15", "-cacert", str(self.folder / "ca.pem"), *options]
        command += ["-d", json.dumps(request), f"127.0.0.1:{PORTS[service]}", method]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode:
            text = done.stderr or done.stdout
            code = next((line.split(":", 1)[1].strip() for line in text.split("\n") if "Code:" in line), "NONE")
            raise Refused(code, text)
        answer: dict[str, Any] = json.loads(done.stdout or "{}")
        return answer

    def certified(self) -> list[str]:
        """grpcurl's options for showing the client's certificate."""
        return ["-cert", str(self.folder / "client.pem"), "-key", str(self.folder / "client.key")]

    def call(self, service: str, method: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Calls as the administrator, with certificate and token."""
        token = (self.folder / "admin.token").read_text().strip()
        return self.grpcurl(service, method, request, [*self.certified(), "-H", f"authorization: Bearer {token}"])
