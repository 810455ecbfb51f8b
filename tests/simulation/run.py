# SPDX-License-Identifier: Apache-2.0
"""One seed, from an empty site to a verdict."""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from services.kernel.effect import observed
from services.lifecycle.looks import CALM, NO_INTENT
from services.runtime.database import Transaction
from services.runtime.migrations import migrate
from services.simulated import control
from tests.simulation import admins, analytics, audit, brownfield, handyman, leaks, movers, verdicts
from tests.simulation.brownfield import Adopter
from tests.simulation.engine import Simulation, Stuck
from tests.simulation.expectations import tainted_since
from tests.simulation.forcers import Forcers
from tests.simulation.gremlin import Gremlin
from tests.simulation.people import NeverEnded, Person
from tests.simulation.progress import EVERY, Standing, Tell, watched
from tests.simulation.site import SERVICES, Site, pace_of, polling
from tests.simulation.tenants import Ledger, Tenant
from tests.simulation.weather import LATEST, Weather
from tests.simulation.witness import Account
from tests.support.memory import IN_MEMORY
from tests.support.wire import admin as second_admin

LIVES = 3
"""Instances that every server has in its life."""
_REST = 86400.0
"""Seconds in which everything must have come to rest once nothing goes wrong any more."""
_SOON = 120_000_000
"""Microseconds for which nothing may be due where all is at rest."""
_ROUNDS = 3
_LATE = frozenset({"calls late", "stop", "calls slow", "slow effects"})
"""Faults by which a call may be served after its caller gave up."""
_PATROL = 1000.0
"""Seconds in which every server at rest is looked at again."""
_templates: dict[str, Path] = {}


@dataclass(slots=True)
class Outcome:
    """What came of one seed.

    Attributes:
        wrong: what must not be; empty if all is well.
        digest: SHA-256 over all bytes of all logs.
        real: seconds of processor time that it took.
        virtual: seconds that passed in it.
        leaked: what the audit found and repaired.
    """

    seed: int
    servers: int
    wrong: list[str] = field(default_factory=list)
    digest: str = ""
    real: float = 0.0
    virtual: float = 0.0
    lives: int = 0
    events: int = 0
    switches: int = 0
    calls: int = 0
    classes: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    verbs: dict[str, int] = field(default_factory=dict)
    recovered: int = 0
    leaked: tuple[str, ...] = ()

    @property
    def again(self) -> str:
        """The line that runs it again."""
        return f"make simulate SEED={self.seed} SERVERS={self.servers}"


def run(
    seed: int,
    servers: int,
    only: Sequence[str] | None = None,
    *,
    trace: int = 0,
    tell: Tell | None = None,
    every: float = EVERY,
) -> Outcome:
    """Plays *seed* with *servers* servers.

    Args:
        only: these classes of faults instead of those that the seed draws.
        trace: prints so many of the last log lines when something is wrong.
        tell: told how far it is, *every* so many real seconds; the story is the same with it and without.
    """
    outcome = Outcome(seed, servers)
    standing = Standing(seed, LIVES * servers)
    began = time.process_time()
    name = f"{seed}/{servers}"
    folder = Path(tempfile.mkdtemp(prefix="bms-simulation-", dir=IN_MEMORY))
    stack = threading.stack_size()
    try:
        with _listening(trace) as heard, watched(standing, tell, every):
            _play(name, outcome, folder, only, heard, standing)
        outcome.wrong += heard.defects
        if outcome.wrong and trace:
            sys.stdout.write("\n".join(heard.lines) + "\n")
    finally:
        threading.stack_size(stack)
        shutil.rmtree(folder, ignore_errors=True)
    outcome.real = time.process_time() - began
    return outcome


