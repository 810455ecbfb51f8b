# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.sandesh.actions import Action, CancelTimer, Connect, Disconnect, Fate, SetTimer, Write
from telemetry.sandesh.decode import Decoded, decode
from telemetry.sandesh.encode import encode
from telemetry.sandesh.errors import EncodeError
from telemetry.sandesh.header import Identity, header_of
from telemetry.sandesh.messages import BMS_LIFECYCLE_EVENT_LOG, IRONIC_NODE_INFO, SANDESH_CTRL_SERVER_TO_CLIENT
from telemetry.sandesh.schema import Hint
from telemetry.sandesh.session import RESYNC_BATCH, RESYNC_ROOM, ClientSession
from telemetry.sandesh.settings import Address, GeneratorSettings
from telemetry.sandesh.states import TRANSITIONS, Event, State, after
from telemetry.sandesh.statistics import DROPS
from telemetry.sandesh.status import Connection, ConnectionStatus
from telemetry.sandesh.tree import fields
from telemetry.sandesh.watermarks import MIB
from tests.telemetry.sandesh.vectors import BY_NAME

SECOND = 1_000_000
NOW = 1_700_000_000 * SECOND
A, B, C = (Address(f"10.0.0.{number}") for number in (1, 2, 3))
ME = BY_NAME["22-ctrl-c2s-no-uves"].sender
THEM = Identity("analytics-1", "contrail-collector", "Analytics", "0")
ACCEPTED = BY_NAME["24-ctrl-s2c-empty"].frame
REFUSED = BY_NAME["26-ctrl-s2c-fail"].frame


def session(*collectors: Address, **settings: Any) -> ClientSession:
    return ClientSession(
        GeneratorSettings(identity=ME, collectors=collectors or (A, B), pid=4242, **settings),
        (IRONIC_NODE_INFO,),
        chance=lambda: 1.0,
    )


def bring(to: State, *collectors: Address, now: int = NOW, **settings: Any) -> ClientSession:
    """A session in a state, by the shortest way."""
    found = session(*collectors, **settings)
    if to is State.STOPPED:
        return found
    found.start(now)
    if to is State.IDLE:
        found.connect_failed(found.attempt, now)
    if to in {State.CLIENT_INIT, State.ESTABLISHED}:
        found.connected(found.attempt, now)
    if to is State.ESTABLISHED:
        found.received(found.attempt, ACCEPTED, now)
    assert found.state is to
    return found


def sent(actions: Iterable[Action]) -> list[Decoded]:
    return [decode(action.data) for action in actions if isinstance(action, Write)]


def names(actions: Iterable[Action]) -> list[str]:
    return [message.body.name for message in sent(actions)]


def kinds(actions: Iterable[Action]) -> list[type[Action]]:
    return [type(action) for action in actions]


def timer(actions: Iterable[Action]) -> SetTimer:
    (found,) = [action for action in actions if isinstance(action, SetTimer)]
    return found


def target(actions: Iterable[Action]) -> Address:
    (found,) = [action.address for action in actions if isinstance(action, Connect)]
    return found


def overflow(found: ClientSession, now: int) -> list[Action]:
    return found.uve(IRONIC_NODE_INFO, {"name": "n"}, now, 51 * MIB)


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


# --- failing over --------------------------------------------------------------------------------


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


# --- sending -------------------------------------------------------------------------------------

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
