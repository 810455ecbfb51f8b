# SPDX-License-Identifier: Apache-2.0
"""Which processes run, with which settings, on which ports."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from services.cli.datadir import DataDir

DEFAULT_PORT_BASE = 50051

SERVICES: Mapping[str, str] = {
    "inventory": "services.inventory",
    "lifecycle": "services.lifecycle",
    "ipam": "services.ipam",
    "network": "services.network",
    "telemetry": "telemetry",
}
"""The package of each service, in the order of their ports."""

STOP_ORDER = (("lifecycle",), ("inventory", "ipam", "network"), ("telemetry",))
"""Who acts goes first, who is called next, and who listens last, so that the last events are still heard."""

# Where Contrail's analytics API, collector and introspect listen, which people's tools know.
_ANALYTICS = {"rest": 8081, "collector": 8086, "introspect": 8110}


@dataclass(frozen=True, slots=True)
class Ports:
    """Loopback ports by name: of the services, and of telemetry's ``rest``, ``collector`` and ``introspect``."""

    by_name: Mapping[str, int]

    @classmethod
    def from_base(cls, base: int) -> Ports:
        """The services take *base* and the four ports after it. Telemetry's others are Contrail's own (8081, 8086 and
        8110) at the usual base, and follow behind the services at another one, so that two sites fit on one machine.
        """
        ports = {name: base + number for number, name in enumerate(SERVICES)}
        if base == DEFAULT_PORT_BASE:
            return cls({**ports, **_ANALYTICS})
        return cls({**ports, **{name: base + 5 + number for number, name in enumerate(_ANALYTICS)}})

    def address(self, name: str) -> str:
        """``127.0.0.1:port`` of *name*."""
        return f"127.0.0.1:{self.by_name[name]}"

    def endpoints(self) -> dict[str, str]:
        """Every address by name."""
        return {name: self.address(name) for name in self.by_name}


@dataclass(frozen=True, slots=True)
class ChildPlan:
    """One process to run.

    Attributes:
        name: the service.
        argv: what to run.
        environ: its whole environment.
        address: where it will listen.
        log: where its output goes.
        pid_file: where its process id is while it runs.
    """

    name: str
    argv: tuple[str, ...]
    environ: Mapping[str, str]
    address: str
    log: Path
    pid_file: Path


def plan_children(
    data: DataDir, ports: Ports, environ: Mapping[str, str], only: tuple[str, ...] = ()
) -> list[ChildPlan]:
    """The services to run on *data* at *ports*.

    Args:
        environ: what they inherit; variables that say otherwise than *data* and *ports* are replaced.
        only: names of services to run; empty for all.
    """
    settings = {
        **environ,
        "BMS_DATA_DIR": str(data.path),
        "BMS_TOKENS_FILE": str(data.tokens_file),
        "BMS_SERVICE_TOKEN_FILE": str(data.token_file("service")),
        "BMS_KEY_FILE": str(data.key_file),
        "BMS_DIE_WITH_PARENT": "1",
        "BMS_TELEMETRY_REST_ADDRESS": ports.address("rest"),
        "BMS_TELEMETRY_COLLECTOR_ADDRESS": ports.address("collector"),
        "BMS_TELEMETRY_INTROSPECT_ADDRESS": ports.address("introspect"),
        "PYTHONUNBUFFERED": "1",
    }
    # One file for one service; without, each has its own beside the key above.
    settings.pop("BMS_SIGNING_KEY_FILE", None)
    settings.setdefault("BMS_GRACE_SECONDS", "3")
    settings.setdefault("BMS_LOG_JSON", "1")
    for name in SERVICES:
        settings[f"BMS_{name.upper()}_ADDRESS"] = ports.address(name)
    return [
        ChildPlan(
            name,
            (sys.executable, "-m", package),
            settings,
            ports.address(name),
            log=data.logs / f"{name}.log",
            pid_file=data.path / "run" / f"{name}.pid",
        )
        for name, package in SERVICES.items()
        if not only or name in only
    ]
