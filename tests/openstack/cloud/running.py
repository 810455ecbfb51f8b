# SPDX-License-Identifier: Apache-2.0
"""Brings a cloud up, ends it, and says how it stands."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.openstack.cloud import (
    furnish,
    glance,
    ironic,
    keystone,
    ledger,
    mariadb,
    neutron,
    nodes,
    nova,
    placement,
    rabbitmq,
    redfish,
)
from tests.openstack.cloud.debian import provide
from tests.openstack.cloud.parts import in_use
from tests.openstack.cloud.place import FOLDER, PORT_BASE, PORTS, Place, Unit, port_base_of, take_place
from tests.openstack.cloud.programs import programs
from tests.openstack.cloud.progress import say, step
from tests.openstack.cloud.schema import make_schema

TABLED = (keystone, glance, placement, neutron, nova, ironic)
CONFIGURED = (rabbitmq, mariadb, *TABLED, redfish)
GUARDED = (glance, placement, neutron, nova, ironic, redfish)
"""Services that look Keystone up as they start, and the BMCs."""

DEBIAN = {**rabbitmq.DEBIAN, **mariadb.DEBIAN, **nova.DEBIAN}
FREE_SECONDS = 5.0
LAST = ("mariadb", "rabbitmq", "epmd")
"""They end after those who use them."""


class Refused(Exception):
    """The cloud cannot be brought up as asked; the message says what to do."""


def install() -> Path:
    """The folder of the services' programs, which are installed if they are not there."""
    with step("Debian packages"):
        provide(DEBIAN)
    with step("Python packages"):
        return programs()


def up(home: Path = FOLDER, port_base: int | None = None) -> Place:
    """Brings up what does not run, and answers when a tenant could boot a server.

    Args:
        home: the cloud's folder.
        port_base: the first of its ports; None: as before, or the default.

    Raises:
        Missing: Debian packages are missing, and only root could install them.
        Refused: its ports are somebody else's, or it runs on others.
    """
    began = time.monotonic()
    installed = install()
    with _alone(home):
        base = _choose_ports(home, port_base)
        place = take_place(home, installed, base)
        for service in CONFIGURED:
            if service is not mariadb:
                service.configure(place)
        furnish.write_clouds(place)
        _start_stores(place)
        make_schema(place, TABLED)
        _start_services(place)
    say(f"ready after {time.monotonic() - began:.0f} s")
    return place


def _start_stores(place: Place) -> None:
    with step("database and message broker"):
        # The broker takes longer and is wanted later.
        units = rabbitmq.units(place)
        _launch(place, units[:1])
        ledger.launch(place, units[1])
        mariadb.configure(place)
        _launch(place, mariadb.units(place))
        mariadb.admit(place)
        ledger.await_ready(place, units)


def _start_services(place: Place) -> None:
    with step("keystone"):
        keystone.bootstrap(place)
        _launch(place, keystone.units(place))
        furnish.populate(place)
    with step("glance, placement, neutron, nova, ironic"):
        _launch(place, [unit for service in GUARDED for unit in service.units(place)])
    with step("networks, image, flavors"):
        _launch(place, nova.compute(place))
        furnish.lay_out(place)
    with step("nodes"):
        nodes.enroll(place)
    with step("compute service and its nodes in placement"):
        _await_compute(place)
        nova.map_host(place)
        nodes.await_offered(place)


def _launch(place: Place, units: Sequence[Unit]) -> None:
    for unit in units:
        ledger.launch(place, unit)
    ledger.await_ready(place, units)


def _await_compute(place: Place) -> None:
    cloud: Any = furnish.connect(place)
    until = time.monotonic() + nodes.READY_SECONDS
    while not [one for one in cloud.compute.services() if (one.binary, one.state) == ("nova-compute", "up")]:
        assert time.monotonic() < until, f"nova-compute does not come up; see {place.log('nova-compute')}"
        time.sleep(0.3)


def down(home: Path = FOLDER) -> list[str]:
    """Ends every process that the cloud in *home* has, the stores last; answers their names. Rows and logs stay."""
    if not home.exists():
        return []
    with _alone(home):
        found = ledger.entries(home)
        with step(f"ending {len(found)} processes"):
            ledger.finish(home, [entry for entry in found if entry.name not in LAST])
            for name in LAST:
                ledger.finish(home, [entry for entry in found if entry.name == name])
    return [entry.name for entry in found]


def status(home: Path = FOLDER) -> list[dict[str, object]]:
    """A row for each process: name, pid, up, port, rss_mib (its children's included), log."""
    base = port_base_of(home)
    ports = {} if base is None else {name: base + at for at, name in enumerate(PORTS)}
    rows: list[dict[str, object]] = []
    for entry in ledger.entries(home):
        rss = 0
        for process in entry.family():
            try:
                rss += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue  # it ended meanwhile
        log = str(home / "log" / f"{entry.name}.log")
        row = {"name": entry.name, "pid": entry.pid, "up": entry.process is not None, "port": ports.get(entry.name)}
        rows.append({**row, "rss_mib": rss // 2**20, "log": log})
    return rows


def _choose_ports(home: Path, asked: int | None) -> int:
    kept = port_base_of(home)
    runs = any(entry.process is not None for entry in ledger.entries(home))
    base = asked or kept or PORT_BASE
    if runs and base != kept:
        raise Refused(f"the cloud runs with port base {kept}: make openstack-down first")
    ours = {entry.name for entry in ledger.entries(home) if entry.process is not None}
    # The broker's second port is its own, under the name of the runtime.
    ours |= {"erlang"} if "rabbitmq" in ours else set()
    until = time.monotonic() + FREE_SECONDS
    while True:
        taken = [f"{base + at} ({name})" for at, name in enumerate(PORTS) if name not in ours and in_use(base + at)]
        # What a process left that was killed a moment ago is soon gone.
        if not taken or time.monotonic() > until:
            break
        time.sleep(0.2)
    if taken:
        raise Refused(f"somebody listens on {', '.join(taken)}: choose another base, as PORT_BASE=24500")
    return base


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Holds off whoever brings the same cloud up or down meanwhile."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
