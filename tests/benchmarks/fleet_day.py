# SPDX-License-Identifier: Apache-2.0
"""One day of a fleet of some size: what it cost, what happened in it, and the verifier's word on all of it."""

from __future__ import annotations

import gc
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from bms.event.v1 import event_pb2
from services.kernel.effect import observed
from services.runtime import logs, memory
from services.verifier.judge import Judge
from services.verifier.verdict import Verdict, worst
from tests.benchmarks.fleet_site import DAY, LOOK, ROUND, TURNOVER, Fleet, walking_at_once
from tests.simulation.site import polling
from tests.support.memory import IN_MEMORY

_SERVICES = ("inventory", "ipam", "network", "lifecycle")
_CHAINED = ("ipam", "lifecycle")
_POLLS = int(DAY / ROUND)
_ROUND_OFF = 1
"""A server's rounds drift by the moments that its polls take: the day may hold one less, or begin and end with one."""
_HOUR = 3600.0


@dataclass(slots=True)
class Day:
    """What one day took, and what happened in it.

    Attributes:
        setup, seconds, proof: seconds of the processor: onboarding, the day, the verifier.
        beat: milliseconds of a fixed piece of Python, timed in every hour of the day and not counted in it; the mean.
        reads: how often a BMC was asked for its power, by patrols and by steps of lives.
        rounds: rounds of the patrol, each of which looks at many servers at rest.
        rests: looks at servers at rest that had a walk of their own.
        lives: instances that were deleted, each followed by another.
        events: events of all logs in that day, and since the beginning.
        streams, verdict: those that the verifier judged, and what it says of all of them.
        calls: calls between services, and of people.
        effects: effect points by label; ``db.<transaction>.statement`` are SQL statements.
        memory: the most megabytes that the process held.
        wrong: what must not be; empty if all is well.
    """

    servers: int
    setup: float = 0.0
    seconds: float = 0.0
    proof: float = 0.0
    beat: float = 0.0
    reads: int = 0
    rounds: int = 0
    rests: int = 0
    lives: int = 0
    events: tuple[int, int] = (0, 0)
    streams: int = 0
    verdict: Verdict = Verdict.PASS
    calls: int = 0
    effects: Counter[str] = field(default_factory=Counter)
    memory: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def statements(self) -> int:
        """SQL statements of all services in that day; the rack's own file is not counted. One for many rows is one."""
        return sum(count for label, count in self.effects.items() if label.endswith(".statement"))


def play(servers: int, profile: str) -> Day:
    """Onboards *servers* servers and lives one day with them; *profile* is how long the rack takes for things."""
    day = Day(servers)
    folder = Path(tempfile.mkdtemp(prefix="bms-fleet-", dir=IN_MEMORY))
    defects: list[str] = []
    structlog.configure(
        processors=[lambda _, method, event: _kept(defects, method, event)],
        wrapper_class=structlog.make_filtering_bound_logger(30),
    )
    try:
        fleet = Fleet(servers, folder)
        try:
            with observed(fleet.observe), polling(LOOK), walking_at_once(), _silent():
                try:
                    _play(day, fleet, profile)
                finally:
                    fleet.sim.end()
        finally:
            fleet.site.close()
        day.wrong += [f"{actor}: {type(error).__name__}: {error}"[:2000] for actor, error in fleet.sim.failures]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    day.wrong += defects
    day.memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return day


def _play(day: Day, fleet: Fleet, profile: str) -> None:
    began = time.process_time()
    fleet.onboard()
    day.setup = time.process_time() - began
    memory.settle()
    beats: list[float] = []
    before, calls = _positions(fleet), fleet.site.fabric.calls
    fleet.effects.clear()
    fleet.polled.clear()
    fleet.sim.spawn("metronome", lambda: _beat(fleet, beats))
    began = time.process_time()
    fleet.live(profile)
    day.seconds = time.process_time() - began - sum(beats)
    day.beat = 1000 * sum(beats) / len(beats)
    day.effects = Counter(fleet.effects)
    day.reads, day.rounds, day.rests = fleet.polled.total(), fleet.effects["db.round"], fleet.effects["db.step.rest"]
    day.calls, day.lives = fleet.site.fabric.calls - calls, fleet.lives
    after = _positions(fleet)
    day.events = (sum(after.values()) - sum(before.values()), sum(after.values()))
    day.wrong += _unpolled(day, fleet)
    # Until a checkpoint covers the last event.
    fleet.sim.sleep(2 * LOOK + 15)
    gc.collect()
    began = time.process_time()
    for service in _CHAINED:
        _prove(day, fleet, service)
    day.proof = time.process_time() - began


