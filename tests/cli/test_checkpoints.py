# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bms.event.v1 import event_log_service_pb2_grpc, event_pb2
from services.runtime.checkpoint_servicer import EventLogServicer
from services.runtime.database import open_database
from tests.cli.conftest import Shell
from tests.runtime.signed import SAMPLE, Rig
from tests.support.loopback import running
from tests.support.stores import _sqlite_copy
from tests.support.wire import reader


class Service(EventLogServicer):
    """A genuine log; a test may let it lie."""

    lie = False

    def GetStreamProof(  # noqa: N802 -- the contract's name
        self, request: event_pb2.GetStreamProofRequest, context: object
    ) -> event_pb2.StreamProof:
        proof = super().GetStreamProof(request, context)  # type: ignore[arg-type]  # not looked at
        proof.sequence += self.lie
        return proof


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    database = open_database(_sqlite_copy(SAMPLE, tmp_path / "sample.sqlite"))
    yield Rig(database, tmp_path)
    database.close()


@pytest.fixture
def service(rig: Rig) -> Service:
    return Service("lifecycle", rig.database, rig.checkpointer)


@pytest.fixture
def shell(offline: Shell, service: Service) -> Iterator[Shell]:
    """A shell whose lifecycle serves the rig's log."""
    for login in ("site", "admin"):
        offline.data.token_file(login).write_text("good\n")
    add = event_log_service_pb2_grpc.add_EventLogServiceServicer_to_server
    # The server's own log lines would stand between those of the command.
    with capture_logs(), running([(add, service)], reader()) as server:
        offline.data.write_endpoints({"lifecycle": server.address})
        yield offline


def test_checkpoints_are_listed(shell: Shell, rig: Rig) -> None:
    """
    The newest checkpoints stand last, with their positions and the key that signed them; an empty log says so.
    """
    assert "no events yet" in shell("checkpoint list").err
    for _ in range(3):
        rig.append("servers/a", "servers/b")
        rig.tick_on()

    lines = shell("checkpoint list --limit 2").out.splitlines()
    key = rig.signing_keys()[0].key_id
    assert [line.split()[0] for line in lines] == ["NUMBER", "2", "3"]
    assert (" 6 " in lines[2], key in lines[2]) == (True, True)
    assert [each["number"] for each in json.loads(shell("checkpoint list -o json").out)] == ["1", "2", "3"]


def test_keys_are_listed(shell: Shell, rig: Rig) -> None:
    """
    Each key says from which checkpoint on it signs, and whether the one before speaks for it.
    """
    rig.append("servers/a")
    rig.tick_on()
    rig.keys.rotate()
    rig.append("servers/a")
    rig.tick_on()

    first, second = shell("checkpoint keys").out.splitlines()[1:]
    assert (first.split()[1], first.split()[-1]) == ("1", "first")
    assert (second.split()[1], second.split()[-1]) == ("2", "yes")


def test_a_stream_is_proven(shell: Shell, service: Service, rig: Rig) -> None:
    """
    A proof is checked by whoever asked: one that does not lead to the signed root is refused.
    """
    rig.append("servers/a", "servers/b", "servers/c", "servers/b")
    rig.tick_on()

    said = shell("event proof --stream servers/b")
    assert (said.code, said.out.splitlines()[-1].split()) == (0, ["Proof", "holds"])
    assert shell("event proof --stream servers/z").code == 1
    assert shell("event proof").code == 2

    service.lie = True
    said = shell("event proof --stream servers/b")
    assert said.code == 1
    assert "NOT_PROVEN" in said.err
