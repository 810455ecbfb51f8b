# SPDX-License-Identifier: Apache-2.0
"""A server that is set aside while its switch does not answer: offered to nobody and powered off in the meantime."""

from __future__ import annotations

import pytest

from bms.lifecycle.v1 import server_status_pb2
from services.lifecycle.domain.server import Power
from services.lifecycle.domain.states import State
from tests.lifecycle.rig import BLUE, Rig
from tests.support.wire import admin


def set_aside(rig: Rig, uuid: str) -> str:
    """An administrator sets it aside; its switches are dead."""
    for port in rig.server(uuid).ports:
        rig.networks.deaf.add(port.name)
        rig.networks.unreadable.add(port.name)
    request = server_status_pb2.QuarantineServerRequest(name=f"servers/{uuid}", reason="smoke")
    return rig.ok("QuarantineServer", request, admin())


def mend(rig: Rig) -> None:
    rig.networks.deaf.clear()
    rig.networks.unreadable.clear()


def test_a_server_whose_switch_is_dead_is_powered_off(rig: Rig) -> None:
    """
    Its ports cannot be cut: it is powered off, which is asked for in the log before it is done, and read back.
    """
    uuid = rig.active(BLUE)
    assert rig.hardware.machine(uuid).on
    operation = set_aside(rig, uuid)
    rig.pass_time(30)

    server = rig.server(uuid)
    assert (server.state, server.isolated, server.power) == (State.QUARANTINED, False, Power.OFF)
    assert not rig.hardware.machine(uuid).on
    assert not rig.operation(operation)[0].done
    assert server.wait is not None
    assert server.wait.code == "FABRIC_SILENT"
    types = rig.types(uuid)[len(rig.types(uuid)) - rig.types(uuid)[::-1].index("port.detach_requested") - 1 :]
    assert types.count("power.requested") == types.count("power.observed") == 1
    assert types.index("power.requested") < types.index("power.observed")

    mend(rig)
    rig.settle()
    assert rig.server(uuid).isolated
    assert rig.operation(operation)[0].done


def test_a_server_whose_switch_is_dead_is_offered_to_nobody(rig: Rig) -> None:
    """
    A free one is taken out of inventory's pool at once, not when its switch answers.
    """
    uuid = rig.available()
    set_aside(rig, uuid)
    rig.pass_time(30)

    assert not rig.server(uuid).isolated
    assert not rig.inventory.pool[uuid].available
    assert rig.inventory.pool[uuid].reason == "QUARANTINED"


@pytest.mark.parametrize("silent", ["BMC", "inventory"])
def test_what_cannot_be_done_meanwhile_holds_up_nothing(rig: Rig, silent: str) -> None:
    """
    The BMC or inventory is silent too: the wait is for the switch, and once that answers, the ports are cut.
    """
    uuid = rig.active(BLUE) if silent == "BMC" else rig.available()
    rig.hardware.machine(uuid).silent = silent == "BMC"
    rig.inventory.silent = silent == "inventory"
    set_aside(rig, uuid)
    rig.pass_time(30)

    server = rig.server(uuid)
    assert server.wait is not None
    assert server.wait.code == "FABRIC_SILENT"
    assert ("nor can it be powered off" in server.wait.reason) == (silent == "BMC")
    mend(rig)
    rig.pass_time(60)
    assert rig.server(uuid).isolated
