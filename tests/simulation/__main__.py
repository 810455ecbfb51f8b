# SPDX-License-Identifier: Apache-2.0
"""``python -m tests.simulation``: plays seeds, one process for each core; what `make simulate` runs.

The last lines say what failed and how to run it again. The exit code is 0 only if nothing did.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait

from tests.simulation.players import Watched, be_watched, play
from tests.simulation.progress import EVERY, show
from tests.simulation.run import Outcome, run
from tests.simulation.weather import BY_NAME, CLASSES

_SHOWN = 12


def main() -> int:
    """Plays what the command line asks for."""
    asked = _parse()
    only = None if asked.faults is None else tuple(name for name in asked.faults.split(",") if name)
    unknown = sorted(set(only or ()) - {*CLASSES, *BY_NAME})
    if unknown:
        sys.exit(f"no such faults: {', '.join(unknown)}; there are {', '.join(CLASSES)}")
    if asked.seed is not None:
        watching = sys.stderr.isatty()
        tell = (lambda progress: show(str(progress))) if watching else None
        outcome = run(asked.seed, asked.servers, only, trace=asked.trace, tell=tell)
        if watching:
            show("")
        _tell(outcome)
        print(_summary(outcome))  # noqa: T201 -- it talks to people
        return bool(outcome.wrong)
    return _many(asked, only)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--seed", type=int, help="play this one")
    parser.add_argument("--seeds", type=int, default=20, help="how many; with --minutes, as many as there is time for")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--servers", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=0.0, help="for how long new ones are begun")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once")
    parser.add_argument("--faults", help="only these classes, with commas between; empty for none")
    parser.add_argument("--trace", type=int, default=0, help="show so many log lines of a seed that fails")
    return parser.parse_args()


def _many(asked: argparse.Namespace, only: tuple[str, ...] | None) -> int:
    began = time.monotonic()
    failed: list[Outcome] = []
    faults: Counter[str] = Counter()
    done = lives = 0
    spent = 0.0
    seeds = _seeds(asked, began)
    # Spawned, not forked: an actor's thread of a seed before is nobody's business.
    context = multiprocessing.get_context("spawn")
    watched = Watched(context) if sys.stderr.isatty() else None
    summary = ""
    with ProcessPoolExecutor(
        asked.jobs,
        mp_context=context,
        initializer=be_watched,
        initargs=(watched.heard if watched else None,),
    ) as pool:
        running: set[Future[Outcome]] = set()
        while True:
            while len(running) < asked.jobs and (seed := next(seeds, None)) is not None:
                running.add(pool.submit(play, seed, asked.servers, only))
            if not running:
                break
            ended, running = wait(running, EVERY if watched else None, return_when=FIRST_COMPLETED)
            if watched:
                watched.show(summary)
            if not ended:
                continue
            for outcome in (future.result() for future in ended):
                if watched:
                    watched.ended.add(outcome.seed)
                done, lives, spent = done + 1, lives + outcome.lives, spent + outcome.real
                faults.update(outcome.counts)
                if outcome.wrong:
                    failed.append(outcome)
                    _tell(outcome)
            summary = f"{done} seeds, {lives} lives, {len(failed)} failed, {time.monotonic() - began:.0f} s"
            if not watched:
                shown = sys.stdout.isatty()
                print(f"\r{summary}" if shown else summary, end="" if shown else "\n", flush=True)  # noqa: T201 -- as above
            elif not sys.stdout.isatty():
                print(summary, flush=True)  # noqa: T201 -- as above
    if watched:
        show(summary)
    rate = lives / spent if spent else 0.0
    print(f"\n{rate:.2f} lives a second of one core; faults: {dict(sorted(faults.items()))}")  # noqa: T201 -- as above
    for outcome in failed:
        print(f"FAILED: {outcome.again}")  # noqa: T201 -- as above
    return bool(failed)


def _seeds(asked: argparse.Namespace, began: float) -> Iterator[int]:
    seed = asked.first
    while (time.monotonic() - began < 60 * asked.minutes) if asked.minutes else (seed < asked.first + asked.seeds):
        yield seed
        seed += 1


def _tell(outcome: Outcome) -> None:
    if not outcome.wrong:
        return
    lines = [f"\nseed {outcome.seed}: {', '.join(outcome.classes) or 'no faults'}"]
    lines += [f"  {line}" for line in outcome.wrong[:_SHOWN]]
    if len(outcome.wrong) > _SHOWN:
        lines.append(f"  and {len(outcome.wrong) - _SHOWN} more")
    print("\n".join(lines), flush=True)  # noqa: T201 -- as above


def _summary(outcome: Outcome) -> str:
    return (
        f"seed {outcome.seed}: {outcome.lives} lives in {outcome.virtual / 3600:.1f} h of its time,"
        f" {outcome.real:.1f} s of one core; {outcome.events} events, {outcome.calls} calls,"
        f" {outcome.switches} switches\n"
        f"faults: {outcome.counts}\nverbs: {outcome.verbs}\nrecovered {outcome.recovered}, leaks repaired:"
        f" {list(outcome.leaked)}\nlog: {outcome.digest}"
    )


if __name__ == "__main__":
    sys.exit(main())
