# SPDX-License-Identifier: Apache-2.0
"""What tests of the Ironic backend ask for, and how they wait for its end."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest

from services.lifecycle.backends import ironic_api
from services.lifecycle.backends.ironic import IronicHardware
from services.lifecycle.bmc import Bmc
from services.lifecycle.ports import CleanStep, ImageOrder, JobKind, JobOrder, JobPhase, JobReading, Target
from tests.lifecycle.backends.fake_ironic import Fake

SERVER = "00000000-0000-4000-8000-000000000001"
TARGET = Target(SERVER, fence=1)
PASSWORD, USER_DATA = "correct-horse", b"#cloud-config tenant-secret"
IMAGE = ImageOrder("images/debian", "http://images.example/debian.raw", "sha256:" + "ab" * 32)
DRIVE = json.dumps(
    {"meta_data": {"hostname": "web"}, "network_data": {}, "user_data": base64.b64encode(USER_DATA).decode()}
).encode()
ORDERS = {
    JobKind.INSPECT: JobOrder(JobKind.INSPECT),
    JobKind.CLEAN: JobOrder(JobKind.CLEAN, disks=("S1",)),
    JobKind.MANUAL_CLEAN: JobOrder(JobKind.MANUAL_CLEAN, steps=(CleanStep("raid", "create", '{"a": [1]}'),)),
    JobKind.DEPLOY: JobOrder(JobKind.DEPLOY, image=IMAGE, config_drive=DRIVE),
    JobKind.RESCUE: JobOrder(JobKind.RESCUE, config_drive=DRIVE),
}


class Login:
    """Knows one BMC."""

    def of(self, server: str) -> Bmc:
        return Bmc("192.0.2.7", 0, "redfish", "root", PASSWORD)


class StepClock:
    """Goes on a second at each look."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        self.time += timedelta(seconds=1)
        return self.time


def impatient(monkeypatch: pytest.MonkeyPatch, *, call: float = 3.0, locked: float | None = None) -> None:
    """No call takes longer than *call* seconds, nor waits longer than *locked* for a node that somebody holds."""
    import openstack  # noqa: F401 -- it takes seconds, which are none of the call's here

    monkeypatch.setattr(ironic_api, "CALL_SECONDS", call)
    if locked is not None:
        monkeypatch.setattr(ironic_api, "_LOCKED_SECONDS", locked)


def done(fake: Fake, hardware: IronicHardware, kind: JobKind, request_id: str) -> JobReading:
    """Starts a job as the worker does, and looks until it stands."""
    hardware.start_job(TARGET, ORDERS[kind], request_id=request_id)
    for _ in range(20):
        reading = hardware.read_job(TARGET, request_id=request_id)
        if reading.phase is not JobPhase.RUNNING:
            return reading
    pytest.fail("it never ends")
