# SPDX-License-Identifier: Apache-2.0
"""Whoever takes a server out of what was being done to it ends that operation: nobody waits for it in vain."""

from __future__ import annotations

from bms.lifecycle.v1 import server_status_pb2
from services.lifecycle.domain.states import State
from tests.lifecycle.rig import Rig
from tests.support.wire import admin


def waiting_for_power(rig: Rig) -> tuple[str, str]:
    """A server that an administrator set aside, cut off, with a BMC that is silent; and his operation."""
    uuid = rig.available()
    rig.hardware.machine(uuid).silent = True
    request = server_status_pb2.QuarantineServerRequest(name=f"servers/{uuid}", reason="smoke")
    operation = rig.ok("QuarantineServer", request, admin())
    rig.pass_time(30)
    assert (rig.server(uuid).state, rig.server(uuid).isolated) == (State.QUARANTINED, True)
    assert not rig.operation(operation)[0].done
    return uuid, operation


def test_recovering_ends_the_quarantine_it_takes_over(rig: Rig) -> None:
    """
    Led out of quarantine while its power is still waited for: the operation of the quarantine ends and says why.
    """
    uuid, operation = waiting_for_power(rig)

    rig.hardware.machine(uuid).silent = False
    rig.ok("RecoverServer", server_status_pb2.RecoverServerRequest(name=f"servers/{uuid}"), admin())
    ended, _ = rig.operation(operation)
    assert ended.done
    assert "led out of quarantine" in ended.error.message

    rig.settle()
    assert rig.server(uuid).state is State.AVAILABLE


def test_deleting_ends_the_quarantine_it_takes_over(rig: Rig) -> None:
    """
    The same when inventory deletes the server meanwhile.
    """
    uuid, operation = waiting_for_power(rig)

    rig.inventory.tell(uuid, "server.deleting")
    rig.hear()
    rig.settle()
    ended, _ = rig.operation(operation)
    assert ended.done
    assert "deleted from inventory" in ended.error.message
    assert rig.server(uuid).closed
