# SPDX-License-Identifier: Apache-2.0
"""What a person does at the rack: look, break and mend things, press buttons, swap and move disks, set the clock.

Servers are called by their BMC (``address`` or ``address:port``), their UUID, or a name taught by `name_server`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from services.kernel.errors import InvalidField, NotFound
from services.simulated.file import Connection
from services.simulated.hardware import further_disk
from services.simulated.lookup import the_machine
from services.simulated.passing import book, booted, power_changed, settle
from services.simulated.profiles import check_profile, check_speed, micros, moment
from services.simulated.rack import Rack
from services.simulated.sabotage import Injected, clear, inject, inject_file, list_faults
from services.simulated.state import (
    Job,
    Machine,
    PowerWish,
    SwitchPortState,
    Vlans,
    all_machines,
    all_ports,
    find_port,
    machine_of,
    ports_of,
    put_setting,
    running_jobs,
    save_machine,
    save_port,
    setting,
)

__all__ = [
    "Injected",
    "Settings",
    "Witnessed",
    "clear",
    "configure_port",
    "inject",
    "inject_file",
    "jobs",
    "list_faults",
    "move_disk",
    "name_server",
    "occupy",
    "press",
    "recable",
    "server",
    "servers",
    "set_settings",
    "settings",
    "swap_disk",
    "switch_ports",
    "witness",
]


@dataclass(frozen=True, slots=True)
class Settings:
    """How fast the rack is: a profile of durations, the factor of its clock, and whether jobs need a network."""

    profile: str
    speed: float
    network_needed: bool


@dataclass(frozen=True, slots=True)
class Witnessed:
    """How a server truly stood from a moment on, whatever anybody was told.

    Attributes:
        power: ``on``, ``off``, or ``unknown`` before the rack has seen its BMC.
        boot: what it runs: ``disk``, ``ramdisk``, ``rescue`` or nothing.
        vlans: ``switch/port`` -> the VLANs it is in.
        disks: serial -> (content, owner); see `services.simulated.hardware.Disk`.
    """

    id: int
    time: datetime
    server: str
    bmc: str
    cause: str
    power: str
    boot: str
    vlans: Mapping[str, tuple[int, ...]]
    disks: Mapping[str, tuple[str, str]]

    @property
    def exposed(self) -> frozenset[int]:
        """The VLANs that a running system of somebody reaches: empty while it is off, or runs a ramdisk of ours."""
        if self.power != "on" or self.boot not in {"disk", "rescue"}:
            return frozenset()
        return frozenset(vlan for vlans in self.vlans.values() for vlan in vlans)


def settings(rack: Rack) -> Settings:
    """How fast the rack is now."""
    with rack.file.reading() as tx:
        return Settings(
            setting(tx, "profile", "demo"),
            float(setting(tx, "speed", "1")),
            setting(tx, "network_needed", "yes") == "yes",
        )


def set_settings(
    rack: Rack, *, profile: str = "", speed: float | None = None, network_needed: bool | None = None
) -> Settings:
    """Changes what is given; what is under way ends when it would have.

    Raises:
        InvalidField: no such profile (instant, demo, genuine), or a speed outside 1 to 10,000.
    """
    with rack.file.writing() as tx:
        if profile:
            put_setting(tx, "profile", check_profile(profile))
        if speed is not None:
            put_setting(tx, "speed", str(check_speed(speed)))
        if network_needed is not None:
            put_setting(tx, "network_needed", "yes" if network_needed else "no")
    return settings(rack)


def name_server(rack: Rack, name: str, target: str) -> None:
    """Teaches the rack that *name* is the server with the UUID or BMC *target*; faults that wait for it find it."""
    with rack.file.writing() as tx:
        tx.execute("INSERT OR REPLACE INTO names VALUES (?, ?)", (name, target))
        tx.execute("UPDATE faults SET target = ? WHERE target = ?", (target, name))


def servers(rack: Rack, now: datetime) -> list[Machine]:
    """Every server whose BMC was ever called, as it truly is, by BMC."""
    at = micros(now)
    with rack.file.writing() as tx:
        return [settle(tx, machine.server, machine, at) or machine for machine in all_machines(tx)]


def server(rack: Rack, target: str, now: datetime) -> Machine:
    """One server as it truly is.

    Raises:
        NotFound: nobody called its BMC yet.
    """
    with rack.file.writing() as tx:
        return the_machine(tx, target, micros(now))


def jobs(rack: Rack) -> list[Job]:
    """The jobs that have not ended, oldest first."""
    with rack.file.reading() as tx:
        return running_jobs(tx)


def switch_ports(rack: Rack, now: datetime) -> list[SwitchPortState]:
    """Every switch port that was ever written to, by switch and port."""
    at = micros(now)
    with rack.file.writing() as tx:
        for name in {
            port.server for port in all_ports(tx) if port.effective_at is not None and port.effective_at <= at
        }:
            settle(tx, name, machine_of(tx, name), at)
        return all_ports(tx)


def press(rack: Rack, target: str, now: datetime, *, on: bool) -> Machine:
    """Switches a server on or off by hand, at once, whatever faults there are.

    Raises:
        NotFound: nobody called its BMC yet.
    """
    at = micros(now)
    with rack.file.writing() as tx:
        machine = the_machine(tx, target, at)
        if machine.power is not on:
            wish = PowerWish.ON if on else PowerWish.OFF
            machine = power_changed(tx, replace(machine, power_wish=wish, power_due=at), at)
            book(tx, machine, machine.server, ports_of(tx, machine.server), f"power {wish} by hand", at)
        return machine


def swap_disk(rack: Rack, target: str, serial: str, now: datetime) -> Machine:
    """Replaces the disk called *serial* by a blank one with another serial number.

    Raises:
        NotFound: nobody called the BMC yet, or there is no such disk.
    """
    at = micros(now)
    with rack.file.writing() as tx:
        machine = the_machine(tx, target, at)
        if serial not in {disk.serial for disk in machine.disks}:
            msg = f"{target} has no disk {serial}"
            raise NotFound(msg, remedy="Look at its disks with bms rack servers.", target=target, serial=serial)
        fresh = further_disk(machine.bmc, int(tx.execute("SELECT COUNT(*) FROM witness").fetchone()[0]))
        blank = {"serial": fresh.serial, "content": "blank", "owner": "", "written": "", "erased": 0}
        disks = tuple(replace(disk, **blank) if disk.serial == serial else disk for disk in machine.disks)  # type: ignore[arg-type]  # as above
        return _put_disks(tx, replace(machine, disks=disks), f"disk {serial} swapped for {fresh.serial}", at)


def occupy(rack: Rack, target: str, owner: str, now: datetime) -> Machine:
    """Puts a system of *owner*'s on the first disk and lets it run: a server that was in use before anybody managed it.

    Raises:
        NotFound: nobody called its BMC yet.
    """
    at = micros(now)
    with rack.file.writing() as tx:
        machine = the_machine(tx, target, at)
        root = replace(machine.disks[0], content="data", owner=owner)
        machine = booted(replace(machine, disks=(root, *machine.disks[1:])))
        return _put_disks(tx, machine, "system installed by hand", at)


def move_disk(rack: Rack, source: str, serial: str, target: str, now: datetime) -> Machine:
    """Takes the disk called *serial* out of *source* and plugs it into *target*, last, with all that is on it.

    Answers *target*.

    Raises:
        NotFound: nobody called one of the BMCs yet, or there is no such disk.
        InvalidField: it is in *target* already.
    """
    at = micros(now)
    with rack.file.writing() as tx:
        old, new = the_machine(tx, source, at), the_machine(tx, target, at)
        moved = next((disk for disk in old.disks if disk.serial == serial), None)
        if moved is None:
            msg = f"{source} has no disk {serial}"
            raise NotFound(msg, remedy="Look at its disks with bms rack servers.", target=source, serial=serial)
        if old.bmc == new.bmc:
            raise InvalidField("target", f"{target} has disk {serial}", remedy="Name another server.", serial=serial)
        left = tuple(disk for disk in old.disks if disk.serial != serial)
        _put_disks(tx, replace(old, disks=left), f"disk {serial} taken out", at)
        return _put_disks(tx, replace(new, disks=(*new.disks, moved)), f"disk {serial} plugged in", at)


def recable(rack: Rack, source: tuple[str, str], target: tuple[str, str], now: datetime) -> SwitchPortState:
    """Pulls a cable out of the switch port *source* (switch, port) and plugs it into *target*; answers that.

    What is configured at either stays: a cable brings nothing along.

    Raises:
        NotFound: nothing is plugged in at *source*.
        InvalidField: something else is at *target*.
    """
    at = micros(now)
    with rack.file.writing() as tx:
        name = find_port(tx, *source).server
        machine = settle(tx, name, machine_of(tx, name), at) if name else None
        old, new = find_port(tx, *source), find_port(tx, *target)
        if not old.server:
            msg = f"nothing is plugged into {source[0]}/{source[1]}"
            raise NotFound(msg, remedy="Look at the switch ports with bms rack ports.", port="/".join(source))
        if new.server and (new.server, new.mac) != (old.server, old.mac):
            what = f"is where servers/{new.server} is plugged in"
            raise InvalidField("target", what, remedy="Pull that cable first.", port="/".join(target))
        save_port(tx, replace(old, server="", mac=""))
        plugged = replace(new, server=old.server, mac=old.mac)
        save_port(tx, plugged)
        cause = f"cable moved from {'/'.join(source)} to {'/'.join(target)} by hand"
        book(tx, machine, plugged.server, ports_of(tx, plugged.server), cause, at)
        return plugged


def configure_port(rack: Rack, switch: str, port: str, vlans: Vlans, now: datetime) -> SwitchPortState:
    """Configures a switch port by hand, at once: what nobody asked for."""
    at = micros(now)
    with rack.file.writing() as tx:
        before = find_port(tx, switch, port)
        machine = settle(tx, before.server, machine_of(tx, before.server), at) if before.server else None
        state = replace(find_port(tx, switch, port), actual=vlans, effective_at=None)
        save_port(tx, state)
        book(tx, machine, state.server, ports_of(tx, state.server), f"switch {switch} {port} by hand", at)
        return state


def witness(rack: Rack, now: datetime, *, server: str = "") -> list[Witnessed]:
    """What an outside witness saw, in order, of one server's UUID or of all."""
    servers(rack, now)
    switch_ports(rack, now)
    with rack.file.reading() as tx:
        where, params = (" WHERE server = ?", (server,)) if server else ("", ())
        rows = tx.execute(f"SELECT * FROM witness{where} ORDER BY id", params).fetchall()
    return [
        Witnessed(
            row["id"],
            moment(row["time"]),
            row["server"],
            row["bmc"],
            row["cause"],
            row["power"],
            row["boot"],
            {port: tuple(vlans) for port, vlans in json.loads(row["ports"]).items()},
            {serial: (content, owner) for serial, (content, owner) in json.loads(row["disks"]).items()},
        )
        for row in rows
    ]


def _put_disks(tx: Connection, machine: Machine, cause: str, at: int) -> Machine:
    save_machine(tx, machine)
    book(tx, machine, machine.server, ports_of(tx, machine.server), cause, at)
    return machine
