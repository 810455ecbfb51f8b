# SPDX-License-Identifier: Apache-2.0
"""A fleet on the simulated site: onboarded, half of it let, and what its people do in the course of a day.

Every row is written by the product: servers are imported, provided and deployed by calls over the contracts, spread
over a round of the patrol, as those of a fleet that grew are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

from bms.inventory.v1 import catalogue_pb2, server_pb2
from bms.lifecycle.v1 import instance_pb2, server_status_pb2
from services.lifecycle.pace import Pace
from services.simulated import control
from services.simulated.rack import PowerAnswer
from tests.simulation import admins
from tests.simulation import site as sites
from tests.simulation.engine import Simulation
from tests.simulation.people import NeverEnded, Person, failed
from tests.simulation.run import templates
from tests.simulation.site import Site
from tests.simulation.weather import Weather
from tests.site.furnish import import_file

T = TypeVar("T")

DAY = 86400.0
ROUND = Pace().patrol.total_seconds()
TURNOVER = 10
"""One server of so many is given back, cleaned and deployed again in the course of the day."""
LOOK = 60.0
"""Seconds between two checkpoints, and two looks of the loops without news: what every site does is not what grows."""
_PROCESSES = ("inventory", "ipam", "network", "lifecycle-0")
"""SQLite allows one lifecycle process; the simulation's second is there to be killed."""
_PROJECTS = 8
_TENANTS = 8
_COOL_DOWN = 600
_IMPORT = 500
_PATIENCE = DAY
_STATE = server_status_pb2.ServerStatus.State


