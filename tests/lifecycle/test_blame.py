# SPDX-License-Identifier: Apache-2.0
"""Who is said to be silent."""

from __future__ import annotations

import pytest

from bms.lifecycle.v1 import instance_pb2
from tests.lifecycle.rig import BLUE, WEB, Rig


def test_who_is_silent_is_named(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Addresses rest only once network has read the ports again: a network that is silent then is not ipam's fault.
    """
    uuid = rig.active(BLUE)
    held_by = rig.addresses.held_by

    def held_and_then_silent(project: str, owner: str) -> object:
        rig.networks.silent = True
        return held_by(project, owner)

    monkeypatch.setattr(rig.addresses, "held_by", held_and_then_silent)
    rig.ok("DetachNetwork", instance_pb2.DetachNetworkRequest(name=WEB, network=BLUE))
    rig.pass_time(10, 0.5)
    wait = rig.server(uuid).wait
    monkeypatch.undo()
    rig.networks.silent = False
    rig.settle()

    assert wait is not None
    assert wait.code == "NETWORK_SILENT"
    assert rig.server(uuid).leases == ()
