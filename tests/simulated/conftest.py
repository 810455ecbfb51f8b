# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.lifecycle.backends.simulated import SimulatedHardware
from services.lifecycle.bmc import Bmc
from services.lifecycle.ports import ImageOrder, JobKind, JobOrder, Target
from services.network.backends.simulated import SimulatedFabric
from services.network.domain.switch_ports import PortConfig, SwitchPort
from services.network.ports import Plug, PortOrder
from services.simulated import control
from services.simulated.rack import Rack

SERVER = "00000000-0000-4000-8000-000000000001"
TARGET = Target(SERVER, fence=1)
ADDRESS = "10.84.11.1"
LEAF = SwitchPort("leaf1", "xe-0/0/1")
PROVISIONING = PortConfig(untagged="100")
TENANT = PortConfig(untagged="200")
QUARANTINE = PortConfig()
IMAGE = ImageOrder("images/debian-12", "https://images.example/debian-12.raw", "sha256:" + "ab" * 32)


def plug(port: SwitchPort) -> Plug:
    return Plug(SERVER, port, "0c:c4:7a:00:00:01")


class HandClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def move(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class OneLogin:
    """Gives each server a BMC of its own, ADDRESS for SERVER."""

    def of(self, server: str) -> Bmc:
        return Bmc(f"10.84.11.{int(server[-2:], 16)}", 0, "redfish", "root", "calvin")

    def remembered(self, server: str) -> Bmc:
        return self.of(server)

    def forget(self, server: str) -> None:
        """Nothing is remembered."""


class Bench:
    """A rack, both backends over it, and a clock."""

    def __init__(self, path: Path, profile: str = "genuine") -> None:
        self.path = path
        self.clock = HandClock()
        self.rack = Rack(path)
        control.set_settings(self.rack, profile=profile)
        self.hardware = SimulatedHardware(self.rack, OneLogin(), self.clock)
        self.fabric = SimulatedFabric(self.rack, self.clock)

    def put(self, config: PortConfig) -> None:
        self.fabric.write(SERVER, (PortOrder(LEAF, config, "0c:c4:7a:00:00:01"),), request_id="w")
        self.clock.move(5)

    def job(self, kind: JobKind, request_id: str, *, disks: tuple[str, ...] = ()) -> None:
        order = JobOrder(kind, disks, IMAGE if kind is JobKind.DEPLOY else None)
        self.hardware.start_job(TARGET, order, request_id=request_id)

    def power(self, *, on: bool) -> None:
        self.hardware.set_power(TARGET, on=on, request_id="p")
        self.clock.move(10)

    def serials(self) -> tuple[str, ...]:
        return tuple(disk.serial for disk in control.server(self.rack, ADDRESS, self.clock.now()).disks)

    def contents(self) -> set[str]:
        return {disk.content for disk in control.server(self.rack, ADDRESS, self.clock.now()).disks}

    def inject(self, kind: str, *, count: int | None = None, seconds: float | None = None, part: str = "") -> None:
        control.inject(self.rack, kind, self.clock.now(), server=ADDRESS, count=count, seconds=seconds, part=part)

    def inject_switch(
        self, kind: str, *, port: str = "", seconds: float | None = None, count: int | None = None
    ) -> None:
        control.inject(self.rack, kind, self.clock.now(), switch=LEAF.switch, port=port, seconds=seconds, count=count)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "rack.db")
    yield made
    made.rack.close()
