# SPDX-License-Identifier: Apache-2.0
"""Whom a wish for a port is meant for, where a controller of the server's moves ports too."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from bms.lifecycle.v1 import instance_pb2, server_status_pb2
from services.lifecycle.domain.server import PortClass
from services.lifecycle.peers import PortWish, Purpose
from tests.lifecycle.rig import BLUE, WEB, Rig
from tests.support.wire import admin

Asked = list[tuple[PortClass, Purpose]]
QUARANTINE, TENANT = PortClass.QUARANTINE, PortClass.TENANT


@pytest.fixture
def asked(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What network was asked, and as what, in order, repetitions once."""
    said: Asked = []
    attach = rig.networks.attach

    def heard(server: str, wishes: tuple[PortWish, ...], *rest: Any) -> None:
        said.extend((wish.port_class, wish.purpose) for wish in wishes)
        attach(server, wishes, *rest)

    monkeypatch.setattr(rig.networks, "attach", heard)
    return said


def drained(asked: Asked) -> Asked:
    said, asked[:] = [one for one, _ in itertools.groupby(asked)], []
    return said


def test_a_life_says_of_each_wish_whose_it_is(rig: Rig, asked: Asked) -> None:
    """
    What puts a server onto a private network, and takes it off after a clean, is the controller's; what takes off all
    else that it left or a tenant has, and what brings the server onto a tenant's network, is network's.
    """
    uuid = rig.active(BLUE)
    said = drained(asked)
    assert said[-3:] == [
        (PortClass.PROVISIONING, Purpose.STEP), (QUARANTINE, Purpose.CUT), (TENANT, Purpose.RESTORE),
    ]  # fmt: skip
    assert {purpose for _, purpose in said[:-2]} == {Purpose.STEP}

    rig.ok("StopInstance", instance_pb2.StopInstanceRequest(name=WEB))
    rig.settle()
    assert drained(asked) == [(QUARANTINE, Purpose.CUT)]
    rig.ok("StartInstance", instance_pb2.StartInstanceRequest(name=WEB))
    rig.settle()
    assert drained(asked) == [(TENANT, Purpose.RESTORE)]

    rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB))
    rig.settle()
    assert drained(asked) == [
        (QUARANTINE, Purpose.CUT), (PortClass.CLEANING, Purpose.STEP), (QUARANTINE, Purpose.STEP),
    ]  # fmt: skip
    assert rig.server(uuid).isolated


def test_whatever_a_server_is_on_is_cut_when_it_is_set_aside(rig: Rig, asked: Asked) -> None:
    """
    Nobody else takes it off for that.
    """
    uuid = rig.active(BLUE)
    drained(asked)
    rig.ok("QuarantineServer", server_status_pb2.QuarantineServerRequest(name=f"servers/{uuid}", reason="x"), admin())
    rig.settle()

    assert drained(asked) == [(QUARANTINE, Purpose.CUT)]
