# SPDX-License-Identifier: Apache-2.0
"""Power for administrators: where it may be switched, that it is read back, and that nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest

from bms.lifecycle.v1 import server_status_pb2 as srv
from bms.lifecycle.v1.server_power_pb2 import SetServerPowerRequest as Asked
from services.lifecycle.domain.server import Power
from services.lifecycle.domain.states import State
from tests.lifecycle.rig import Rig
from tests.lifecycle.test_crashes import recover
from tests.lifecycle.test_manual_clean import active, available, enrolled, failed, owing, quarantined, unmanaged
from tests.support.wire import admin, fields, member, reason, remedy

UUID = "00000001-0000-4000-8000-000000000000"
SERVER = f"servers/{UUID}"
READS = {Asked.POWER_ON: Power.ON, Asked.POWER_OFF: Power.OFF, Asked.POWER_REBOOT: Power.ON}


def request(power: Any = Asked.POWER_ON, **more: Any) -> Asked:
    return Asked(name=SERVER, power=power, **more)


@pytest.mark.parametrize("before", [enrolled, quarantined])
@pytest.mark.parametrize("power", READS)
def test_it_is_switched_and_read_back(rig: Rig, before: Callable[[Rig], None], power: Any) -> None:
    """
    What was asked for is what the BMC reads then; state, fault and ports are what they were.
    """
    before(rig)
    was = rig.server(UUID)
    rig.hardware.machine(UUID).on = power == Asked.POWER_OFF
    operation = rig.ok("SetServerPower", request(power), admin())
    rig.settle()
    left = rig.server(UUID)

    assert rig.operation(operation)[0].done
    assert not rig.operation(operation)[0].HasField("error"), rig.operation(operation)[0].error
    assert left.power is READS[power]
    assert rig.hardware.machine(UUID).on is (left.power is Power.ON)
    assert (left.state, left.fault, left.isolated, left.intent) == (was.state, was.fault, was.isolated, None)
    assert rig.types(UUID)[-1] == "power.observed"
    assert rig.hardware.history.count((UUID, "reboot")) == (power == Asked.POWER_REBOOT)


def test_what_was_switched_on_is_no_longer_clean(rig: Rig) -> None:
    """
    Its clean pass is void, in the row as for the verifier; led back to the pool, it is cleaned anew.
    """
    quarantined(rig)
    assert rig.server(UUID).clean_time is not None
    rig.ok("SetServerPower", request(), admin())
    rig.settle()
    assert rig.server(UUID).clean_time is None
    recover(rig, UUID)
    rig.settle()

    assert rig.server(UUID).state is State.AVAILABLE
    assert rig.server(UUID).clean_time is not None
    assert not rig.hardware.machine(UUID).on


@pytest.mark.parametrize("before", [enrolled, quarantined])
def test_a_bmc_that_is_silent_or_refuses_changes_nothing(rig: Rig, before: Callable[[Rig], None]) -> None:
    """
    The operation fails and says why; the server is where it was, and can be asked again.
    """
    before(rig)
    was = rig.server(UUID).state
    machine = rig.hardware.machine(UUID)
    machine.login_refused = True
    refused = rig.ok("SetServerPower", request(), admin())
    rig.settle()
    assert rig.operation(refused)[0].error.message
    assert (rig.server(UUID).state, rig.server(UUID).intent) == (was, None)

    machine.login_refused, machine.silent = False, True
    silent = rig.ok("SetServerPower", request(), admin())
    rig.pass_time(1500)
    assert "does not answer" in rig.operation(silent)[0].error.message
    assert (rig.server(UUID).state, rig.server(UUID).intent) == (was, None)

    machine.silent = False
    rig.ok("SetServerPower", request(), admin())
    rig.settle()
    assert rig.server(UUID).power is Power.ON


@pytest.mark.parametrize("before", [available, active, failed, owing, unmanaged])
@pytest.mark.parametrize("power", READS)
def test_what_is_refused_says_what_to_do(rig: Rig, before: Callable[[Rig], None], power: Any) -> None:
    """
    An instance's server by its instance's verbs; an available one stays off; what is only on record is not touched.
    """
    before(rig)
    version = rig.server(UUID).version
    reply = rig.wire.call("SetServerPower", request(power), caller=admin())

    assert reply.code is grpc.StatusCode.FAILED_PRECONDITION, reply.status
    assert remedy(reply.status)
    if before is active:
        verb = {Asked.POWER_ON: "start", Asked.POWER_OFF: "stop", Asked.POWER_REBOOT: "reboot"}[power]
        assert f"bms instance {verb} web --project demo" in remedy(reply.status)
    assert rig.server(UUID).version == version


def test_form_rights_and_company(rig: Rig) -> None:
    """
    A power that there is, by administrators, of what was seen, one at a time; in maintenance too.
    """
    enrolled(rig)
    rig.wire.ok("SetMaintenance", srv.SetMaintenanceRequest(name=SERVER, reason="fan"), caller=admin())
    nothing = rig.wire.call("SetServerPower", request(Asked.POWER_UNSPECIFIED), caller=admin())
    assert (nothing.code, fields(nothing.status)) == (grpc.StatusCode.INVALID_ARGUMENT, ["power"])
    tenant = rig.wire.call("SetServerPower", request(), caller=member("demo"))
    assert tenant.code is grpc.StatusCode.PERMISSION_DENIED
    stale = rig.wire.call("SetServerPower", request(etag='"0"'), caller=admin())
    assert stale.code is grpc.StatusCode.ABORTED
    planned = rig.wire.ok("SetServerPower", request(validate_only=True), caller=admin())
    assert (planned.name, planned.done) == ("", True)

    rig.ok("SetServerPower", request(), admin())
    busy = rig.wire.call("SetServerPower", request(), caller=admin())
    assert (busy.code, reason(busy.status)) == (grpc.StatusCode.ABORTED, "BUSY")
