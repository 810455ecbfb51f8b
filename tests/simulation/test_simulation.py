# SPDX-License-Identifier: Apache-2.0
"""The whole site, simulated: a slice of it with every run of the tests; `make simulate` plays more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.lifecycle.domain import plans
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.step import StepName
from tests.simulation.run import Outcome, run

_KEPT = Path(__file__).with_name("kept_seeds.txt")


def kept() -> list[tuple[int, int]]:
    """Seeds and servers of the file."""
    lines = (line.partition("#")[0].split() for line in _KEPT.read_text().splitlines())
    return [(int(words[0]), int(words[1])) for words in lines if words]


def all_is_well(outcome: Outcome) -> None:
    assert outcome.wrong == [], outcome.again


def test_a_fair_day() -> None:
    """
    With no faults at all every server lives its three lives, and nothing is repaired, nothing recovered.
    """
    outcome = run(1, 3, ())
    all_is_well(outcome)
    assert outcome.lives == 9
    assert (outcome.counts, outcome.recovered, outcome.leaked) == ({}, 0, ())


@pytest.mark.parametrize("seed", [7, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(8, 14))])
def test_a_few_days(seed: int) -> None:
    """
    Whatever the seed lets happen, the logs prove isolation, the rack saw nothing wrong, and nothing leaked.
    """
    all_is_well(run(seed, 5))


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 8))])
def test_others_take_servers(seed: int) -> None:
    """
    Whoever else asks the controller takes servers now and then, while processes are killed and answers get lost: what
    was lost is placed anew, what was taken is led back, and nothing leaked.
    """
    outcome = run(seed, 5, ("others", "kill", "answers lost"))
    all_is_well(outcome)
    assert outcome.counts["others"]


# Of the first seeds, those in whose time an operator finds something to do.
@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 4, 5, 6, 7))])
def test_operators_work_on_servers(seed: int) -> None:
    """
    Clean steps by hand, some of which fail, power and retirement, while processes are killed and jobs fail: the logs
    prove isolation, every server comes back into the pool, and nothing leaked.
    """
    outcome = run(seed, 5, ("handyman", "kill", "jobs", "answers lost"))
    all_is_well(outcome)
    assert outcome.counts["handyman"]


# 9 once led a server out of quarantine whose ports had been read one by one.
@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3, 4, 9))])
def test_servers_are_migrated(seed: int) -> None:
    """
    Servers go to other switch ports, to those that others have left too, with cables that are moved too early, late or
    elsewhere, while processes are killed, switches lie and answers get lost: the logs prove isolation, the rack saw
    nothing wrong, and every server comes back into the pool.
    """
    outcome = run(seed, 5, ("migrations", "kill", "switch", "answers lost"))
    all_is_well(outcome)
    assert outcome.counts["migrations"]


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "servers"), kept())
def test_what_failed_once(seed: int, servers: int) -> None:
    """
    A seed that showed a defect shows it no more.
    """
    all_is_well(run(seed, servers))


def test_the_same_seed_is_the_same_log() -> None:
    """
    In another process, with other hashes of strings, every byte of every event is the same.
    """
    digests = {_digest_in_another_process(hashes) for hashes in ("1", "2")}
    assert len(digests) == 1


def _digest_in_another_process(hashes: str) -> str:
    root = Path(__file__).parents[2]
    environ = {**os.environ, "PYTHONHASHSEED": hashes, "PYTHONPATH": f"{root}:{root / 'protos'}"}
    code = "from tests.simulation.run import run; outcome = run(4, 3); print(outcome.digest, outcome.wrong)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root, env=environ
    )
    return done.stdout


def test_a_clean_that_is_left_out_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without erasing between two instances all witnesses speak up: the rack, which saw the data, the verifier, and
    lifecycle's own judge, who sets the server aside.
    """
    told = plans.plan_of(IntentKind.RELEASE)
    skipped = tuple(step for step in told if step.name is not StepName.CLEAN)
    monkeypatch.setitem(plans._PLANS, IntentKind.RELEASE, skipped)
    wrong = "\n".join(run(1, 3, ()).wrong)
    assert "it started with data of" in wrong
    assert "I2" in wrong
    assert "judge.violation" in wrong
    assert "the judge says" not in wrong
