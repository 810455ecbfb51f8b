# SPDX-License-Identifier: Apache-2.0
"""What evidence costs: to a lifecycle transaction, and by the second.

    python tests/benchmarks/bench_evidence.py [postgresql://...]   SQLite in a temporary folder without an argument

The first part writes the same transaction, a server's row compared and set, in turns: bare; with an event beside it
that nobody chains, seals or signs; and with one of a chain while a sealer and a checkpointer are at work. The last two
differ by what proving costs whoever waits for the transaction. Statements are counted at the effect points, with a
checkpointer at work and without: the counts are equal. The second part grows a log to many streams and takes the time
of a checkpoint of a hundred changed streams at each size, and of a fresh process's first. Exits with 1 if a promise is
broken.
"""

from __future__ import annotations

import logging
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import structlog

from services.kernel.clock import RandomIds, SystemClock
from services.kernel.effect import observed
from services.kernel.events import Event, Head, PortSeen
from services.kernel.events import Evidence as Seen
from services.runtime.checkpoints import Checkpointer
from services.runtime.database import Database, Transaction, open_database
from services.runtime.eventlog import EventLog
from services.runtime.migrations import migrate
from services.runtime.signing import KeyFiles
from services.runtime.witness import Witness

CLOCK = SystemClock()
ROUNDS = 9
WRITES = 500
SIZES = (100, 1_000, 10_000)
CHANGED = 100
MOST_FOR_PROVING = 1.5
MOST_SECONDS = 0.25
"""For a checkpoint of `CHANGED` streams among the most of `SIZES`, on this machine or one like it."""


def say(line: str) -> None:
    """A line of the report."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def event(stream: str) -> Event:
    """As lifecycle's are: evidence of two ports, a cause, some facts."""
    now = CLOCK.now()
    ports = tuple(
        PortSeen(f"{stream}/ports/eth{n}", "tenant", ("projects/p/networks/n",), now, bytes(32)) for n in "01"
    )
    return Event(
        stream, "port.attach_observed", now, "lifecycle", "switching", "active", "p", "projects/p/instances/i",
        "operations/lifecycle-1", step="attach_tenant", evidence=Seen(ports=ports), facts={"attempt": "1"},
    )  # fmt: skip


class Bench:
    """A database as lifecycle's, with one server."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.folder = folder
        self.log = EventLog(database, RandomIds(), chained=True)
        self.plain = EventLog(database, RandomIds(), chained=False)
        self.head = Head()
        self.version = 0
        row = {
            **dict.fromkeys(("uuid", "display_name"), "s"),
            **dict.fromkeys(("state", "power", "instance", "wait_code", "fault", "doc"), ""),
            **dict.fromkeys(("maintenance", "isolated", "closed", "version", "sequence"), 0),
            "digest": b"",
        }
        sql = f"INSERT INTO servers ({', '.join(row)}) VALUES ({', '.join('?' for _ in row)})"
        database.transact(lambda tx: tx.execute(sql, tuple(row.values())), label="bench")

    def fresh(self) -> Checkpointer:
        """A checkpointer as a fresh process has it."""
        keys, witness = KeyFiles(self.folder / "bench.key"), Witness(self.folder / "bench.checkpoint")
        return Checkpointer("lifecycle", self.database, RandomIds(), keys, witness)

    def write(self, log: EventLog | None) -> None:
        """One lifecycle transaction; with a *log*: and the event that tells of it."""

        def run(tx: Transaction) -> Head:
            head = log.append(tx, event("servers/s"), self.head) if log else self.head
            tx.execute(
                "UPDATE servers SET version = ?, sequence = ?, digest = ?, doc = ? WHERE uuid = 's' AND version = ?",
                (self.version + 1, head.sequence, head.digest, "x" * 1500, self.version),
            )
            return head

        self.head = self.database.transact(run, label="bench")
        self.version += 1

    def grow(self, streams: list[str], sequence: int) -> None:
        """The event *sequence* of each of *streams*; their chains are not what is measured."""

        def run(tx: Transaction) -> None:
            for stream in streams:
                self.log.append(tx, event(stream), Head(sequence - 1, bytes(32)))

        self.database.transact(run, label="grow")
        self.log.seal_all()

    def cover(self, checkpointer: Checkpointer) -> float:
        """Seconds until everything is covered."""
        begun = time.perf_counter()
        while checkpointer.tick(CLOCK.now(), ending=True):
            pass
        return time.perf_counter() - begun


def writing(bench: Bench, log: EventLog | None) -> float:
    """Seconds a transaction takes."""
    begun = time.perf_counter()
    for _ in range(WRITES):
        bench.write(log)
    return (time.perf_counter() - begun) / WRITES


@contextmanager
def proving(bench: Bench, checkpointer: Checkpointer, pace: float) -> Iterator[None]:
    """A sealer and a checkpointer at work beside the block."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(pace):
            bench.log.seal_all()
            checkpointer.tick(CLOCK.now(), ending=True)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def statements(bench: Bench) -> int:
    """How many statements twenty transactions with an event have, whoever's thread runs them."""
    seen: Counter[str] = Counter()

    def note(label: str, when: str) -> None:
        if when == "before":
            seen[label] += 1

    with observed(note):
        for _ in range(20):
            bench.write(bench.log)
    return seen["db.bench.statement"]