def _kept(defects: list[str], method: str, event: Any) -> Any:
    if method in ("error", "exception", "critical"):
        defects.append(f"logged {event}: {sys.exc_info()[1]!r}"[:2000])
    raise structlog.DropEvent


@contextmanager
def _silent() -> Iterator[None]:
    """No line for every call, as with BMS_LOG_LEVEL=warning."""
    before, logs._fast = logs._fast, lambda _event, _facts: None
    try:
        yield
    finally:
        logs._fast = before


def _beat(fleet: Fleet, beats: list[float]) -> None:
    """Times a fixed piece of Python in every hour: what else runs on the machine makes a processor's second shorter."""
    for _ in range(int(DAY / _HOUR)):
        fleet.sim.sleep(_HOUR - 1)
        began = time.process_time()
        sum(len(str((number, str(number)))) for number in range(100_000))
        beats.append(time.process_time() - began)


def _positions(fleet: Fleet) -> dict[str, int]:
    """Where each service's log ends."""
    return {
        service: fleet.site.databases[service].read(
            lambda tx: int((tx.one("SELECT coalesce(max(position), 0) AS latest FROM events") or {})["latest"])
        )
        for service in _SERVICES
    }


def _unpolled(day: Day, fleet: Fleet) -> list[str]:
    """Which servers were not looked at as often as they must be, and lives that did not come to pass."""
    wrong = []
    if len(fleet.polled) != day.servers:
        wrong.append(f"{len(fleet.polled)} of {day.servers} servers were polled")
    for server, polls in fleet.polled.items():
        if server not in fleet.lived and abs(polls - _POLLS) > _ROUND_OFF:
            wrong.append(f"servers/{server} was polled {polls} times, not {_POLLS}")
        if server in fleet.lived and polls < _POLLS - 2 * _ROUND_OFF:
            wrong.append(f"servers/{server}, given back and deployed again, was polled {polls} times")
    if day.lives != day.servers // TURNOVER:
        wrong.append(f"{day.lives} lives of {day.servers // TURNOVER}")
    return wrong[:20]


def _prove(day: Day, fleet: Fleet, service: str) -> None:
    """Reads *service*'s keys, checkpoints and log page by page and judges them; every stream must pass."""
    admin = fleet.admin
    judge = Judge(service)
    for key in _all(fleet, service, "ListSigningKeys", "keys"):
        judge.key(key)
    for signed in _all(fleet, service, "ListCheckpoints", "checkpoints"):
        judge.checkpoint(signed)
    listing = admin.site.fabric.channel(service, "auditor").unary_unary(
        f"/bms.{service}.v1.{service.capitalize()}Service/ListEvents",
        event_pb2.ListEventsRequest.SerializeToString,
        event_pb2.ListStoredEventsResponse.FromString,
    )
    after = 0
    while True:
        request = event_pb2.ListEventsRequest(after=after, page_size=1000)
        answer = listing(request, metadata=(("authorization", "Bearer admin"),))
        for event in answer.events:
            judge.event(event)
        if not answer.events:
            break
        after = answer.next_after
    report = judge.report()
    day.streams, day.verdict = day.streams + len(report.streams), worst(day.verdict, report.verdict)
    if report.verdict is not Verdict.PASS:
        failing = [name for name, stream in report.streams.items() if stream.verdict is not Verdict.PASS]
        day.wrong.append(f"{service}'s log is {report.verdict}: {report.problems[:3]} {failing[:3]}")


def _all(fleet: Fleet, service: str, method: str, field_: str) -> list[Any]:
    request: Any = event_pb2.ListSigningKeysRequest() if field_ == "keys" else event_pb2.ListCheckpointsRequest()
    found: list[Any] = []
    while True:
        answer = fleet.admin.call(f"events of {service}", method, request)
        found += getattr(answer, field_)
        if answer.next_after == request.after:
            return found
        request.after = answer.next_after
