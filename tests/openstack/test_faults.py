# SPDX-License-Identifier: Apache-2.0
"""What fails on a genuine Ironic ends active, released or in quarantine with a reason, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bms.lifecycle.v1 import instance_pb2
from services.lifecycle.backends.ironic_api import Deadline
from tests.openstack.faults import STORM, FaultyIronic, running_faulty
from tests.openstack.fleet import (
    ACTIVE,
    AVAILABLE,
    QUARANTINED,
    SETTINGS,
    Bmc,
    Fleet,
    furnish,
    logs_are_sound,
    nothing_is_left,
)
from tests.openstack.images import serving
from tests.site.client import wait_for
from tests.site.rig import running_site

pytestmark = [
    pytest.mark.openstack,
    pytest.mark.timeout(1200),
    # Of the SDK's own parts, in the test's client.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"),
]

NAMES = ("deploy", "clean", "rescue", "inspect", "power", "crash", "storm", "teardown")
"""A server for each fault, found by a flavor of its own."""

PASSWORD = "a-bmc's-password"


@pytest.fixture(scope="module")
def ironic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyIronic]:
    """An Ironic that lets anybody in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("no_proxy", "127.0.0.1")
        patch.setenv("NO_PROXY", "127.0.0.1")
        with running_faulty(tmp_path_factory.mktemp("faulty")) as running:
            yield running


@pytest.fixture(scope="module")
def fleet(ironic: FaultyIronic, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Servers that were provided, but for those whose providing is to fail."""
    settings = {**SETTINGS, "BMS_LIFECYCLE_IRONIC_ENDPOINT": ironic.endpoint}
    with serving() as images, running_site(tmp_path_factory.mktemp("site"), settings=settings) as site:
        bmcs = {name: Bmc(1001 + number, "root", PASSWORD) for number, name in enumerate(NAMES)}
        made = furnish(site, ironic.api, images, bmcs)
        ironic.plug_all(made)
        ironic.steer(bmcs["clean"].port, clean="fail")
        ironic.steer(bmcs["inspect"].port, inspect="wait")
        made.provide(*NAMES)
        for name in NAMES:
            if name not in ("clean", "inspect"):
                made.moved(name, AVAILABLE)
        yield made


def test_what_fails_on_the_way_to_available(fleet: Fleet, ironic: FaultyIronic) -> None:
    """
    A clean that fails, an inspection that somebody aborts in Ironic: each is told by its own name.
    """
    wait_for("it waits", lambda: fleet.node("inspect")["provision_state"] == "inspect wait", 60)
    ironic.api.provision(fleet.uuid("inspect"), "abort", Deadline())

    fleet.quarantined("inspect", "INSPECTION_FAILED")
    fleet.quarantined("clean", "DISK_ERASE_FAILED")


def test_what_fails_on_the_way_to_active(fleet: Fleet, ironic: FaultyIronic) -> None:
    """
    An image that cannot be written, and a BMC that falls silent meanwhile: instances fail, servers are set aside.
    """
    ironic.steer(fleet.bmcs["deploy"].port, deploy="fail")
    ironic.steer(fleet.bmcs["power"].port, deploy="sleep:3")
    for name in ("deploy", "power", "rescue", "teardown"):
        fleet.create(name)
    wait_for("it is deployed", lambda: fleet.node("power")["provision_state"] == "deploying", 60)
    ironic.steer(fleet.bmcs["power"].port, power="fail")

    fleet.quarantined("deploy", "IMAGE_WRITE_FAILED")
    fleet.quarantined("power", "IMAGE_WRITE_FAILED", "BMC_SILENT", "POWER_UNKNOWN", "STEP_OVERDUE")
    for name in ("rescue", "teardown"):
        fleet.moved(name, ACTIVE)


def test_what_fails_afterwards(fleet: Fleet, ironic: FaultyIronic) -> None:
    """
    A rescue that fails, and an undeploy that fails in Ironic.
    """
    ironic.steer(fleet.bmcs["rescue"].port, rescue="fail")
    ironic.steer(fleet.bmcs["teardown"].port, teardown="fail")
    request = instance_pb2.RescueInstanceRequest(name="projects/tenant-a/instances/rescue")
    fleet.tenant.call("lifecycle", "RescueInstance", request)
    fleet.delete("teardown")

    fleet.quarantined("rescue", "RESCUE_FAILED")
    fleet.quarantined("teardown", "DISK_ERASE_FAILED", "CLEAN_INCOMPLETE")


def test_a_conductor_that_dies(fleet: Fleet, ironic: FaultyIronic) -> None:
    """
    Killed while it writes an image and started again, Ironic gives the deploy up; we begin it anew, and it ends well.
    """
    ironic.steer(fleet.bmcs["crash"].port, deploy="sleep:60")
    fleet.create("crash")
    wait_for("it is deployed", lambda: fleet.node("crash")["provision_state"] == "deploying", 60)
    ironic.kill()
    ironic.steer(fleet.bmcs["crash"].port)
    ironic.start()

    status = fleet.moved("crash", ACTIVE, QUARANTINED)
    assert status.state == ACTIVE, status


def test_all_recover(fleet: Fleet, ironic: FaultyIronic) -> None:
    """
    Once nothing hinders any more, instances are given back and every server is led out: cleaned, and available.
    """
    for name in ("deploy", "power", "rescue", "crash"):
        ironic.steer(fleet.bmcs[name].port)
        fleet.delete(name)
    aside = [name for name in NAMES if name != "storm"]
    for name in aside:
        ironic.steer(fleet.bmcs[name].port)
    fleet.recovered(*aside)


def test_a_life_in_a_storm(fleet: Fleet, ironic: FaultyIronic) -> None:
    """
    With every tenth request to Ironic refused or lost, before or after it was done, a life ends well or in quarantine.
    """
    ironic.way.share = 0.1
    fleet.create("storm")
    fleet.create("deploy")
    for name in ("storm", "deploy"):
        fleet.moved(name, ACTIVE, QUARANTINED)
        fleet.delete(name)
        fleet.moved(name, AVAILABLE, QUARANTINED)
    ironic.way.share = 0.0

    assert {fate for fate, _, _ in ironic.way.happened} == set(STORM)
    aside = [name for name in ("storm", "deploy") if fleet.status(name).state == QUARANTINED]
    for name in aside:
        fleet.quarantined(name, fleet.status(name).fault)
    fleet.recovered(*aside)


def test_nothing_is_left(fleet: Fleet) -> None:
    """
    No lease but resting ones, no port outside quarantine, no leak between services, nobody's hold in Ironic.
    """
    nothing_is_left(fleet)


def test_the_verifier_finds_nothing(fleet: Fleet) -> None:
    """
    Judged by its log, no server and no address broke an invariant whatever failed; and no secret stands anywhere.
    """
    logs_are_sound(fleet)
