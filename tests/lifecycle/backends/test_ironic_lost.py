# SPDX-License-Identifier: Apache-2.0
"""Answers that never come, connections that close, servers that are busy: nothing is done twice, nothing is missed."""

from __future__ import annotations

import pytest

from services.kernel.errors import PeerUnavailable, WrongState
from services.lifecycle.backends.ironic import IronicHardware
from services.lifecycle.backends.ironic_api import Deadline, IronicApi
from services.lifecycle.bmc import Bmc
from services.lifecycle.ports import ImageOrder, JobKind, JobPhase, NotNow, ServerCard, wait_for
from tests.lifecycle.backends.fake_ironic import Fake
from tests.lifecycle.backends.ironic_rig import IMAGE, ORDERS, SERVER, TARGET, StepClock, done

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")


class Kept:
    """A login that Ironic keeps."""

    def of(self, server: str) -> Bmc:
        return Bmc("", 0, "redfish", "", "", kept=True)


STATES = {JobKind.DEPLOY: "available", JobKind.RESCUE: "active"}


@pytest.mark.parametrize("fault", ["lost", "dropped", "broken"])
@pytest.mark.parametrize("kind", [JobKind.INSPECT, JobKind.CLEAN, JobKind.DEPLOY, JobKind.RESCUE])
def test_a_job_is_asked_for_once(fake: Fake, hardware: IronicHardware, kind: JobKind, fault: str) -> None:
    """
    Whether its answer was lost after it was taken, or it never was, the next try finds out; and it runs once.
    """
    fake.looks = 3
    fake.add(SERVER, STATES.get(kind, "manageable"))
    getattr(fake, fault).append("PUT provision")

    with pytest.raises(PeerUnavailable) as caught:
        hardware.start_job(TARGET, ORDERS[kind], request_id="j1")
    reading = done(fake, hardware, kind, "j1")

    assert wait_for(caught.value) == "CONTROLLER_SILENT"
    assert reading.phase is JobPhase.PASSED
    assert len(fake.verbs()) == 1


