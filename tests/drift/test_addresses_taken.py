# SPDX-License-Identifier: Apache-2.0
"""A machine is given the address of a server: two who have it are told and judged, and nobody's server is taken."""

from __future__ import annotations

from typing import Any

import pytest

from bms.lifecycle.v1 import instance_pb2
from services.kernel.names import stable_uuid
from services.lifecycle.brakes import Brakes
from services.lifecycle.domain.server import Lease
from services.lifecycle.domain.states import State
from services.lifecycle.judging import docket
from services.verifier.verdict import Verdict
from tests.drift.rig import Fleet

pytestmark = pytest.mark.parametrize("hands", ["neutron", "contrail"], indirect=True)
WEB = "projects/demo/instances/web1"


def stream_of(lease: Lease) -> str:
    return f"vrfs/{stable_uuid('vrf', lease.vrf)}/addresses/{lease.address}"


def verdict(fleet: Fleet, lease: Lease) -> Verdict:
    """What is said of an address now."""
    found = fleet.database.read(lambda tx: docket.trial(tx, stream_of(lease)))
    assert found is not None
    return found.verdict


def minute(fleet: Fleet, times: int = 1) -> None:
    """ipam goes round once a minute."""
    for _ in range(times):
        fleet.clock.advance(60)
        fleet.ipam.round()  # type: ignore[attr-defined]  # over a controller
        fleet.judged()


@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
def test_the_address_of_a_server_in_use(fleet: Fleet, hands: Any, stopped: bool) -> None:
    """
    Within a minute it is in both logs, I7 fails, and the diagnosis names who has it and the command. It lasts as long
    as there are two; then the address is held for the server again.
    """
    (uuid,) = fleet.in_use()
    (lease,) = fleet.server(uuid).leases
    if stopped:
        fleet.ok("StopInstance", instance_pb2.StopInstanceRequest(name=WEB))
        fleet.settle()
    minute(fleet)
    assert verdict(fleet, lease) is Verdict.PASS
    holder = hands.take(lease.address)
    minute(fleet)

    assert verdict(fleet, lease) is Verdict.FAIL
    (told,) = fleet.told(uuid, "address.contested")
    assert dict(told.body.facts)["stream"] == stream_of(lease)
    assert holder in told.body.message
    diagnosed = fleet.diagnosed(uuid)
    assert (diagnosed.blocked_on, diagnosed.who_must_act) == ("ADDRESS_CONTESTED", "administrator")
    assert lease.address in diagnosed.meaning
    assert holder in diagnosed.meaning
    assert f"bms event list --service ipam --stream {stream_of(lease)}" in diagnosed.commands
    # No port is where it should not be: nobody's server is taken, and the brake is not asked.
    fleet.patrol()
    assert (fleet.server(uuid).state, fleet.server(uuid).leases) == (State.ACTIVE, (lease,))
    assert fleet.database.read(lambda tx: tx.all("SELECT * FROM brake_signs")) == []
    assert not fleet.database.read(Brakes().is_pulled)
    minute(fleet, 3)
    assert verdict(fleet, lease) is Verdict.FAIL, "it lasts as long as it lasts"
    assert len(fleet.told(uuid, "address.contested")) == 1
    hands.give_back(holder)
    minute(fleet, 2)
    assert verdict(fleet, lease) is Verdict.PASS
    assert fleet.diagnosed(uuid).blocked_on == ""


def test_an_address_that_rests(fleet: Fleet, hands: Any) -> None:
    """
    It is no server's any more: its own verdict fails until its cool-down is over, and then it is the other's. No server
    is told, and none is held up.
    """
    (uuid,) = fleet.in_use()
    (lease,) = fleet.server(uuid).leases
    fleet.delete(WEB)
    minute(fleet)
    holder = hands.take(lease.address)
    minute(fleet)

    assert verdict(fleet, lease) is Verdict.FAIL
    assert fleet.server(uuid).state is State.AVAILABLE
    assert fleet.told(uuid, "address.contested") == []
    fleet.clock.advance(3600)
    minute(fleet, 2)
    assert verdict(fleet, lease) is Verdict.PASS
    hands.give_back(holder)
    minute(fleet)
    assert verdict(fleet, lease) is Verdict.PASS
