# SPDX-License-Identifier: Apache-2.0
"""What leads out of quarantine, and what does not."""

from __future__ import annotations

import grpc

from bms.lifecycle.v1 import server_status_pb2
from services.lifecycle.domain.states import State
from services.verifier.verdict import Verdict
from tests.lifecycle.rig import Crash, Rig
from tests.lifecycle.test_crashes import quarantine
from tests.support.judging import judged, stored_events
from tests.support.wire import admin, reason


def died_reading(rig: Rig) -> bool:
    """The worker dies after it has read the ports, and another takes over."""

    def at_read(label: str, when: str) -> None:
        if (label, when) == ("network.read", "after"):
            raise Crash(label)

    return rig.killed_at(at_read)


def test_ports_that_were_read_one_by_one_lead_nowhere(rig: Rig) -> None:
    """
    While its ports are cut the switches fall silent in turn: each port was read in quarantine once, and at no time
    both; whoever takes over then sees the second. It is led out when one reading has shown both.
    """
    uuid = rig.available()
    first, second = (port.name for port in rig.server(uuid).ports)
    rig.networks.unreadable = {first, second}
    quarantine(rig, uuid)
    rig.settle(rounds=20)
    rig.networks.unreadable = {second}
    rig.pass_time(120)
    rig.networks.unreadable = {first}
    rig.pass_time(120)
    assert died_reading(rig)
    rig.pass_time(120)

    assert "server.taken_over" in rig.types(uuid)
    recover = server_status_pb2.RecoverServerRequest(name=f"servers/{uuid}")
    refused = rig.wire.call("RecoverServer", recover, caller=admin())
    assert (refused.code, reason(refused.status)) == (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")

    rig.networks.unreadable = set()
    rig.settle()
    rig.ok("RecoverServer", recover, admin())
    rig.settle()
    assert rig.server(uuid).state is State.AVAILABLE
    report = judged("lifecycle", stored_events(rig.database, rig.log))[f"servers/{uuid}"]
    assert (report.verdict, report.findings) == (Verdict.PASS, ())
