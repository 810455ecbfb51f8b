# SPDX-License-Identifier: Apache-2.0
"""A session goes as its table says, and introduces itself."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from telemetry.sandesh.actions import Action, CancelTimer, Connect, Disconnect, SetTimer, Write
from telemetry.sandesh.decode import decode
from telemetry.sandesh.encode import encode
from telemetry.sandesh.header import header_of
from telemetry.sandesh.messages import IRONIC_NODE_INFO, SANDESH_CTRL_SERVER_TO_CLIENT
from telemetry.sandesh.schema import Hint
from telemetry.sandesh.session import ClientSession
from telemetry.sandesh.states import TRANSITIONS, Event, State, after
from telemetry.sandesh.tree import fields
from tests.telemetry.sandesh.sessions import (
    ACCEPTED,
    NOW,
    REFUSED,
    SECOND,
    THEM,
    B,
    C,
    bring,
    kinds,
    overflow,
    sent,
    target,
    timer,
)
from tests.telemetry.sandesh.vectors import BY_NAME

CAUSES: dict[Event, Callable[[ClientSession, int], list[Action]]] = {
    Event.START: lambda found, now: found.start(now),
    Event.STOP: lambda found, now: found.stop(now),
    Event.CONNECTED: lambda found, now: found.connected(found.attempt, now),
    Event.CONNECT_FAILED: lambda found, now: found.connect_failed(found.attempt, now),
    Event.CLOSED: lambda found, now: found.closed(found.attempt, now),
    Event.CTRL_ACCEPTED: lambda found, now: found.received(found.attempt, ACCEPTED, now),
    Event.CTRL_REFUSED: lambda found, now: found.received(found.attempt, REFUSED, now),
    Event.BAD_DATA: lambda found, now: found.received(found.attempt, b"garbage", now),
    Event.TIMER: lambda found, now: found.expired(found._timer, now),
    Event.MOVED: lambda found, now: found.move((C,), now),
    Event.OVERFLOW: overflow,
}


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)), ids=lambda value: value.name if value else "")
def test_only_what_the_table_allows(state: State, event: Event) -> None:
    """
    An event leads where the row of its state says; one that is not in the row changes nothing and does nothing.
    """
    found = bring(state)
    attempt = found.attempt

    actions = CAUSES[event](found, NOW + SECOND)

    expected = TRANSITIONS[state].get(event)
    assert after(state, event) is expected
    if expected is None:
        assert (found.state, found.attempt, actions) == (state, attempt, [])
    else:
        assert found.state is expected


@pytest.mark.parametrize(
    ("state", "event"),
    [(state, event) for state, row in TRANSITIONS.items() for event in row],
    ids=lambda value: value.name if value else "",
)
def test_every_transition_does_its_part(state: State, event: Event) -> None:
    """
    Whoever leaves a connection closes it, whoever enters a state sets its timer, and a stopped session sets none.
    """
    found = bring(state)
    connected = state not in {State.STOPPED, State.IDLE}

    actions = CAUSES[event](found, NOW + SECOND)

    done = kinds(actions)
    assert (Disconnect in done) is (connected and found.state in {State.IDLE, State.STOPPED, State.CONNECT})
    assert (Connect in done) is (found.state is State.CONNECT)
    if found.state is State.STOPPED:
        assert CancelTimer in done
        assert SetTimer not in done
    elif (state, event) != (State.ESTABLISHED, Event.CTRL_ACCEPTED):
        assert done.count(SetTimer) == 1


@pytest.mark.parametrize("late", [Event.CONNECTED, Event.CONNECT_FAILED, Event.CLOSED, Event.BAD_DATA, Event.TIMER])
@pytest.mark.parametrize("state", State)
def test_late_news(state: State, late: Event) -> None:
    """
    News of an old connection or an old timer is recognised by its number, whatever the state.
    """
    found = bring(state)
    before = (found.state, found.attempt)
    old = found.attempt - 1

    actions = {
        Event.CONNECTED: lambda: found.connected(old, NOW),
        Event.CONNECT_FAILED: lambda: found.connect_failed(old, NOW),
        Event.CLOSED: lambda: found.closed(old, NOW),
        Event.BAD_DATA: lambda: found.received(old, b"garbage", NOW),
        Event.TIMER: lambda: found.expired(found._timer - 1, NOW),
    }[late]()

    assert (before, []) == ((found.state, found.attempt), actions)


# --- the handshake -------------------------------------------------------------------------------


def test_introduction() -> None:
    """
    The first message after connecting is ours, byte for byte what the reference generator sends, but for the types.
    """
    found = bring(State.CONNECT)
    vector = BY_NAME["22-ctrl-c2s-no-uves"]

    write, _ = found.connected(found.attempt, vector.header.timestamp)

    assert isinstance(write, Write)
    message = decode(write.data)
    types = ["SandeshModuleClientTrace", "NodeStatusUVE", "IronicNodeInfo"]
    assert vector.header == message.header
    assert vector.values | {"uve_types": types} == fields(message.body)
    assert write.data == encode(vector.header, vector.type, vector.values | {"uve_types": types})


def test_introductions_count() -> None:
    """
    Each introduction says how many there were, and has the next number.
    """
    found = bring(State.CLIENT_INIT)
    found.closed(found.attempt, NOW)
    found.expired(found._timer, NOW)

    (hello,) = sent(found.connected(found.attempt, NOW))

    assert fields(hello.body)["sucessful_connections"] == 2
    assert hello.header.sequence == 2


def test_answer_brings_everything() -> None:
    """
    After the collector's answer it gets all objects, each whole and marked as a repetition, ours among them.
    """
    found = bring(State.CLIENT_INIT)
    found.uve(IRONIC_NODE_INFO, {"name": "a", "driver": "ipmi"}, NOW, 0)
    found.uve(IRONIC_NODE_INFO, {"name": "a", "power_state": "on"}, NOW, 0)

    messages = sent(found.received(found.attempt, ACCEPTED, NOW))

    assert [message.body.name for message in messages] == [
        "SandeshModuleClientTrace",
        "NodeStatusUVE",
        "IronicNodeInfo",
    ]
    assert {message.header.hints for message in messages} == {Hint.KEY | Hint.SYNC}
    assert fields(messages[2].body) == {"data": {"name": "a", "driver": "ipmi", "power_state": "on"}}
    assert messages[2].header.sequence == 2
    state: Any = fields(messages[0].body)["data"]
    assert state["name"] == "cfg-node-1.example.net:Config:ironic-notification-manager:0"
    assert state["client_info"] == {
        "status": "Established",
        "successful_connections": 1,
        "pid": 4242,
        "http_port": 0,
        "start_time": 0,
        "collector_name": "analytics-1",
        "collector_ip": "10.0.0.1:8086",
        "collector_list": ["10.0.0.1:8086", "10.0.0.2:8086"],
    }
    status: Any = fields(messages[1].body)["data"]
    (process,) = status["process_status"]
    assert (process["state"], process["description"]) == ("Functional", "")
    assert process["connection_infos"] == [
        {
            "type": "Collector",
            "name": "Collector",
            "server_addrs": ["10.0.0.1:8086"],
            "status": "Up",
            "description": "ClientInit to Established on EvSandeshCtrlMessageRecv",
        }
    ]


def answer(*types: tuple[str, int], success: bool = True) -> bytes:
    message = SANDESH_CTRL_SERVER_TO_CLIENT
    rows = [{"type_name": name, "seq_num": number} for name, number in types]
    return encode(header_of(message, THEM, NOW, 1), message, {"type_info": rows, "success": success})


def test_answer_that_knows_something() -> None:
    """
    What the collector says it has is not sent again.
    """
    found = bring(State.CLIENT_INIT)
    for name in "abc":
        found.uve(IRONIC_NODE_INFO, {"name": name}, NOW, 0)

    messages = sent(found.received(found.attempt, answer(("IronicNode", 2)), NOW))

    assert [message.header.sequence for message in messages if message.body.name == "IronicNodeInfo"] == [3]


def test_answer_in_pieces() -> None:
    """
    The answer may come split, and after messages that do not concern a generator.
    """
    found = bring(State.CLIENT_INIT)
    other = BY_NAME["01-ironic-full"].frame
    for byte in other + ACCEPTED[:-1]:
        assert found.received(found.attempt, bytes([byte]), NOW) == []

    found.received(found.attempt, ACCEPTED[-1:], NOW)

    assert found.state is State.ESTABLISHED


def test_later_answer_resyncs() -> None:
    """
    A collector may ask again at any time, naming what it has by now.
    """
    found = bring(State.ESTABLISHED)
    for name in "ab":
        found.uve(IRONIC_NODE_INFO, {"name": name}, NOW, 0)
    own = ("SandeshModuleClientTrace", 1000), ("NodeStatus", 1000)

    messages = sent(found.received(found.attempt, answer(*own, ("IronicNodeInfo", 1)), NOW))

    assert [(message.body.name, message.header.sequence) for message in messages] == [("IronicNodeInfo", 2)]


@pytest.mark.parametrize(
    "data",
    [
        b"garbage",
        ACCEPTED.replace(b">true<", b">yes!<"),
        ACCEPTED.replace(b"success", b"surplus").replace(b"surplus", b"failure"),
        REFUSED,
    ],
    ids=["no frame", "no bool", "no success", "refused"],
)
def test_bad_answers(data: bytes) -> None:
    """
    A collector that refuses, or answers what cannot be understood, is left for the next one after a pause.
    """
    found = bring(State.CLIENT_INIT)

    actions = found.received(found.attempt, data, NOW)

    assert found.state is State.IDLE
    assert timer(actions).seconds == 1.0
    assert target(found.expired(timer(actions).number, NOW)) == B


def test_data_behind_a_refusal() -> None:
    """
    What comes after a refusal in the same read is not looked at any more.
    """
    found = bring(State.CLIENT_INIT)

    found.received(found.attempt, REFUSED + ACCEPTED, NOW)

    assert found.state is State.IDLE