class Fleet:
    """The site, the people on it, and what is counted.

    Attributes:
        effects: how often each effect point was met, by its label.
        polled: how often each server's BMC was asked for its power.
        lived: servers that an instance left or came to, by UUID.
        lives: instances that were deleted and followed by another one.
    """

    def __init__(self, count: int, folder: Path) -> None:
        self.count = count
        self.sim = Simulation(f"fleet/{count}", switching=0.001, step=10)
        weather = Weather("fleet", self.sim, only=())
        self.site = Site(f"fleet/{count}", folder, templates(), self.sim, weather, _PROJECTS)
        self.site.pace = LOOK
        self.admin = Person(self.site, "admin", "admin")
        self.effects: Counter[str] = Counter()
        self.polled: Counter[str] = Counter()
        self.lived: set[str] = set()
        self.lives = 0
        self._let: list[str] = []
        self._read_power = self.site.rack.read_power
        self.site.rack.read_power = self._poll  # type: ignore[method-assign]  # it counts and goes on

    def observe(self, label: str, when: str) -> None:
        """What happens at each effect point: it is counted, takes its moment, and whoever waits for news has them."""
        if when == "before":
            self.effects[label] += 1
            if not label.endswith((".statement", ".commit")):
                # Inside a transaction nobody else goes on: who waited for its database would keep the baton for ever.
                self.sim.point()
        elif label.endswith(".commit") and self.sim.current.frames:
            self.site.fabric.committed(self.sim.current.frames[-1].service)

    def _poll(self, server: str, bmc: str, now: datetime) -> PowerAnswer:
        self.polled[server] += 1
        return self._read_power(server, bmc, now)

    # -- before the day

    def onboard(self) -> None:
        """Imports and provides all servers, and deploys an instance on every second one; the rack takes no time."""
        control.set_settings(self.site.rack, profile="instant", speed=1.0)
        for name in _PROCESSES:
            self.site.start(name)
        admins.lay_ground(self.admin, _PROJECTS, _COOL_DOWN)
        image = catalogue_pb2.Image(
            source_uri="https://images.example.org/any.raw",
            checksum="sha256:" + "5f" * 32,
            visibility=catalogue_pb2.Image.VISIBILITY_PUBLIC,
        )
        self.admin.call("inventory", "CreateImage", catalogue_pb2.CreateImageRequest(image_id="any", image=image))
        for server in self._in_turn(self._imported()):
            self.admin.call("lifecycle", "ProvideServer", server_status_pb2.ProvideServerRequest(name=server))
        self._until(lambda: self._standing("STATE_AVAILABLE") == self.count)
        tenants = [Person(self.site, f"t{number}", f"tenant {number}") for number in range(_PROJECTS)]
        for number in self._in_turn(range(self.count // 2)):
            name, _ = _create(tenants[number % _PROJECTS], f"first-{number}")
            self._let.append(name)
        self._until(lambda: self._standing("STATE_ACTIVE") == self.count // 2)
        # Until inventory has heard of the last one, and everybody was looked at once.
        self.sim.sleep(ROUND + LOOK)

    def _imported(self) -> list[str]:
        names: list[str] = []
        for first in range(1, self.count + 1, _IMPORT):
            content = import_file(first, min(_IMPORT, self.count + 1 - first))
            request = server_pb2.ImportServersRequest(content=content, format=server_pb2.IMPORT_FORMAT_JSON)
            names += [each.server for each in self.admin.call("inventory", "ImportServers", request).servers]
        self._until(lambda: self._summary().total_count == self.count)
        return names

    def _in_turn(self, things: Sequence[T]) -> Iterator[T]:
        for thing in things:
            yield thing
            self.sim.sleep(ROUND / len(things))

    def _until(self, reached: Callable[[], bool]) -> None:
        began = self.sim.seconds()
        while not reached():
            if self.sim.failures or self.sim.seconds() - began > _PATIENCE:
                raise NeverEnded(str(self._summary()))
            self.sim.sleep(5)

    def _summary(self) -> server_status_pb2.SummarizeFleetResponse:
        request = server_status_pb2.SummarizeFleetRequest()
        found: server_status_pb2.SummarizeFleetResponse = self.admin.call("lifecycle", "SummarizeFleet", request)
        return found

    def _standing(self, state: str) -> int:
        return sum(each.count for each in self._summary().states if each.state == _STATE.Value(state))

    # -- the day

    def live(self, profile: str) -> None:
        """One day: tenants give instances back and make new ones, spread evenly; answers when it is over."""
        control.set_settings(self.site.rack, profile=profile, speed=1.0)
        began, wanted = self.sim.seconds(), self.count // TURNOVER
        # The last ones end well within the day.
        times = [began + (DAY - ROUND) * number / wanted for number in range(wanted)]
        for number in range(min(_TENANTS, wanted)):
            mine = list(zip(times, self._let, strict=False))[number::_TENANTS]
            self.sim.spawn(f"tenant {number}", lambda mine=mine, number=number: self._turn_over(mine, number))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        self.sim.sleep(DAY)

    def _turn_over(self, lives: Sequence[tuple[float, str]], number: int) -> None:
        persons = {f"t{project}": Person(self.site, f"t{project}", f"{number} of {project}") for project in range(8)}
        for moment, name in lives:
            self.sim.sleep(max(0.0, moment - self.sim.seconds()))
            me = persons[name.split("/")[1]]
            self._touch(me, name)
            gone = me.done(me.call("lifecycle", "DeleteInstance", instance_pb2.DeleteInstanceRequest(name=name)))
            following, made = _create(me, name.rpartition("/")[2].replace("first", "second"))
            made = me.done(made)
            if failed(gone) or failed(made):
                msg = f"{name}: {gone.error.message} {made.error.message}"
                raise AssertionError(msg)
            self._touch(me, following)
            self.lives += 1

    def _touch(self, me: Person, name: str) -> None:
        found = me.call("lifecycle", "GetInstance", instance_pb2.GetInstanceRequest(name=name))
        self.lived.add(found.server.removeprefix("servers/"))


class _AtOnce:
    """Runs each walk where it is claimed: to hand the baton to and fro is the simulation's work, not the fleet's."""

    def __init__(self, *_: object) -> None:
        pass

    def run(self, walk: Callable[[], None]) -> None:
        """See `tests.simulation.pool.Walkers`."""
        walk()


def walking_at_once() -> AbstractContextManager[object]:
    """For sites that are started in it."""
    return patch.object(sites, "Walkers", _AtOnce)


def _create(me: Person, identity: str) -> tuple[str, Any]:
    """Asks for an instance; answers its name and the operation."""
    parent = f"projects/{me.login}"
    wanted = instance_pb2.Instance(
        flavor="flavors/any",
        image="images/any",
        networks=[instance_pb2.InstanceNetwork(network=f"{parent}/networks/blue")],
        user_data=b"#cloud-config\n",
    )
    request = instance_pb2.CreateInstanceRequest(parent=parent, instance_id=identity, instance=wanted)
    return f"{parent}/instances/{identity}", me.call("lifecycle", "CreateInstance", request)
