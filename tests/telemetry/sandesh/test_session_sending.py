# SPDX-License-Identifier: Apache-2.0
"""What is sent, what waits and what is dropped; and what a session tells of itself."""

from __future__ import annotations

from typing import Any

import pytest

from telemetry.sandesh.actions import Disconnect, Fate, SetTimer
from telemetry.sandesh.errors import EncodeError
from telemetry.sandesh.messages import BMS_LIFECYCLE_EVENT_LOG, IRONIC_NODE_INFO
from telemetry.sandesh.schema import Hint
from telemetry.sandesh.session import RESYNC_BATCH, RESYNC_ROOM
from telemetry.sandesh.states import State
from telemetry.sandesh.statistics import DROPS
from telemetry.sandesh.status import Connection, ConnectionStatus
from telemetry.sandesh.tree import fields
from telemetry.sandesh.watermarks import MIB
from tests.telemetry.sandesh.sessions import (
    ACCEPTED,
    NOW,
    SECOND,
    A,
    B,
    bring,
    kinds,
    names,
    overflow,
    sent,
    session,
    timer,
)

EVENT = {"name": "n", "event_type": "x"}


@pytest.mark.parametrize("state", [state for state in State if state is not State.ESTABLISHED])
def test_without_a_session(state: State) -> None:
    """
    Without a session a UVE waits in the cache; another message is lost, is said to be, and uses up no number.
    """
    found = bring(state)

    assert found.uve(IRONIC_NODE_INFO, {"name": "n"}, NOW, 0) == []
    assert found.log(BMS_LIFECYCLE_EVENT_LOG, EVENT, NOW, 0) == (Fate.NO_SESSION, [])
    assert found.cache.number(BMS_LIFECYCLE_EVENT_LOG) == 0
    assert found.ledger.dropped == {("BmsLifecycleEventLog", Fate.NO_SESSION): 1}


def test_with_a_session() -> None:
    """
    With a session each message goes out with its own number and the time of sending.
    """
    found = bring(State.ESTABLISHED)
    actions = found.uve(IRONIC_NODE_INFO, {"name": "n", "driver": "x"}, NOW + 1, 0)
    actions += found.replace(IRONIC_NODE_INFO, {"name": "n", "driver": "y"}, NOW + 2, 0)
    actions += found.delete(IRONIC_NODE_INFO, {"name": "n"}, NOW + 3, 0)
    for moment in (4, 5):
        fate, more = found.log(BMS_LIFECYCLE_EVENT_LOG, EVENT, NOW + moment, 0)
        assert fate is Fate.QUEUED
        actions += more

    headers = [message.header for message in sent(actions)]

    assert [header.sequence for header in headers] == [1, 2, 3, 1, 2]
    assert [header.timestamp - NOW for header in headers] == [1, 2, 3, 4, 5]
    assert [header.hints for header in headers] == [Hint.KEY] * 5


def test_log_is_checked_without_a_session_too() -> None:
    """
    A message that cannot be written is refused at once, not when a session comes.
    """
    with pytest.raises(EncodeError):
        session().log(BMS_LIFECYCLE_EVENT_LOG, {"name": "\0"}, NOW, 0)


def test_long_queue_drops_logs() -> None:
    """
    While the collector does not keep up, messages that are not urgent enough are dropped, UVEs are not.
    """
    found = bring(State.ESTABLISHED)

    assert found.log(BMS_LIFECYCLE_EVENT_LOG, EVENT, NOW, 21 * MIB) == (Fate.QUEUE_LEVEL, [])
    assert names(found.uve(IRONIC_NODE_INFO, {"name": "n"}, NOW, 31 * MIB)) == ["IronicNodeInfo"]
    assert found.log(BMS_LIFECYCLE_EVENT_LOG, EVENT, NOW, 16 * MIB) == (Fate.QUEUE_LEVEL, [])
    assert found.log(BMS_LIFECYCLE_EVENT_LOG, EVENT, NOW, 14 * MIB)[0] is Fate.QUEUED


def test_hopeless_queue_ends_the_session() -> None:
    """
    When even UVEs would have to be dropped, the session is given up, and the next one gets them all.
    """
    found = bring(State.ESTABLISHED, A, B)

    actions = found.uve(IRONIC_NODE_INFO, {"name": "n"}, NOW + 10 * SECOND, 51 * MIB)

    assert kinds(actions) == [Disconnect, SetTimer]
    found.expired(timer(actions).number, NOW)
    found.connected(found.attempt, NOW)
    assert "IronicNodeInfo" in names(found.received(found.attempt, ACCEPTED, NOW))


def test_hopeless_queue_twice() -> None:
    """
    Within the pause a hopeless session is kept; the UVEs it dropped are sent as soon as the queue is short.
    """
    found = bring(State.ESTABLISHED, A)
    found.expired(timer(overflow(found, NOW + SECOND)).number, NOW + SECOND)
    found.connected(found.attempt, NOW + SECOND)
    found.received(found.attempt, ACCEPTED, NOW + SECOND)
    before = found.unsent

    assert found.uve(IRONIC_NODE_INFO, {"name": "m"}, NOW + 2 * SECOND, 51 * MIB) == []
    assert found.state is State.ESTABLISHED
    assert (before, found.unsent) == (False, True)
    assert found.pump(NOW, RESYNC_ROOM) == []
    assert names(found.pump(NOW, 0)).count("IronicNodeInfo") == 2
    assert before == found.unsent