def _play(
    name: str, outcome: Outcome, folder: Path, only: Sequence[str] | None, heard: _Heard, standing: Standing
) -> None:
    drawn = Weather(name, Simulation(name))
    sim = Simulation(name, switching=10 ** drawn.uniform(-2, 0), step=drawn.one_of((0, 10, 100, 1000)))
    heard.sim = standing.sim = sim
    weather = Weather(name, sim, only)
    outcome.classes = weather.classes
    projects = max(1, min(6, outcome.servers // 3))
    site = Site(name, folder, templates(), sim, weather, projects)
    site.callers["second"] = second_admin("second")
    site.pace = drawn.one_of((1.0, 5.0, 20.0))
    try:
        with observed(site.observe):
            try:
                _story(outcome, site, projects, standing)
            except (Stuck, NeverEnded) as error:
                outcome.wrong.append(f"{type(error).__name__}: {error}"[:2000])
                weather.end()
                outcome.wrong.append(_standing(Person(site, "admin", "afterwards"))[:2000])
            finally:
                sim.end()
    finally:
        site.close()
    fallen = [f"{actor}: {type(error).__name__}: {error}"[:2000] for actor, error in sim.failures]
    # What is left lying about after somebody fell is no finding.
    outcome.wrong = fallen or outcome.wrong
    outcome.virtual, outcome.switches, outcome.calls = sim.seconds(), sim.switches, site.fabric.calls
    outcome.counts = weather.counts


def _story(outcome: Outcome, site: Site, projects: int, standing: Standing) -> None:
    sim, weather = site.sim, site.weather
    clean = pace_of(weather, site.rack).total_seconds()
    # Where everything takes long, looking often would be most of the work.
    site.pace *= max(1.0, clean / 120)
    site.starts["telemetry"] = lambda process, _ids: sim.spawn(
        "telemetry", lambda: analytics.live(site, process), process
    )
    for name in site.starts:
        site.start(name)
    with polling(site.pace):
        _lives(outcome, site, projects, clean, standing)


def _lives(outcome: Outcome, site: Site, projects: int, clean: float, standing: Standing) -> None:
    sim, weather, quick = site.sim, site.weather, 0.5 + clean / 40
    admin = Person(site, "admin", "admin", quick)
    sealed, weather.over = weather.over, True
    cool_down = int(weather.uniform(1, 900))
    admins.lay_ground(admin, projects, cool_down)
    servers = admins.bring_in(admin, outcome.servers)
    ledger, living = Ledger(LIVES * outcome.servers), []
    standing.ledger, standing.stage = ledger, "living"
    share = weather.one_of((0, 0, 0.1, 0.3))
    brown = [
        brownfield.find(admin, server, number, number % projects)
        for number, server in enumerate(servers, 1)
        if weather.happens(share)
    ]
    sim.sleep(60 if brown else 0)
    weather.over = sealed
    gremlin = Gremlin(sim, weather, site.rack, [server.removeprefix("servers/") for server in servers])
    mender = admins.Mender(Person(site, "admin", "mender", quick), site)
    operator = admins.Operator(Person(site, "admin", "operator", quick), servers)
    each = (clean + 30) * 8 / max(1, outcome.servers)
    sim.spawn("gremlin", lambda: gremlin.work(each))
    sim.spawn("mender", lambda: mender.watch(30 + clean / 4))
    sim.spawn("operator", lambda: operator.work(each * 4))
    if weather.has(handyman.CLASS):
        worker = handyman.Handyman(Person(site, "admin", "handyman", quick), servers)
        sim.spawn("handyman", lambda: worker.work(each * 2))
    if weather.has(movers.CLASS):
        mover = movers.Mover(Person(site, "admin", "mover", quick), servers)
        sim.spawn("mover", lambda: mover.work(each * 2))
    forcers = Forcers(Person(site, "admin", "asks", quick), Person(site, "second", "approves", quick), ledger)
    sim.spawn("forcers", lambda: forcers.work(each))
    admins.provide(admin, [server for server in servers if server not in {one.server for one in brown}])
    for one in brown:
        tenant = Tenant(
            Person(site, one.project, f"heir {one.number}", quick),
            Person(site, "admin", f"heir's keeper {one.number}", quick),
            one.project,
            ledger,
            quick,
        )
        adopter = Adopter(Person(site, "admin", f"adopter {one.number}", quick), tenant, ledger, quick)
        living.append(sim.spawn(f"adopter {one.number}", lambda one=one, adopter=adopter: adopter.take_over(one)))  # type: ignore[misc]  # mypy cannot infer a lambda with defaults
    begun = sim.seconds()
    while sim.seconds() - begun < 20 * (clean + 30) and not sim.failures:
        sim.sleep(5 * quick)
        if 2 * len(admins.statuses(admin, "state = available")) >= outcome.servers:
            break
    # As many as servers: with fewer, the story would last longer and each server meet more faults, the more there are.
    for number in range(outcome.servers):
        login = f"t{number % projects}"
        person = Person(site, login, f"tenant {number}", quick)
        keeper = Person(site, "admin", f"keeper {number}", quick)
        tenant = Tenant(person, keeper, login, ledger, quick)
        living.append(sim.spawn(f"tenant {number}", tenant.live))
    _until(sim, lambda: all(actor.done for actor in living), 5 * quick, 10 * 86400.0, "the tenants' lives")
    standing.stage = "coming to rest"
    weather.end()
    control.clear(site.rack)
    _until(sim, lambda: _rest(site, admin, mender), 10 * quick, _REST, "rest")
    # What was given up and is under way still may leak, and does so now.
    sim.sleep(LATEST)
    # Repairing one leak changes what another's etag is of: further rounds find the rest.
    for _ in range(_ROUNDS):
        outcome.leaked += leaks.repair(admin)
        _until(sim, lambda: _rest(site, admin, mender), 10 * quick, _REST, "rest after repairs")
    # Until the last address has rested, every server was patrolled with all faults gone, and a checkpoint covers it.
    sim.sleep(max(cool_down, _PATROL) + 2 * site.pace + 15)
    standing.stage = "judging"
    outcome.wrong += [f"leaked: {leak}" for leak in leaks.find(admin)]
    outcome.lives, outcome.verbs, outcome.recovered = ledger.ended, ledger.verbs, mender.recovered
    _judge(outcome, site, admin, ledger, gremlin)


def _rest(site: Site, admin: Person, mender: admins.Mender) -> bool:
    mender.round(takes=True)
    if not admins.available(admin) or audit.unended(admin):
        return False
    return not site.databases["lifecycle"].read(lambda tx: _busy(tx, site.sim.micros + _SOON))


def _busy(tx: Transaction, soon: int) -> bool:
    """Whether anything but a round by a server at rest is due: those are spread, and of many one is always next."""
    return bool(
        tx.all(f"SELECT 1 FROM servers WHERE due <= ? AND NOT ({CALM}) LIMIT 1", (soon, NO_INTENT))
        or tx.all("SELECT 1 FROM instances WHERE due <= ? LIMIT 1", (soon,))
    )


def _until(sim: Simulation, reached: Any, every: float, seconds: float, what: str) -> None:
    until = sim.seconds() + seconds
    while not reached():
        if sim.failures:
            return
        if sim.seconds() > until:
            raise NeverEnded(what)
        sim.sleep(every)


def _standing(admin: Person) -> str:
    """How every server stands that is not at rest in the pool, and which operations have not ended."""
    lines = audit.unended(admin)
    lines += [
        f"{status.server[8:16]} {status.state} {status.operation} {status.instance} {status.wait.code}"
        f" {status.wait.reason} {status.fault}{' in maintenance' if status.maintenance else ''}"
        for status in admins.statuses(admin)
        if status.operation
        or status.instance
        or status.fault
        or not status.isolated
        or status.HasField("wait")
        or status.maintenance
    ]
    return "; ".join(lines)


def _judge(outcome: Outcome, site: Site, admin: Person, ledger: Ledger, gremlin: Gremlin) -> None:
    logs = audit.read_logs(admin)
    outcome.digest = audit.digest(logs)
    outcome.events = sum(len(events) for events in logs.events.values())
    outcome.wrong += audit.whole(logs)
    reports = verdicts.reports(admin, logs)
    outcome.wrong += verdicts.findings(logs, reports)
    _until(site.sim, lambda: verdicts.heard(admin, logs), 5, 3600, "lifecycle's judge")
    outcome.wrong += verdicts.disagreements(admin, logs, reports)
    if not _LATE & set(outcome.classes):
        # What is done after its caller gave up may leak, and is then found; nothing else may.
        outcome.wrong += [f"leaked, and was repaired: {leak}" for leak in outcome.leaked]
    kept = site.databases["telemetry"]
    ends = {service: len(events) for service, events in logs.events.items()}
    _until(site.sim, lambda: analytics.caught_up(kept, ends), 5, 3600, "telemetry")
    outcome.wrong += audit.telemetry_has(logs, analytics.identities(kept), analytics.messages(kept))
    outcome.wrong += audit.held(admin, outcome.servers)
    outcome.wrong += audit.unended(admin)
    powered = {f"servers/{server}" for server in gremlin.powered}
    tainted = tainted_since(logs.events["lifecycle"])
    account = Account(site.rack, site.sim.now(), audit.projects_of(admin), ledger.images, powered, tainted)
    outcome.wrong += account.wrongs()


class _Heard:
    """What the services logged: defects are kept, the last lines too if they are wanted."""

    def __init__(self, trace: int) -> None:
        self.sim: Simulation | None = None
        self.defects: list[str] = []
        self.lines: deque[str] = deque(maxlen=trace)

    def __call__(self, _logger: object, method: str, event: Any) -> Any:
        if method in ("error", "exception", "critical") and not (self.sim and self.sim.dying):
            trouble = event.get("exc_info")
            said = {key: value for key, value in event.items() if key != "exc_info"}
            shown = sys.exc_info()[1] if trouble is True else trouble
            self.defects.append(f"logged {said}: {shown!r}"[:2000])
        if self.lines.maxlen:
            moment = f"{self.sim.seconds():12.3f} {self.sim.current.name:24}" if self.sim else ""
            self.lines.append(f"{moment} {event}")
        raise structlog.DropEvent


@contextmanager
def _listening(trace: int) -> Iterator[_Heard]:
    heard = _Heard(trace)
    before = structlog.get_config()
    structlog.configure(
        processors=[heard],
        wrapper_class=structlog.make_filtering_bound_logger(20 if trace else 40),
        cache_logger_on_first_use=False,
    )
    try:
        yield heard
    finally:
        structlog.configure(**before)


def templates() -> dict[str, Path]:
    """A migrated database file of each service; made once in a process."""
    if not _templates:
        folder = Path(tempfile.mkdtemp(prefix="bms-simulation-templates-"))
        for service in (*SERVICES, "telemetry"):
            package = service if service == "telemetry" else f"services.{service}"
            migrate(f"sqlite:///{folder / service}.sqlite", package)
            _templates[service] = folder / f"{service}.sqlite"
    return _templates
