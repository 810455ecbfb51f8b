# SPDX-License-Identifier: Apache-2.0
"""Many actors, one of whom runs at a time: the seed chooses which, and time is whatever the next of them waits for.

Each actor has a thread of its own and the baton goes from one to the next, so that real code may stand still anywhere
in a stack of calls. Nothing here knows what the actors do.
"""

from __future__ import annotations

import heapq
import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
START = (datetime(2026, 1, 1, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
_STACK = 512 * 1024
_LAST_SECONDS = 30.0
"""Real seconds that an actor has for its last lines."""


class Ended(BaseException):
    """The simulation is over for this actor."""


class Stuck(Exception):
    """Everybody waits for somebody else, or the end does not come."""


class Process:
    """One life of one process: killed, it is never the same again; stopped, it goes on later without knowing."""

    def __init__(self, name: str, service: str) -> None:
        self.name = name
        self.service = service
        self.alive = True
        self.stopped_until = 0

    def __repr__(self) -> str:
        return self.name


class Crash(BaseException):
    """The process that runs this code is killed here; no product code catches it."""

    def __init__(self, process: Process) -> None:
        super().__init__(process.name)
        self.process = process


class Actor:
    """Somebody who acts: a thread, and the processes in whose code it is, innermost last."""

    def __init__(self, number: int, name: str, process: Process | None) -> None:
        self.number = number
        self.name = name
        self.frames: list[Process] = [process] if process is not None else []
        self.baton = threading.Lock()
        self.baton.acquire()
        self.thread: threading.Thread | None = None
        self.ticket = 0
        self.waiting = False
        self.done = False


class Event:
    """A threading.Event on the simulation's time; the product's loops take it for one."""

    def __init__(self, sim: Simulation) -> None:
        self._sim = sim
        self._set = False
        self._waiters: list[tuple[Actor, int]] = []

    def is_set(self) -> bool:
        """Whether it was set."""
        return self._set

    def clear(self) -> None:
        """Forgets that it was set."""
        self._set = False

    def set(self) -> None:
        """Wakes all who wait."""
        self._set = True
        for actor, ticket in self._waiters:
            self._sim.wake(actor, ticket)
        self._waiters.clear()

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until it is set, or for *timeout* seconds; answers whether it is."""
        if not self._set:
            self._sim.wait(None if timeout is None else max(0, int(timeout * 1_000_000)), self._waiters)
        return self._set


class Simulation:
    """The actors, their order and their time.

    Args:
        seed: decides the order.
        switching: how probable it is that another actor goes on at an effect point.
        step: microseconds that every effect takes.
    """

    def __init__(self, seed: str, *, switching: float = 0.2, step: int = 50) -> None:
        self._chance = random.Random(f"{seed}/order")
        self._switching = switching
        self._step = step
        self.micros = START
        self._shown = (START, EPOCH + timedelta(microseconds=START))
        self._ready: list[Actor] = []
        self._timers: list[tuple[int, int, Actor, int]] = []
        self._timer_count = 0
        self._until_switch = self._draw()
        self.actors: list[Actor] = []
        self._made = 0
        self.failures: list[tuple[str, BaseException]] = []
        self.switches = 0
        self.points = 0
        self._over = False
        self._stuck = False
        self.director = Actor(0, "director", None)
        self.current = self.director

    # -- time

    def now(self) -> datetime:
        """The present moment: the clock of everybody."""
        micros, shown = self._shown
        if micros != self.micros:
            shown = EPOCH + timedelta(microseconds=self.micros)
            self._shown = (self.micros, shown)
        return shown

    def seconds(self) -> float:
        """Seconds since the beginning."""
        return (self.micros - START) / 1_000_000

    @property
    def over(self) -> bool:
        """Whether the director has ended it."""
        return self._over

    @property
    def dying(self) -> bool:
        """Whether these are last lines: everything is over, or the process that runs them was killed."""
        frames = self.current.frames
        return self._over or (bool(frames) and not frames[-1].alive)

    # -- actors

    def event(self) -> Event:
        """A fresh event."""
        return Event(self)

    def spawn(self, name: str, act: Callable[[], object], process: Process | None = None) -> Actor:
        """A fresh actor; it begins when it is first chosen."""
        self._made += 1
        actor = Actor(self._made, name, process)
        threading.stack_size(_STACK)
        actor.thread = threading.Thread(target=self._live, args=(actor, act), name=name, daemon=True)
        actor.thread.start()
        self.actors.append(actor)
        self._ready.append(actor)
        return actor

    def _live(self, actor: Actor, act: Callable[[], object]) -> None:
        actor.baton.acquire()
        try:
            self._check(actor)
            act()
        except (Ended, Crash):
            pass  # as the director wanted
        except BaseException as error:  # noqa: BLE001 -- told by the director, whatever it is
            self.failures.append((actor.name, error))
        actor.done = True
        self.actors.remove(actor)
        if not self._over:
            self._hand_over(actor)

    # -- what actors call

    def point(self) -> None:
        """An effect happens here: time goes on a little, and perhaps somebody else goes on first."""
        if self._over:
            return
        self.points += 1
        self.micros += self._step
        if self._timers and self._timers[0][0] <= self.micros:
            self._ring()
        self._until_switch -= 1
        if self._until_switch > 0:
            return
        self._until_switch = self._draw()
        if self._ready:
            actor = self.current
            self._ready.append(actor)
            self._hand_over(actor)
            self._check(actor)

    def sleep(self, seconds: float) -> None:
        """Waits for *seconds*."""
        self.wait(max(0, int(seconds * 1_000_000)), None)

    def wait(self, micros: int | None, waiters: list[tuple[Actor, int]] | None) -> None:
        """Waits for *micros* microseconds, or until somebody of *waiters* is woken."""
        if self._over:
            raise Ended
        actor = self.current
        self._wait(actor, micros, waiters)
        self._check(actor)

    def _wait(self, actor: Actor, micros: int | None, waiters: list[tuple[Actor, int]] | None) -> None:
        actor.ticket += 1
        actor.waiting = True
        if micros is not None:
            self._timer_count += 1
            heapq.heappush(self._timers, (self.micros + micros, self._timer_count, actor, actor.ticket))
        if waiters is not None:
            waiters.append((actor, actor.ticket))
        self._hand_over(actor)

    def wake(self, actor: Actor, ticket: int | None = None) -> None:
        """Ends the wait of *actor*, if it is still the one with *ticket*."""
        if actor.waiting and (ticket is None or actor.ticket == ticket):
            actor.waiting = False
            self._ready.append(actor)

    def kill(self, process: Process) -> None:
        """The end of *process*: whoever is in its code finds out when he is chosen next."""
        process.alive = False
        for actor in self.actors:
            if actor.frames and actor.frames[-1] is process:
                self.wake(actor)

    # -- the baton

    def _draw(self) -> int:
        """How many effect points until the next switch."""
        if self._switching >= 1:
            return 1
        return 1 + int(self._chance.expovariate(self._switching))

    def _check(self, actor: Actor) -> None:
        """What an actor finds when it goes on: the end, that it was killed, or that it is stopped."""
        if self._over:
            raise Ended
        if self._stuck and actor is self.director:
            raise Stuck(self.portrait())
        while actor.frames:
            process = actor.frames[-1]
            if not process.alive:
                raise Crash(process)
            if process.stopped_until <= self.micros:
                return
            self._wait(actor, process.stopped_until - self.micros, None)
            if self._over:
                raise Ended

    def check(self) -> None:
        """As when going on: for whoever comes back into a process's code from another's."""
        self._check(self.current)

    def _ring(self) -> None:
        while self._timers and self._timers[0][0] <= self.micros:
            _, _, actor, ticket = heapq.heappop(self._timers)
            self.wake(actor, ticket)

    def _hand_over(self, actor: Actor) -> None:
        following = self._choose()
        if following is actor:
            return
        self.switches += 1
        self.current = following
        following.baton.release()
        if not actor.done:
            actor.baton.acquire()

    def _choose(self) -> Actor:
        ready = self._ready
        while not ready:
            if not self._timers:
                self._stuck = True
                self.wake(self.director)
                break
            self.micros = max(self.micros, self._timers[0][0])
            self._ring()
        place = int(self._chance.random() * len(ready))
        ready[place], ready[-1] = ready[-1], ready[place]
        return ready.pop()

    def portrait(self) -> str:
        """Who is where."""
        return ", ".join(f"{actor.name}{actor.frames}" for actor in self.actors)

    # -- the end

    def end(self) -> None:
        """Ends every actor; the director calls it, last."""
        self._over = True
        for actor in list(self.actors):
            self.current = actor
            actor.baton.release()
            if actor.thread is not None:
                actor.thread.join(_LAST_SECONDS)
        self.current = self.director
