# SPDX-License-Identifier: Apache-2.0
"""What operators have Ironic do: manual cleaning, flags of nodes, consoles."""

from __future__ import annotations

import pytest

from services.lifecycle.backends.ironic import IronicHardware
from services.lifecycle.ports import CleanStep, JobKind, JobOrder, JobPhase
from tests.lifecycle.backends.fake_ironic import Fake
from tests.lifecycle.backends.test_ironic import SERVER, TARGET, done, fake, hardware

__all__ = ["fake", "hardware"]  # the fixtures

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")


@pytest.mark.parametrize(
    ("state", "verbs"),
    [
        ("manageable", ["clean"]),
        ("available", ["manage", "clean"]),
        ("clean failed", ["manage", "clean"]),
        ("active", ["deleted", "manage", "clean"]),
    ],
)
def test_clean_steps_are_run_from_manageable(
    fake: Fake, hardware: IronicHardware, state: str, verbs: list[str]
) -> None:
    """
    The node is led to manageable, cleaned by none of Ironic's own steps on the way, and told the very steps.
    """
    fake.add(SERVER, state, automated_clean=True)

    reading = done(fake, hardware, JobKind.MANUAL_CLEAN, "j1")

    assert reading.phase is JobPhase.PASSED
    assert fake.verbs() == verbs
    assert fake.nodes[SERVER]["provision_state"] == "manageable"
    body = next(body for _, path, body in fake.asked if path.endswith("/provision") and body["target"] == "clean")
    assert body["clean_steps"] == [{"interface": "raid", "step": "create", "args": {"a": [1]}}]


def test_a_step_that_ironic_does_not_know_fails_at_once(fake: Fake, hardware: IronicHardware) -> None:
    """
    Refused with the verb itself: the job has failed, and the node is where it was.
    """
    fake.add(SERVER, "manageable")
    fake.refusing = "clean"

    hardware.start_job(TARGET, _order(), request_id="j1")
    reading = hardware.read_job(TARGET, request_id="j1")

    assert (reading.phase, reading.reason) == (JobPhase.FAILED, "REFUSED")
    assert fake.nodes[SERVER]["provision_state"] == "manageable"


def _order() -> JobOrder:
    return JobOrder(JobKind.MANUAL_CLEAN, steps=(CleanStep("raid", "dance"),))
