# SPDX-License-Identifier: Apache-2.0
"""The simulated rack of a data directory, as a person before it sees it: the one module that knows the simulator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from services.simulated import control
from services.simulated.faults import Fault, FaultKind
from services.simulated.rack import Rack
from services.simulated.state import Machine, Vlans

FILE = "rack.sqlite"

SERVER_TITLES = ("BMC", "SERVER", "POWER", "RUNS", "DISKS", "HARDWARE")
PORT_TITLES = ("SWITCH", "PORT", "SERVER", "CONFIGURED", "IN FORCE")
FAULT_TITLES = ("ID", "KIND", "TARGET", "PART", "LEFT", "STRUCK")


@contextmanager
def open_rack(directory: Path) -> Iterator[Rack]:
    """The rack whose file is in *directory*; made if there is none."""
    rack = Rack(directory / FILE)
    try:
        yield rack
    finally:
        rack.close()


def set_pace(rack: Rack, profile: str, speed: float | None) -> str:
    """Chooses how long things take; what is not given stays. Answers how it is then."""
    now = control.set_settings(rack, profile=profile, speed=speed)
    return f"profile {now.profile}, speed {now.speed:g}"


def plant(rack: Rack, path: Path, now: datetime) -> list[str]:
    """Puts the faults of a file in place; answers a line about each."""
    return [_told(planted) for planted in control.inject_file(rack, path, now)]


def break_(
    rack: Rack,
    kind: str,
    now: datetime,
    *,
    server: str,
    switch: str,
    port: str,
    part: str,
    seconds: float | None,
    count: int | None,
    lasting: float | None,
) -> str:
    """Breaks something; answers a line about it. See `services.simulated.control.inject`."""
    return _told(
        control.inject(
            rack,
            kind,
            now,
            server=server,
            switch=switch,
            port=port,
            part=part,
            seconds=seconds,
            count=count,
            lasting=lasting,
        )
    )


def _told(planted: control.Injected) -> str:
    unknown = "" if planted.known else " (never seen yet; it waits)"
    if planted.fault is None:
        return f"happened at {planted.target}{unknown}"
    fault = planted.fault
    part = f" {fault.part}" if fault.part else ""
    return f"{fault.id}: {fault.kind.value}{part} at {planted.target}, {_left(fault)}{unknown}"


def _left(fault: Fault) -> str:
    return "always" if fault.remaining is None else f"{fault.remaining} times"


def mend(rack: Rack, *, server: str, kind: str, switch: str, number: int | None) -> int:
    """Mends what matches; answers how many faults that were."""
    return control.clear(rack, id=number, server=server, switch=switch, kind=kind)


def swap(rack: Rack, server: str, serial: str, now: datetime) -> str:
    """Swaps a disk; answers a line about it."""
    machine = control.swap_disk(rack, server, serial, now)
    return f"disks of {machine.bmc}: {_disks(machine)}"


def press(rack: Rack, server: str, now: datetime, *, on: bool) -> str:
    """Presses a power button; answers a line about it."""
    machine = control.press(rack, server, now, on=on)
    return f"{machine.bmc} is {'on' if machine.power else 'off'}"


def recable(rack: Rack, source: tuple[str, str], target: tuple[str, str], now: datetime) -> str:
    """Moves a cable; answers a line about it."""
    moved = control.recable(rack, source, target, now)
    return f"{moved.mac or moved.server} is plugged into {moved.switch}/{moved.port}"


def server_rows(rack: Rack, now: datetime) -> list[tuple[str, ...]]:
    """Every server as it truly is, as SERVER_TITLES say."""
    return [
        (
            machine.bmc,
            machine.server,
            "on" if machine.power else "off",
            str(machine.boot or "-"),
            _disks(machine),
            f"{machine.chassis.manufacturer} {machine.chassis.model}",
        )
        for machine in control.servers(rack, now)
    ]


def _disks(machine: Machine) -> str:
    return ", ".join(f"{disk.serial}={disk.content}" for disk in machine.disks)


def port_rows(rack: Rack, now: datetime) -> list[tuple[str, ...]]:
    """Every switch port as it truly is, as PORT_TITLES say."""
    return [
        (port.switch, port.port, port.server, _vlans(port.written), _vlans(port.actual))
        for port in control.switch_ports(rack, now)
    ]


def _vlans(vlans: Vlans) -> str:
    parts = [str(vlans.untagged)] if vlans.untagged else []
    return ", ".join([*parts, *(f"{tag}->{vlan}" for tag, vlan in sorted(vlans.tagged))]) or "none"


def fault_rows(rack: Rack, now: datetime) -> list[tuple[str, ...]]:
    """Every fault in place, as FAULT_TITLES say."""
    return [
        (str(fault.id), fault.kind.value, fault.target, fault.part or "any", _left(fault), str(fault.used))
        for fault in control.list_faults(rack, now)
    ]


def kind_rows() -> list[tuple[str, str]]:
    """What can be broken, and whether it befalls a server or a switch."""
    return [(kind.value, "switch" if kind.of_switch else "server") for kind in FaultKind]
