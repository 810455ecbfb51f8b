# SPDX-License-Identifier: Apache-2.0
"""Four replicas patrol one fleet, and all of it is found astray at one moment: the brake is one brake."""

from __future__ import annotations

import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bms.event.v1 import event_pb2
from bms.lifecycle.v1 import brake_pb2, instance_pb2, server_status_pb2
from bms.network.v1 import network_pb2
from services.lifecycle.domain.brake import Policy
from services.simulated import control
from services.simulated.rack import Rack
from services.simulated.state import Vlans
from tests.races.administering import bring_in, lay_ground, mend, statuses
from tests.races.calling import Caller
from tests.races.rig import PROJECTS, Site, running
from tests.races.test_races import SEED

pytestmark = pytest.mark.races

_SERVERS = 10
_REPLICAS = {"lifecycle": 4, "ipam": 1, "inventory": 1, "network": 2}
# Two walks a replica: none of them can have the whole fleet to itself.
_SETTINGS = {
    "BMS_LIFECYCLE_WORKERS": "2",
    "BMS_LIFECYCLE_POLL_SECONDS": "0.2",
    "BMS_LIFECYCLE_PATROL_SECONDS": "0.5",
}
_PATROLS = 4.0
"""Seconds in which every server is looked at by whoever, several times over."""
_STATE = server_status_pb2.ServerStatus
_TAKEN = Policy().same - 1
"""How many servers one cause may take before it is held to explain them all."""


class Fleet:
    """Servers in use on *site*, and whoever stands before the rack.

    Attributes:
        admin: an administrator.
    """

    def __init__(self, site: Site, rack: Rack, admin: Caller) -> None:
        self._site = site
        self._rack = rack
        self.admin = admin

    def statuses(self, state: int) -> list[Any]:
        """Every server in *state*."""
        return [one for one in statuses(self.admin) if one.state == state]

    def brake(self) -> brake_pb2.Brake:
        """How the brake stands."""
        return self.admin.call("lifecycle", "GetBrake", brake_pb2.GetBrakeRequest())  # type: ignore[no-any-return]  # stubs by name

    def release(self) -> None:
        """Releases the brake."""
        self.admin.call("lifecycle", "ReleaseBrake", brake_pb2.ReleaseBrakeRequest(reason="mended"))

    def pulls(self) -> int:
        """How often the brake was ever pulled, by the log."""
        with psycopg.connect(self._site.urls["lifecycle"], autocommit=True) as connection:
            headers = [row[0] for row in connection.execute("SELECT header FROM events").fetchall()]
        return sum(event_pb2.EventHeader.FromString(header).type == "brake.pulled" for header in headers)

    @contextmanager
    def nobody_looks(self) -> Iterator[None]:
        """Every replica stands still meanwhile, until every server is due; then all begin at one moment."""
        lifecycle = self._site.of("lifecycle")
        for one in lifecycle:
            one.send(signal.SIGSTOP)
        try:
            yield
            time.sleep(2 * float(_SETTINGS["BMS_LIFECYCLE_PATROL_SECONDS"]))
        finally:
            for one in lifecycle:
                one.send(signal.SIGCONT)

    def stray(self, servers: set[str], vlan: int) -> None:
        """Puts the second port of each of *servers* onto *vlan*; nowhere, if that is 0."""
        now = datetime.now(UTC)
        for port in control.switch_ports(self._rack, now):
            if f"servers/{port.server}" in servers and port.switch.endswith("b"):
                control.configure_port(self._rack, port.switch, port.port, Vlans(vlan), now)

    def press(self, servers: set[str], *, on: bool) -> None:
        """Switches all of *servers* on or off by hand."""
        for server in servers:
            control.press(self._rack, server.removeprefix("servers/"), datetime.now(UTC), on=on)

    def holds(self, count: int) -> None:
        """Waits until the brake holds so many servers."""
        self.until(f"{count} are held", lambda: self.brake().held_count == count)

    def until(self, what: str, reached: Callable[[], bool], seconds: float = 60.0) -> None:
        """Waits for it."""
        until = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < until, f"in vain: {what}: {statuses(self.admin)}"
            time.sleep(0.1)


@pytest.fixture
def fleet(tmp_path: Path, postgres_server: str) -> Iterator[Fleet]:
    """Ten servers, each with an instance of its own."""
    with running(tmp_path, postgres_server, _SETTINGS, _REPLICAS) as site:
        admin = Caller(site.place, "admin", random.Random(f"{SEED}/brake"))
        lay_ground(admin, PROJECTS)
        bring_in(admin, 1, _SERVERS)
        rack = Rack(site.data.path / "rack.sqlite")
        made = Fleet(site, rack, admin)
        made.until("lifecycle hears of the servers", lambda: len(statuses(admin)) == _SERVERS)
        mend(admin, takes=False)
        made.until("all are available", lambda: len(made.statuses(_STATE.STATE_AVAILABLE)) == _SERVERS)
        for number in range(_SERVERS):
            wanted = instance_pb2.Instance(flavor="flavors/any", image="images/t0")
            wanted.networks.add(network="projects/t0/networks/blue")
            request = instance_pb2.CreateInstanceRequest(
                parent="projects/t0", instance_id=f"web{number}", instance=wanted
            )
            assert not admin.done(admin.call("lifecycle", "CreateInstance", request)).HasField("error")
        made.until("all are in use", lambda: len(made.statuses(_STATE.STATE_ACTIVE)) == _SERVERS)
        yield made
        rack.close()
        assert not admin.book.wrong


@pytest.mark.timeout(300)
def test_replicas_overrun_the_brake_by_nobody(fleet: Fleet) -> None:
    """
    All ports astray at one moment, twice; then all powered off: in each round the brake is pulled once, no more servers
    are set aside than one cause may take, and the others stay with their instances.
    """
    networks = fleet.admin.pages(
        "network", "ListNetworks", network_pb2.ListNetworksRequest(parent="projects/t1"), "networks"
    )
    (elsewhere,) = [one.vlan_id for one in networks if one.name.endswith("/blue")]
    left = _SERVERS
    for pulls in (1, 2):
        used = {one.server for one in fleet.statuses(_STATE.STATE_ACTIVE)}
        with fleet.nobody_looks():
            fleet.stray(used, elsewhere)
        left -= _TAKEN
        fleet.holds(left)
        time.sleep(_PATROLS)

        brake = fleet.brake()
        assert (brake.pulled, brake.quarantined_count, brake.held_count) == (True, _TAKEN, left)
        assert len(fleet.statuses(_STATE.STATE_ACTIVE)) == left
        assert fleet.pulls() == pulls
        fleet.stray(used, 0)
        fleet.holds(0)
        fleet.release()

    used = {one.server for one in fleet.statuses(_STATE.STATE_ACTIVE)}
    with fleet.nobody_looks():
        fleet.press(used, on=False)
    fleet.until("all are shown", lambda: sum(one.wait.code == "POWER_LOST" for one in statuses(fleet.admin)) == left)
    time.sleep(_PATROLS)

    assert fleet.brake().pulled
    assert len(fleet.statuses(_STATE.STATE_ACTIVE)) == left
    assert fleet.pulls() == 3
    sys.stdout.write(f"{fleet.brake()}\n")
