# SPDX-License-Identifier: Apache-2.0
"""Frames of one session, without a socket: who introduces himself, and what is taken of whom."""

from __future__ import annotations

import pytest

from telemetry.sandesh.errors import DecodeError
from telemetry.sandesh.framing import frame
from telemetry.sandesh.reception import Outcome, Reception, answer
from tests.telemetry.sandesh.collecting import HELLO, G, hello
from tests.telemetry.sandesh.vectors import BY_NAME, FULL


def take(reception: Reception, data: bytes) -> Outcome:
    outcome, _ = reception.take(data)
    return outcome


def test_order_of_a_session() -> None:
    """
    Data before the introduction is dropped, a second introduction ignored; the session goes on both times.
    """
    reception = Reception()

    outcomes = [take(reception, data) for data in (FULL.frame, HELLO, FULL.frame, HELLO, FULL.frame)]

    assert outcomes == [Outcome.TOO_EARLY, Outcome.INTRODUCED, Outcome.MESSAGE, Outcome.REPEATED, Outcome.MESSAGE]


def test_introduction_is_understood() -> None:
    """
    An introduction of the reference generator says who it is and what it has.
    """
    reception = Reception()
    reception.take(BY_NAME["23-ctrl-c2s"].frame)

    told = reception.announcement
    assert told is not None
    assert str(told.identity) == G
    assert (told.connections, told.pid, told.http_port) == (3, 4242, 8110)
    assert told.types == ("SandeshModuleClientTrace", "NodeStatusUVE", "IronicNodeInfo")


def test_header_without_a_name() -> None:
    """
    A Python generator's introduction may have nobody in its header; its body counts.
    """
    nobody = HELLO.replace(b">cfg-node-1.example.net</Source>", b"></Source>").replace(b"1400", b"1378")
    reception = Reception()

    assert take(reception, nobody) is Outcome.INTRODUCED
    assert reception.announcement is not None
    assert str(reception.announcement.identity) == G


@pytest.mark.parametrize(
    "data",
    [
        hello(node_type_name=""),
        hello(instance_id_name=""),
        hello(source=None),
        hello(module_name="a:b"),
        hello(module_name="a&b"),
        hello().replace(b">4242<", b">many<"),
        BY_NAME["24-ctrl-s2c-empty"].frame,
        hello().replace(b"uve_types", b"pid_types").replace(b'type="list"', b'type="bool"'),
        frame(
            HELLO[29:-10].replace(b"<SandeshCtrlClientToServer", b"<X").replace(b"</SandeshCtrlClientToServer", b"</X")
        ),
    ],
    ids=["no type", "no instance", "no source", "colon", "escape", "no pid", "an answer", "no list", "other name"],
)
def test_introductions_of_nobody(data: bytes) -> None:
    """
    An introduction that a collector cannot use ends the session. (Some crash the reference.)
    """
    with pytest.raises(DecodeError):
        Reception().take(data)


def test_answer() -> None:
    """
    The answer is byte for byte the reference's, when that knows nothing either.
    """
    for name, success in (("24-ctrl-s2c-empty", True), ("26-ctrl-s2c-fail", False)):
        vector = BY_NAME[name]

        assert vector.frame == answer(vector.sender, vector.header.timestamp, vector.header.sequence, success=success)