@pytest.mark.parametrize("begin", ["inspect", "adopt"])
def test_a_verb_that_is_carried_out_late_is_no_refusal(
    fake: Fake, hardware: IronicHardware, begin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The node was read before an earlier request for the same verb was carried out: Ironic refuses the second.
    """
    fake.add(SERVER, "available")
    genuine = IronicApi.provision

    def late(self: IronicApi, uuid: str, target: str, deadline: Deadline, **more: object) -> None:
        if target == "manage":
            genuine(self, uuid, target, deadline)
        genuine(self, uuid, target, deadline, **more)

    monkeypatch.setattr(IronicApi, "provision", late)
    if begin == "adopt":
        hardware.adopt(TARGET, IMAGE, project="")
        assert fake.nodes[SERVER]["provision_state"] == "active"
    else:
        assert done(fake, hardware, JobKind.INSPECT, "j1").phase is JobPhase.PASSED
    assert fake.verbs()[:2] == ["manage", "manage"]


def test_a_verb_that_is_refused_is_told(fake: Fake, hardware: IronicHardware, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where the node has not moved, Ironic's refusal is one.
    """
    fake.add(SERVER, "available")
    refused = IronicApi.provision
    monkeypatch.setattr(IronicApi, "provision", lambda api, uuid, target, at, **_: refused(api, uuid, "rescue", at))

    with pytest.raises(NotNow, match="refuses"):
        hardware.start_job(TARGET, ORDERS[JobKind.INSPECT], request_id="j1")


@pytest.mark.parametrize("fault", ["lost", "dropped", "broken"])
def test_a_reboot_is_asked_for_once(fake: Fake, hardware: IronicHardware, fault: str) -> None:
    """
    Neither lost nor repeated, whatever became of the answer.
    """
    fake.add(SERVER, "active")
    fake.power = "power on"
    fake.nodes[SERVER]["power_state"] = "power on"
    getattr(fake, fault).append("PUT power")

    with pytest.raises(PeerUnavailable):
        hardware.reboot(TARGET, request_id="r1")
    for _ in range(2):
        hardware.reboot(TARGET, request_id="r1")

    assert [body["target"] for _, path, body in fake.asked if path.endswith("/power")] == ["rebooting"]


@pytest.mark.parametrize("fault", [f"GET {SERVER}", f"PATCH {SERVER}"])
def test_a_connection_that_was_closed_is_opened_again(fake: Fake, hardware: IronicHardware, fault: str) -> None:
    """
    What can be repeated is, within the call: servers close idle connections.
    """
    fake.add(SERVER, "manageable")
    fake.dropped.append(fault)

    assert done(fake, hardware, JobKind.CLEAN, "j1").phase is JobPhase.PASSED
    assert fake.dropped == []


def test_a_lock_that_stays_is_a_wait_of_its_own(fake: Fake, hardware: IronicHardware) -> None:
    """
    What Ironic is busy with is not taken for a BMC that is silent.
    """
    fake.add(SERVER, "manageable")
    fake.locked = 1000
    with pytest.raises(PeerUnavailable) as locked:
        hardware.start_job(TARGET, ORDERS[JobKind.CLEAN], request_id="j1")
    fake.locked, fake.looks = 0, 10**6
    fake.add(SERVER, "cleaning")
    with pytest.raises(PeerUnavailable) as busy:
        hardware.start_job(TARGET, ORDERS[JobKind.CLEAN], request_id="j1")
    fake.bmc = "silent"
    fake.add(SERVER, "manageable")
    with pytest.raises(PeerUnavailable) as silent:
        hardware.read_power(TARGET)

    assert [wait_for(each.value) for each in (locked, busy, silent)] == ["CONTROLLER_BUSY"] * 2 + ["BMC_SILENT"]


def test_a_login_that_ironic_keeps_is_left_alone(fake: Fake) -> None:
    """
    Neither driver nor ``driver_info`` is written; a node that is not there cannot be made.
    """
    hardware = IronicHardware(IronicApi(endpoint=fake.url), Kept(), StepClock())
    with pytest.raises(WrongState, match="has no node"):
        hardware.verify(TARGET)
    fake.add(SERVER, "enroll", driver="vendor", driver_info={"vendor_password": "theirs"})
    hardware.verify(TARGET)
    hardware.verify(TARGET)

    node = fake.nodes[SERVER]
    assert (node["driver"], node["driver_info"], node["provision_state"]) == (
        "vendor",
        {"vendor_password": "theirs"},
        "manageable",
    )


def test_an_adoption_that_failed_is_told_and_may_be_asked_for_again(fake: Fake, hardware: IronicHardware) -> None:
    """
    Ironic's reason is given once; the next try adopts.
    """
    fake.add(SERVER, "manageable")
    fake.failing = {"adopting"}
    with pytest.raises(WrongState, match="cannot adopt"):
        hardware.adopt(TARGET, IMAGE, project="p")
    fake.failing = set()
    for _ in range(2):
        hardware.adopt(TARGET, ImageOrder("images/i", "http://i/i", "sha256:00"), project="p")

    assert fake.nodes[SERVER]["provision_state"] == "active"
    assert fake.verbs() == ["adopt", "adopt"]


@pytest.mark.parametrize("state", ["enroll", "clean failed", "rescue"])
def test_an_adoption_begins_nowhere_else(fake: Fake, hardware: IronicHardware, state: str) -> None:
    """
    A node that is elsewhere is left there.
    """
    fake.add(SERVER, state)

    with pytest.raises(WrongState, match=state):
        hardware.adopt(TARGET, IMAGE, project="p")

    assert fake.verbs() == []


def test_ironic_that_is_too_old_says_so(fake: Fake, hardware: IronicHardware) -> None:
    """
    Without deploy steps the image would boot on the wrong network: nothing is asked of such an Ironic.
    """
    fake.newest = "1.68"
    fake.add(SERVER, "available")

    with pytest.raises(PeerUnavailable, match=r"speaks 1\.68 at most, and 1\.69 is the least") as caught:
        hardware.describe(TARGET, ServerCard(), project="")

    assert wait_for(caught.value) == "REFUSED_BY_PEER"
    assert fake.asked == []
