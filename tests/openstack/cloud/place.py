# SPDX-License-Identifier: Apache-2.0
"""Where one cloud lives: its folder, ports and passwords, which stay the same from one start to the next."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.openstack.cloud.parts import HOME, write_private

FOLDER = HOME / "cloud"
PORT_BASE = 23500
"""Below the range from which the kernel takes ports for clients."""

REDFISH_NODES = 2
PORTS = (
    "keystone", "glance", "placement", "neutron", "nova", "ironic", "mariadb", "rabbitmq", "erlang", "epmd",
    *(f"bmc{number}" for number in range(1, REDFISH_NODES + 1)),
)  # fmt: skip
"""What listens, in the order of the ports from the base on."""

LOGINS = ("admin", "site", "tenant-a", "tenant-b")
"""The clouds of clouds.yaml."""

SERVICES = ("glance", "placement", "neutron", "nova", "ironic")
"""Services that have a user of their name in project service."""

_SECRETS = (*LOGINS, *SERVICES, "mariadb", "rabbitmq", "bmc")


@dataclass(frozen=True, slots=True)
class Unit:
    """One process.

    Attributes:
        port: listens there when it is ready; 0 if readiness shows elsewhere.
        url: answers there when it is ready.
    """

    name: str
    argv: Sequence[str]
    environ: Mapping[str, str] = field(default_factory=dict)
    port: int = 0
    url: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """One cloud's own.

    Attributes:
        programs: the folder of the services' programs.
        ports: by name; see `PORTS`.
        secrets: passwords by whose they are.
    """

    home: Path
    programs: Path
    ports: Mapping[str, int]
    secrets: Mapping[str, str] = field(repr=False)

    @property
    def clouds(self) -> Path:
        """The clouds.yaml."""
        return self.home / "clouds.yaml"

    @property
    def journal(self) -> Path:
        """What the stand-in for a switch was told; see tests/openstack/standin/switch.py."""
        return self.home / "state" / "switch.jsonl"

    @property
    def ca(self) -> Path:
        """The CA file of the BMCs."""
        return self.home / "etc" / "bmc.pem"

    def program(self, name: str) -> str:
        """The path of a program from PyPI."""
        return str(self.programs / name)

    def etc(self, service: str) -> Path:
        """The folder of a service's configuration."""
        return self._folder("etc", service)

    def state(self, service: str) -> Path:
        """The folder of what a service keeps."""
        return self._folder("state", service)

    def log(self, unit: str) -> Path:
        """What a process said."""
        return self.home / "log" / f"{unit}.log"

    def url(self, service: str, path: str = "") -> str:
        """Where a service answers."""
        return f"http://127.0.0.1:{self.ports[service]}{path}"

    @property
    def auth_url(self) -> str:
        """Where Keystone answers."""
        return self.url("keystone", "/v3")

    def database(self, name: str) -> str:
        """The URL of a database."""
        return f"mysql+pymysql://cloud:{self.secrets['mariadb']}@127.0.0.1:{self.ports['mariadb']}/{name}"

    @property
    def messaging(self) -> str:
        """The URL of the message broker."""
        return f"rabbit://cloud:{self.secrets['rabbitmq']}@127.0.0.1:{self.ports['rabbitmq']}/"

    def _folder(self, kind: str, service: str) -> Path:
        folder = self.home / kind / service
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def port_base_of(home: Path) -> int | None:
    """The port base that the cloud in *home* was last started with."""
    kept = home / "cloud.json"
    return int(json.loads(kept.read_text())["port_base"]) if kept.exists() else None


def take_place(home: Path, programs: Path, port_base: int) -> Place:
    """The cloud in *home*; makes passwords where there are none, and keeps both."""
    path = home / "cloud.json"
    kept = json.loads(path.read_text()) if path.exists() else {"secrets": {}}
    passwords = {name: kept["secrets"].get(name) or secrets.token_hex(12) for name in _SECRETS}
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)
    write_private(path, json.dumps({"port_base": port_base, "secrets": passwords}))
    return Place(home, programs, {name: port_base + at for at, name in enumerate(PORTS)}, passwords)