def main() -> int:
    """Measures, prints ratios, answers the exit code."""
    broken = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder / 'bench.sqlite'}"
        migrate(url, "services.lifecycle")
        database = open_database(url)
        stack.callback(database.close)
        bench = Bench(database, folder)
        say(url.partition(":")[0])

        checkpointer = bench.fresh()
        bare, plain, proven = [], [], []
        for _ in range(ROUNDS):
            bare.append(writing(bench, None))
            plain.append(writing(bench, bench.plain))
            with proving(bench, checkpointer, 0.2):
                proven.append(writing(bench, bench.log))
        for name, found, base in (("with an event", plain, bare), ("proven", proven, plain)):
            ratio = statistics.median(new / old for new, old in zip(found, base, strict=True))
            say(f"  a transaction {name:13}: {ratio:5.2f} of one before ({statistics.median(found) * 1e3:.2f} ms)")
        if ratio > MOST_FOR_PROVING:
            broken.append(f"proving makes a transaction {ratio:.2f} times as long, not {MOST_FOR_PROVING} at most")

        alone = statements(bench)
        with proving(bench, checkpointer, 0.005):
            beside = statements(bench)
        say(f"  statements of 20 such transactions: {alone}, beside a checkpointer {beside}")
        if alone != beside:
            broken.append("a checkpointer changes how many statements a transaction has")

        broken += sizes(bench, checkpointer)
    for line in broken:
        say(f"BROKEN: {line}")
    return 1 if broken else 0


def sizes(bench: Bench, checkpointer: Checkpointer) -> list[str]:
    """Checkpoints at each of `SIZES`; answers what is broken."""
    bench.log.seal_all()
    bench.cover(checkpointer)
    have, sequence, took, first = 0, dict[str, int](), 0.0, 0.0
    for size in SIZES:
        for start in range(have, size, 500):
            names = [f"servers/{n}" for n in range(start, min(start + 500, size))]
            bench.grow(names, 1)
            sequence |= dict.fromkeys(names, 1)
        have = size
        grown = bench.cover(checkpointer)
        times = []
        for turn in range(7):
            names = [f"servers/{n}" for n in range(turn, size, size // CHANGED)][:CHANGED]
            for name in names:
                sequence[name] += 1
            by_sequence: dict[int, list[str]] = {}
            for name in names:
                by_sequence.setdefault(sequence[name], []).append(name)
            for number, some in by_sequence.items():
                bench.grow(some, number)
            times.append(bench.cover(checkpointer))
        took = statistics.median(times)
        bench.grow(["servers/0"], sequence["servers/0"] + 1)
        sequence["servers/0"] += 1
        checkpointer = bench.fresh()
        first = bench.cover(checkpointer)
        say(
            f"  {size:6,} streams: {took * 1e3:6.1f} ms a checkpoint of {CHANGED}, {first * 1e3:6.1f} ms a fresh"
            f" process's first (all of them before: {grown * 1e3:.0f} ms)"
        )
    if took > MOST_SECONDS:
        return [f"a checkpoint among {SIZES[-1]} streams takes {took:.2f} s"]
    return []


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    sys.exit(main())
