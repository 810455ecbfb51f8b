# SPDX-License-Identifier: Apache-2.0
"""A BMC that dies in the middle: while a server is deployed, switched or given back; and comes back."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from bms.ipam.v1 import lease_pb2
from bms.lifecycle.v1 import instance_pb2, server_status_pb2
from services.lifecycle.backends.ironic_api import IronicApi
from tests.openstack.bed import BMC_USER, Bed, running_bed
from tests.openstack.cloud import parts
from tests.openstack.cloud.bmc import configure_bmc
from tests.openstack.cloud.programs import programs
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
    pytest.mark.timeout(1500),
    # Of the SDK's own parts, in the test's client.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"),
]

NAME = "one"
INSTANCE = f"projects/tenant-a/instances/{NAME}"
SILENT = ("BMC_SILENT", "POWER_UNKNOWN")


@dataclass(slots=True)
class Mortal:
    """The one BMC of a bed."""

    bed: Bed
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """Ends it as a power cut would."""
        self.process.kill()
        self.process.wait(10)

    def revive(self) -> None:
        """Starts it again, with what it keeps."""
        (bmc,), folder = self.bed.bmcs, self.bed.folder
        argv, environ = configure_bmc(folder / "bmc1", programs(), 1, bmc.port, bmc.password, folder)
        self.process = parts.start(folder, folder / "bmc1.log", argv, environ)
        parts.listens(bmc.port, folder / "bmc1.log")


@pytest.fixture(scope="module")
def bmc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mortal]:
    """An Ironic of its own, with it."""
    with running_bed(tmp_path_factory.mktemp("bed"), 1) as bed, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OS_CLIENT_CONFIG_FILE", str(bed.clouds))
        for name in ("no_proxy", "NO_PROXY"):
            patch.setenv(name, "127.0.0.1")
        made = Mortal(bed, bed.bmcs[0].process)
        try:
            yield made
        finally:
            parts.end(made.process)


@pytest.fixture(scope="module")
def fleet(bmc: Mortal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Its server, which a tenant has."""
    settings = {
        **SETTINGS,
        # On a busy machine an emulated BMC takes a minute for what a fast clock gives it seconds for.
        "BMS_LIFECYCLE_LIMIT_SCALE": "1",
        "BMS_LIFECYCLE_IRONIC_CLOUD": "bed",
        "BMS_LIFECYCLE_REDFISH_CA": str(bmc.bed.ca),
        "OS_CLIENT_CONFIG_FILE": str(bmc.bed.clouds),
    }
    with serving() as images, running_site(tmp_path_factory.mktemp("site"), settings=settings) as site:
        (real,) = bmc.bed.bmcs
        known = {NAME: Bmc(real.port, BMC_USER, real.password, real.macs)}
        made = furnish(site, IronicApi(cloud="bed"), images, known)
        made.secrets.append(bmc.bed.password)
        made.provide(NAME)
        made.moved(NAME, AVAILABLE, seconds=600)
        made.create(NAME)
        made.moved(NAME, ACTIVE, seconds=600)
        yield made


def test_it_dies_before_a_server_is_switched_off(fleet: Fleet, bmc: Mortal) -> None:
    """
    A stop waits under the BMC's name, says so, and goes on by itself when it is back; the server was never set aside.
    """
    bmc.kill()
    operation = fleet.tenant.call("lifecycle", "StopInstance", instance_pb2.StopInstanceRequest(name=INSTANCE))
    told = wait_for("it is told", lambda: told_of(fleet, "POWER_NOT_OFF", *SILENT), 240)
    assert told.meaning
    assert told.who_must_act
    bmc.revive()

    fleet.tenant.done(operation, 290)
    assert fleet.moved(NAME, ACTIVE).power == server_status_pb2.ServerStatus.POWER_OFF
    again = fleet.tenant.call("lifecycle", "StartInstance", instance_pb2.StartInstanceRequest(name=INSTANCE))
    fleet.tenant.done(again, 290)
    assert fleet.moved(NAME, ACTIVE).power == server_status_pb2.ServerStatus.POWER_ON


def test_it_dies_before_a_server_is_given_back(fleet: Fleet, bmc: Mortal) -> None:
    """
    The tenant is rid of it; the server stays aside, and the address his, until power was read off.
    """
    bmc.kill()
    operation = fleet.delete(NAME)
    status = fleet.moved(NAME, QUARANTINED, seconds=600)
    fleet.tenant.done(operation, 30)
    told = fleet.diagnosis(NAME)
    assert status.fault in SILENT, told
    assert told.meaning
    assert told.who_must_act
    assert leased(fleet) == [INSTANCE]

    bmc.revive()
    wait_for("the address rests", lambda: not leased(fleet), 290)
    fleet.recovered(NAME)


def test_it_dies_while_a_server_is_deployed(fleet: Fleet, bmc: Mortal) -> None:
    """
    The instance fails and the server is set aside for a reason that is told; given back and recovered, it is free.
    """
    fleet.create(NAME)
    wait_for("it is deployed", lambda: fleet.node(NAME)["provision_state"] == "deploying", 120)
    bmc.kill()

    fleet.quarantined(NAME, "IMAGE_WRITE_FAILED", *SILENT, "STEP_OVERDUE")
    bmc.revive()
    fleet.delete(NAME)
    fleet.recovered(NAME)


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


def told_of(fleet: Fleet, *codes: str) -> Any:
    """What people are told, once it is under one of *codes*."""
    told = fleet.diagnosis(NAME)
    return told if told.blocked_on in codes else None


def leased(fleet: Fleet) -> list[str]:
    """Who holds addresses."""
    found = fleet.admin.pages("ipam", "ListLeases", lease_pb2.ListLeasesRequest(parent="projects/-"), "leases")
    return [lease.owner.resource for lease in found if lease.state == lease_pb2.AddressLease.STATE_LEASED]
