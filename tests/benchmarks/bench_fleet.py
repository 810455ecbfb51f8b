# SPDX-License-Identifier: Apache-2.0
"""What a day of a fleet costs, and whether it grows as the fleet does: at most with the power 1.1.

    make bench                                                  # 250 and 1,000 servers: some minutes
    make bench-fleet                                            # the whole promise: 500 to 10,000 servers
    python tests/benchmarks/bench_fleet.py 500 1000 2000        # others

The simulated site (docs/simulation.md) lives one day of its own time without faults: operations, stores, worker,
interceptors, network and ipam are the product's, over SQLite; time, the wire and the rack are simulated. Every server
is looked at once in 15 minutes, half of the fleet is let, and a tenth of it is given back, cleaned and deployed again.
The rack takes a second or two for everything (its profile "demo"). Each size has a process of its own. Telemetry is not
there.

Counted are the processor's seconds of the day: not of onboarding before it, nor of the verifier after it, which reads
both chained logs and must say PASS of all of it. They hold the simulation's own, and what a site of two servers costs,
whose loops look every ten seconds, whoever is there. That is measured as a day of its own, and taken off before the
slope is drawn: it would flatter it. What else runs on the machine makes a second of the processor worth less: a fixed
piece of Python is timed in every hour of each day, and the days are compared by how many such pieces they cost.
Statements of SQL are counted, and need no such care; one that is run for many rows counts once. Servers at rest are
looked at in rounds (decision 42), which are the fuller the larger the fleet is: a poll costs less there.
"""

from __future__ import annotations

import math
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from tests.benchmarks.fleet_day import Day, play

SIZES = (250, 1000)
SLOPE = 1.1
_PROFILE = "demo"
_FEW = 2
"""One of them is let: every log has something in it, and every loop something to look for."""


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The slope of the line through the logarithms of *points* that fits them best (least squares)."""
    logs = [(math.log(x), math.log(y)) for x, y in points]
    middle = sum(x for x, _ in logs) / len(logs), sum(y for _, y in logs) / len(logs)
    across = sum((x - middle[0]) ** 2 for x, _ in logs)
    return sum((x - middle[0]) * (y - middle[1]) for x, y in logs) / across


def lived(servers: int) -> Day:
    """One day of so many servers, in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(play, servers, _PROFILE).result()


def show(day: Day, few: Day) -> None:
    """Prints what a day cost, and that it really happened."""
    own = day.statements - few.statements
    sys.stdout.write(
        f"  {day.servers} servers: {day.seconds:.1f} s of a core, {1000 * day.seconds / day.servers:.1f} s for 1,000"
        f" ({net(day, few) * 1000 / day.servers:.0f} pieces of {day.beat:.0f} ms beyond a site of two)\n"
        f"    {day.reads} polls of power, {day.rounds} rounds, {day.rests} walks of servers at rest, {day.lives} lives,"
        f" {day.events[0]} events, {day.calls} calls\n"
        f"    beyond a site of two, lives included: {1000 * (day.seconds - few.seconds) / max(1, day.reads):.2f} ms and"
        f" {own / max(1, day.reads):.1f} statements for each poll\n"
        f"    beside it: onboarding {day.setup:.1f} s; the verifier {day.proof:.1f} s for {day.streams} streams of"
        f" {day.events[1]} events: {day.verdict}; {day.memory} MB\n"
    )
    sys.stdout.writelines(f"    WRONG: {wrong}\n" for wrong in day.wrong)
    sys.stdout.flush()


def net(day: Day, few: Day) -> float:
    """How many of the fixed pieces of Python *day* cost beyond that of a site of two."""
    return 1000 * (day.seconds / day.beat - few.seconds / few.beat)


def main(sizes: Sequence[str]) -> int:
    """Runs it; 1 if the promise is not kept, or something is wrong with the day.

    Args:
        sizes: other numbers of servers than 250 and 1,000.
    """
    few = lived(_FEW)
    sys.stdout.write(f"  a site of {_FEW} servers: {few.seconds:.1f} s of a core, {few.statements} statements\n")
    sys.stdout.writelines(f"    WRONG: {wrong}\n" for wrong in few.wrong)
    sys.stdout.flush()
    days = []
    for size in [int(size) for size in sizes] or SIZES:
        days.append(lived(size))
        show(days[-1], few)
    wrong = [problem for day in (few, *days) for problem in day.wrong]
    if len(days) < 2:
        return 1 if wrong else 0
    grows = slope([(day.servers, net(day, few)) for day in days])
    seconds = slope([(day.servers, day.seconds) for day in days])
    asked = slope([(day.servers, day.statements - few.statements) for day in days])
    kept = grows <= SLOPE and not wrong
    sys.stdout.write(
        f"a day of {days[0].servers} to {days[-1].servers} servers costs their number to the power {grows:.3f}"
        f" (at most {SLOPE}): {'as promised' if kept else 'MISSED'}\n"
        f"  with the share of a site of two, in plain seconds {seconds:.3f}; statements {asked:.3f}\n"
    )
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
