# SPDX-License-Identifier: Apache-2.0
"""A process is killed in the middle of a tenant's story: the story ends as it would have, and nothing is lost."""

from __future__ import annotations

import os
import random
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from bms.lifecycle.v1 import instance_pb2
from services.cli.supervise.plan import SERVICES
from tests.site import audit
from tests.site.client import Client
from tests.site.furnish import bring_in, create_instance, lay_ground, provide
from tests.site.rig import Site, running_site

pytestmark = pytest.mark.story

SEED = os.environ.get("BMS_KILL_SEED", "1")
"""Another seed kills at other moments."""
KILLS = 2
STEPS = ("import", "provide", "create", "stop", "start", "delete")
_LONGEST_DELAY = 1.5
"""A step takes about this long."""


@dataclass(slots=True)
class Told:
    """What the story did so far."""

    servers: list[str] = field(default_factory=list)
    instances: int = 0


class Killer:
    """Kills *victim* soon after certain steps have begun."""

    def __init__(self, site: Site, victim: str) -> None:
        choice = random.Random(f"{SEED}/{victim}")
        self._site = site
        self._victim = victim
        self._delays = {step: choice.uniform(0, _LONGEST_DELAY) for step in choice.sample(STEPS, KILLS)}
        self._timers: list[threading.Timer] = []
        self.killed: list[int] = []

    def __str__(self) -> str:
        moments = ", ".join(f"{delay:.2f} s into {step}" for step, delay in self._delays.items())
        return f"seed {SEED}: {self._victim} {moments}"

    def begins(self, step: str) -> None:
        """The story begins *step*."""
        if step in self._delays:
            timer = threading.Timer(self._delays[step], self._kill)
            self._timers.append(timer)
            timer.start()

    def finish(self) -> None:
        """Waits until all that was planned is done."""
        for timer in self._timers:
            timer.join()
        assert len(self.killed) == KILLS

    def _kill(self) -> None:
        # It may be on its way back from the last time.
        self._site.serves(self._victim)
        self.killed.append(self._site.kill(self._victim))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site on which things take as long as one can watch them."""
    with running_site(tmp_path_factory.mktemp("killed"), profile="demo") as running:
        lay_ground(Client(running, "admin"), Client(running, "tenant-a"), cool_down=3600)
        yield running


@pytest.fixture(scope="module")
def told() -> Told:
    """What all stories of this module did."""
    return Told()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("victim", SERVICES)
def test_the_story_ends_well_though_a_process_is_killed(site: Site, told: Told, victim: str) -> None:
    """
    Killed twice at whatever moment, the process comes back and the tenant's story ends; no lease but resting ones and
    no reservation is left, every server is available, and no event is lost or doubled, in no log and not in telemetry.
    """
    admin, tenant, killer = Client(site, "admin"), Client(site, "tenant-a"), Killer(site, victim)
    sys.stdout.write(f"{killer}\n")

    _play(admin, tenant, told, killer.begins)
    killer.finish()

    site.serves(victim)
    audit.at_rest(admin, told.servers)
    audit.nothing_is_held(admin, told.servers, told.instances)
    logs = audit.read_logs(site)
    audit.logs_are_whole(logs)
    audit.telemetry_has_all(admin, logs)


def _play(admin: Client, tenant: Client, told: Told, begins: Callable[[str], None]) -> None:
    """Four more servers, and an instance from its making to its end."""
    name = f"projects/tenant-a/instances/web-{told.instances}"
    begins("import")
    fresh = bring_in(admin, 4, first=1 + len(told.servers))
    told.servers += fresh
    begins("provide")
    provide(admin, fresh)
    told.instances += 1
    begins("create")
    tenant.done(create_instance(tenant, name.rpartition("/")[2]))
    begins("stop")
    tenant.done(tenant.call("lifecycle", "StopInstance", instance_pb2.StopInstanceRequest(name=name)))
    begins("start")
    tenant.done(tenant.call("lifecycle", "StartInstance", instance_pb2.StartInstanceRequest(name=name)))
    begins("delete")
    tenant.done(tenant.call("lifecycle", "DeleteInstance", instance_pb2.DeleteInstanceRequest(name=name)))