def test_resync_in_batches() -> None:
    """
    A resync is sent in batches, so that it does not fill the queue by itself; what is deleted meanwhile is left out,
    what changes meanwhile is sent at once.
    """
    found = bring(State.CLIENT_INIT)
    for number in range(2 * RESYNC_BATCH):
        found.uve(IRONIC_NODE_INFO, {"name": f"n{number}"}, NOW, 0)

    first = names(found.received(found.attempt, ACCEPTED, NOW))
    assert len(first) == RESYNC_BATCH
    assert names(found.delete(IRONIC_NODE_INFO, {"name": f"n{RESYNC_BATCH}"}, NOW, 0)) == ["IronicNodeInfo"]
    assert names(found.uve(IRONIC_NODE_INFO, {"name": "n0", "driver": "x"}, NOW, 0)) == ["IronicNodeInfo"]
    second = names(found.pump(NOW, RESYNC_ROOM - 1))
    third = names(found.pump(NOW, 0))

    assert (len(second), len(third)) == (RESYNC_BATCH, 1)
    assert not found.unsent


# --- about ourselves -----------------------------------------------------------------------------


def test_tick() -> None:
    """
    Every 30 seconds our own state is told again; our node's status only when it changed.
    """
    found = bring(State.ESTABLISHED)

    actions = found.expired(found._timer, NOW)

    assert timer(actions).seconds == 30
    (message,) = sent(actions)
    assert (message.body.name, message.header.hints) == ("SandeshModuleClientTrace", Hint.KEY)
    state: Any = fields(message.body)["data"]
    assert state["sm_queue_count"] == 0


def test_what_was_counted_is_told() -> None:
    """
    Messages sent and dropped, of all and of each type, for every reason that the reference knows, and how often what
    happened: in the reference's names, and in numbers that add up.
    """
    found = bring(State.ESTABLISHED)
    found.log(BMS_LIFECYCLE_EVENT_LOG, EVENT, NOW, 25 * MIB)
    (message,) = sent(found.expired(found._timer, NOW + 7))

    state: Any = fields(message.body)["data"]
    dropped = {f"dropped_{why}": 0 for why in DROPS} | {"dropped_queue_level": 1}
    assert state["tx_msg_agg"] == {"sent": 3, **dropped}
    of_type = state["msg_type_agg"]
    assert {name: counts["messages_sent"] for name, counts in of_type.items()} == {
        "BmsLifecycleEventLog": 0,
        "NodeStatusUVE": 1,
        "SandeshCtrlClientToServer": 1,
        "SandeshModuleClientTrace": 1,
    }
    assert of_type["BmsLifecycleEventLog"]["messages_sent_dropped_queue_level"] == 1
    told = {"messages_sent", *(f"messages_sent_{why}" for why in dropped)}
    assert all(set(counts) == told for counts in of_type.values())
    machine = state["sm_stats"]
    events = {row.pop("event"): row for row in machine.pop("ev_stats")}
    assert machine == {
        "state": "Established",
        "state_since": NOW,
        "last_state": "ClientInit",
        "last_event": "EvTimerExpired",
        "last_event_at": NOW + 7,
    }
    once = {"enqueues": 1, "dequeues": 1, "enqueue_fails": 0, "dequeue_fails": 0}
    names_ = ("EvStart", "EvTcpConnected", "EvSandeshCtrlMessageRecv", "EvTimerExpired")
    assert events == {**dict.fromkeys(names_, once), "": {**once, "enqueues": 4, "dequeues": 4}}


def test_other_connections() -> None:
    """
    A process is functional only if all its connections are up; the description says which are not, and why.
    """
    found = bring(State.ESTABLISHED)
    rabbit = Connection("Generic Connection", "RabbitMQ", ConnectionStatus.DOWN, ("10.0.0.9:5672",), "refused")

    (told,) = sent(found.connection(rabbit, NOW, 0))
    assert found.connection(rabbit, NOW, 0) == []

    status: Any = fields(told.body)["data"]
    (process,) = status["process_status"]
    assert process["state"] == "Non-Functional"
    assert process["description"] == "Generic Connection:RabbitMQ[refused] connection down"
    assert [info["name"] for info in process["connection_infos"]] == ["Collector", "RabbitMQ"]


def test_bad_description_changes_nothing() -> None:
    """
    A status that cannot be written is refused, and does not come back at the next change.
    """
    found = bring(State.ESTABLISHED)
    with pytest.raises(EncodeError):
        found.connection(Connection("Database", "x", ConnectionStatus.DOWN, (), "\0"), NOW, 0)

    assert found.expired(found._timer, NOW)
