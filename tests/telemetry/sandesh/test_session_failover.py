# SPDX-License-Identifier: Apache-2.0
"""When a collector goes, the next is tried: at once, or after a pause that grows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.sandesh.actions import CancelTimer, Connect, Disconnect, SetTimer
from telemetry.sandesh.session import ClientSession
from telemetry.sandesh.settings import Address, GeneratorSettings
from telemetry.sandesh.states import State
from telemetry.sandesh.tree import fields
from tests.telemetry.sandesh.sessions import (
    ACCEPTED,
    ME,
    NOW,
    SECOND,
    A,
    B,
    C,
    bring,
    kinds,
    names,
    sent,
    session,
    target,
    timer,
)


def test_first_try_is_at_once() -> None:
    """
    The first collector is tried when the session starts, with a time limit.
    """
    found = session(A, B)

    connect, limit = found.start(NOW)

    assert connect == Connect(found.attempt, A)
    assert limit == SetTimer(5.0, found._timer)


def test_pauses_grow() -> None:
    """
    Every failure leads to the next collector, after 1, 2, 4, 8, 16, then 30 seconds.
    """
    found = bring(State.CONNECT, A, B)
    pauses, tried = [], []
    for _ in range(7):
        actions = found.connect_failed(found.attempt, NOW)
        pauses.append(timer(actions).seconds)
        tried.append(target(found.expired(timer(actions).number, NOW)))

    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    assert tried == [B, A, B, A, B, A, B]


@given(st.lists(st.floats(0, 1), min_size=7, max_size=7))
def test_pauses_vary(chances: list[float]) -> None:
    """
    No two generators come back in step: each pause lasts between half of the longest and the longest.
    """
    drawn = iter(chances)
    found = ClientSession(GeneratorSettings(identity=ME, collectors=(A, B)), chance=lambda: next(drawn))
    found.start(NOW)
    for chance, longest in zip(chances, [1, 2, 4, 8, 16, 30, 30], strict=True):
        actions = found.connect_failed(found.attempt, NOW)
        assert timer(actions).seconds == pytest.approx(longest * (0.5 + chance / 2))
        found.expired(timer(actions).number, NOW)


def test_success_forgives() -> None:
    """
    After a session that held, the pauses begin anew.
    """
    found = bring(State.CONNECT, A)
    for _ in range(4):
        found.expired(timer(found.connect_failed(found.attempt, NOW)).number, NOW)
    found.connected(found.attempt, NOW)
    found.received(found.attempt, ACCEPTED, NOW)

    assert timer(found.closed(found.attempt, NOW + 60 * SECOND)).seconds == 1


def test_failover_is_at_once() -> None:
    """
    When a session that held is lost, the next collector is tried without a pause.
    """
    found = bring(State.ESTABLISHED, A, B)

    actions = found.closed(found.attempt, NOW + 5 * SECOND)

    assert timer(actions).seconds == 0
    assert target(found.expired(timer(actions).number, NOW)) == B


def test_short_sessions_are_failures() -> None:
    """
    Sessions that are thrown out right away are not stormed: two generators with one identity would be, for ever.
    """
    found = bring(State.ESTABLISHED, A, B)
    pauses = []
    for _ in range(4):
        actions = found.closed(found.attempt, NOW + SECOND)
        pauses.append(timer(actions).seconds)
        found.expired(timer(actions).number, NOW)
        found.connected(found.attempt, NOW)
        found.received(found.attempt, ACCEPTED, NOW)

    assert pauses == [1, 2, 4, 8]


@pytest.mark.parametrize(("state", "limit"), [(State.CONNECT, 5.0), (State.CLIENT_INIT, 30.0)])
def test_patience(state: State, limit: float) -> None:
    """
    A connection that does not open and a collector that does not answer are given up.
    """
    found = bring(state)

    actions = found.expired(found._timer, NOW + round(limit) * SECOND)

    assert kinds(actions) == [Disconnect, SetTimer]
    assert found.state is State.IDLE


def test_no_collectors() -> None:
    """
    Without collectors a session waits for a list, and tries the first as soon as it comes.
    """
    found = ClientSession(GeneratorSettings(identity=ME))
    assert kinds(found.start(NOW)) == [CancelTimer]
    assert found.state is State.IDLE

    assert target(found.move((C,), NOW)) == C


def test_moving_elsewhere() -> None:
    """
    A new list without the collector in use means a new session with its first.
    """
    found = bring(State.ESTABLISHED, A, B)

    actions = found.move((C, B), NOW)

    assert kinds(actions) == [Disconnect, Connect, SetTimer]
    assert target(actions) == C


def test_moving_nowhere() -> None:
    """
    A new list with the collector in use leaves the session alone, tells of the list, and is used from then on.
    """
    found = bring(State.ESTABLISHED, A, B)

    actions = found.move((C, A), NOW)

    assert names(actions) == ["SandeshModuleClientTrace"]
    (message,) = sent(actions)
    state: Any = fields(message.body)["data"]
    assert state["client_info"]["collector_list"] == ["10.0.0.3:8086", "10.0.0.1:8086"]
    lost = found.closed(found.attempt, NOW + 60 * SECOND)
    assert target(found.expired(timer(lost).number, NOW)) == C


def test_stopping_sends_what_is_queued() -> None:
    """
    A session that is told to stop closes its connection after what is queued.
    """
    found = bring(State.ESTABLISHED)

    assert found.stop(NOW) == [Disconnect(flush=True), CancelTimer()]


# --- addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("collector", Address("collector", 8086)),
        (" 10.0.0.1:1 ", Address("10.0.0.1", 1)),
        ("[2001:db8::1]:9000", Address("2001:db8::1", 9000)),
        ("[::1]", Address("::1", 8086)),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    """
    Collectors are written as people write them.
    """
    assert address == Address.parse(text)
    assert address == Address.parse(str(address))


@pytest.mark.parametrize("text", ["", ":8086", "a:0", "a:65536", "a:b", "::1", "[::1", "a b", "[]:1"])
def test_no_addresses(text: str) -> None:
    """
    What is no address is refused.
    """
    with pytest.raises(ValueError, match="no address"):
        Address.parse(text)
