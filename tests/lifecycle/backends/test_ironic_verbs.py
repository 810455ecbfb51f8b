# SPDX-License-Identifier: Apache-2.0
"""What operators have Ironic do: manual cleaning, flags of nodes, consoles."""

from __future__ import annotations

import pytest

from services.kernel.errors import ConsoleNotOffered
from services.lifecycle.backends.ironic import IronicHardware
from services.lifecycle.ports import CleanStep, JobKind, JobOrder, JobPhase, Marks
from tests.lifecycle.backends.fake_ironic import Fake
from tests.lifecycle.backends.ironic_rig import SERVER, TARGET, done

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


@pytest.mark.parametrize(("state", "verbs"), [("available", ["manage"]), ("manageable", []), ("active", [])])
def test_a_retired_node_says_so(fake: Fake, hardware: IronicHardware, state: str, verbs: list[str]) -> None:
    """
    Ironic's own flag follows ours, and goes again; an available node is led to manageable, where Nova cannot have it.
    """
    fake.add(SERVER, state)

    hardware.mark(TARGET, Marks(retired=True, retired_reason="old"))
    node = fake.nodes[SERVER]
    assert (node["retired"], node["retired_reason"], fake.verbs()) == (True, "old", verbs)
    hardware.mark(TARGET, Marks())
    assert node["retired"] is False


def test_what_somebody_else_marked_stays(fake: Fake, hardware: IronicHardware) -> None:
    """
    A flag that we did not set is not ours to take away.
    """
    fake.add(SERVER, "active", retired=True, protected=True)

    hardware.mark(TARGET, Marks())

    assert (fake.nodes[SERVER]["retired"], fake.nodes[SERVER]["protected"]) == (True, True)
    assert fake.asked == []


def test_a_retired_node_is_cleaned_and_kept(fake: Fake, hardware: IronicHardware) -> None:
    """
    Given back, Ironic leads it to manageable instead of available: that is as good an end of the clean.
    """
    fake.add(SERVER, "active")
    hardware.mark(TARGET, Marks(retired=True, retired_reason="old"))

    reading = done(fake, hardware, JobKind.CLEAN, "j1")

    assert (reading.phase, [disk.serial for disk in reading.disks]) == (JobPhase.PASSED, ["S1"])
    assert fake.nodes[SERVER]["provision_state"] == "manageable"


def test_a_retired_node_in_quarantine_is_cleaned_all_the_same(fake: Fake, hardware: IronicHardware) -> None:
    """
    Ironic cleans no retired node from manageable: the flag goes for as long as that takes.
    """
    fake.add(SERVER, "manageable")
    hardware.mark(TARGET, Marks(retired=True, retired_reason="old"))

    assert done(fake, hardware, JobKind.CLEAN, "j1").phase is JobPhase.PASSED
    hardware.mark(TARGET, Marks(retired=True, retired_reason="old"))
    assert (fake.nodes[SERVER]["retired"], fake.nodes[SERVER]["provision_state"]) == (True, "manageable")


def test_a_protected_node_says_so_and_lets_us_undeploy(fake: Fake, hardware: IronicHardware) -> None:
    """
    Ironic's own flag follows ours; a job that ours allows is not refused for a flag that has not followed yet.
    """
    fake.add(SERVER, "active")

    hardware.mark(TARGET, Marks(protected=True, protected_reason="the database"))
    assert (fake.nodes[SERVER]["protected"], fake.nodes[SERVER]["protected_reason"]) == (True, "the database")
    assert done(fake, hardware, JobKind.CLEAN, "j1").phase is JobPhase.PASSED
    assert fake.nodes[SERVER]["protected"] is False


def test_a_console_is_opened_and_told(fake: Fake, hardware: IronicHardware) -> None:
    """
    Asked for once, told as Ironic has it; asked for again, it is told as it is.
    """
    fake.add(SERVER, "active")
    fake.console = "tcp://192.0.2.9:10023"

    found = hardware.console(TARGET)
    again = hardware.console(TARGET)

    assert (found.type, found.url) == (again.type, again.url) == ("socat", "tcp://192.0.2.9:10023")
    assert "192.0.2.9" not in repr(found)
    assert [body for _, path, body in fake.asked if path.endswith("/console")] == [{"enabled": True}]


def test_a_console_that_there_is_not_is_said_so(fake: Fake, hardware: IronicHardware) -> None:
    """
    Its own reason, with what to give the node.
    """
    fake.add(SERVER, "active")

    with pytest.raises(ConsoleNotOffered) as caught:
        hardware.console(TARGET)

    assert "console-interface" in caught.value.remedy


@pytest.mark.parametrize("kind", [JobKind.CLEAN, JobKind.INSPECT, JobKind.MANUAL_CLEAN])
def test_a_console_does_not_outlive_its_instance(fake: Fake, hardware: IronicHardware, kind: JobKind) -> None:
    """
    Ironic would start it again with the next deployment, at the same address: it is closed before the next job.
    """
    fake.add(SERVER, "active")
    fake.console = "tcp://192.0.2.9:10023"
    hardware.console(TARGET)

    done(fake, hardware, kind, "j1")

    assert fake.nodes[SERVER]["console_enabled"] is False
    asked = [path if body is None else body for _, path, body in fake.asked]
    closed = asked.index({"enabled": False})
    assert closed < min(index for index, body in enumerate(asked) if isinstance(body, dict) and "target" in body)


def test_a_console_that_never_was_keeps_nobody_waiting(fake: Fake, hardware: IronicHardware) -> None:
    """
    Asked for where there is none: what comes next begins all the same.
    """
    fake.add(SERVER, "manageable")
    with pytest.raises(ConsoleNotOffered):
        hardware.console(TARGET)

    assert done(fake, hardware, JobKind.CLEAN, "j1").phase is JobPhase.PASSED


def test_a_rescue_keeps_its_tenants_console(fake: Fake, hardware: IronicHardware) -> None:
    """
    The same tenant's, and what he looks with.
    """
    fake.add(SERVER, "active")
    fake.console = "tcp://192.0.2.9:10023"
    hardware.console(TARGET)

    done(fake, hardware, JobKind.RESCUE, "j1")

    assert fake.nodes[SERVER]["console_enabled"] is True


def test_a_node_that_is_not_there_is_not_marked(hardware: IronicHardware) -> None:
    """
    A server that was never provided is unknown to Ironic, and nobody there needs to be told.
    """
    hardware.mark(TARGET, Marks(retired=True, retired_reason="old"))


def test_what_ironic_repeats_of_arguments_is_left_out(fake: Fake, hardware: IronicHardware) -> None:
    """
    Its error quotes the step whole, as genuine Ironic does; ours names the step alone.
    """
    fake.add(SERVER, "manageable")
    fake.failing.add("cleaning")
    fake.complains = "no such clean step: {'interface': 'raid', 'step': 'x', 'args': {'k': {'p': 'pw1'}}}"

    reading = done(fake, hardware, JobKind.MANUAL_CLEAN, "j1")

    assert "'step': 'x'" in reading.message
    assert "pw1" not in reading.message


def _order() -> JobOrder:
    return JobOrder(JobKind.MANUAL_CLEAN, steps=(CleanStep("raid", "dance"),))
