# SPDX-License-Identifier: Apache-2.0
"""Alarms last as long as their condition, and are known of when somebody said so."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest

from services.runtime.database import Database
from telemetry.alarms import LAG, OVERDUE, QUARANTINED, VERDICT_FAIL, own_alarms, server_alarms
from telemetry.desk import Answer, Desk
from telemetry.known import Known, learn
from telemetry.lag import Lag
from telemetry.sandesh.alarms import ALARM_TRACE, Alarm, Severity
from telemetry.sandesh.messages import OBJECT_CONFIG_NODE, OBJECT_SERVER_TABLE
from telemetry.store import Store, acknowledged
from tests.telemetry.builders import SERVER, T0, followed, stored
from tests.telemetry.fakes import FakeSender, until
from tests.telemetry.rig import Rig, rig
from tests.telemetry.test_app import a_life, a_server

SECOND = 1_000_000


def after(*events: Any) -> Known:
    known = Known()
    for event in events:
        known = learn(known, event)
    return known


def late(position: int, step: str) -> Any:
    return followed(
        position=position,
        type="server.overdue",
        before="cleaning",
        after="cleaning",
        message="the BMC does not answer",
        cause={"step": step},
    )


def names(known: Known) -> list[str]:
    return [alarm.type for alarm in server_alarms(known)]


def test_quarantine_is_an_alarm_until_it_ends() -> None:
    """
    It says since when, and what analytics shows of the server.
    """
    aside = after(followed(position=1, before="provisioning", after="quarantined"))

    (alarm,) = server_alarms(aside)

    assert (alarm.type, alarm.severity, alarm.since) == (QUARANTINED, Severity.MAJOR, T0 + SECOND)
    assert (alarm.operand, alarm.found) == ("IronicNode.provision_state", "deploy failed")
    assert names(learn(aside, followed(position=2, before="quarantined", after="cleaning"))) == []


@pytest.mark.parametrize(
    "news",
    [
        followed(position=3, before="cleaning", after="available", cause={"step": "wipe"}),
        followed(position=3, type="step.rest", before="cleaning", after="cleaning", cause={"step": "power_off"}),
        followed(position=3, type="server.updated", before="cleaning", after="cleaning"),
    ],
    ids=["another state", "another step", "no step"],
)
def test_what_lasts_too_long_is_an_alarm_until_the_server_goes_on(news: Any) -> None:
    """
    To another state or another step; what else happens in the same step changes nothing.
    """
    overdue = after(followed(position=1, before="enrolled", after="cleaning"), late(2, "wipe"))

    (alarm,) = server_alarms(overdue)

    assert (alarm.type, alarm.since) == (OVERDUE, T0 + 2 * SECOND)
    assert "the BMC does not answer" in alarm.description
    retried = followed(position=3, type="step.failed", before="cleaning", after="cleaning", cause={"step": "wipe"})
    assert names(learn(overdue, retried)) == [OVERDUE]
    assert names(learn(overdue, news)) == []
    assert Known.from_json(overdue.to_json()) == overdue


def test_a_broken_invariant_is_critical() -> None:
    """
    Whatever else is raised, until a full clean pass.
    """
    broken = after(
        followed(position=1, after="quarantined"),
        followed(position=2, type="server.violated", message="I1: two", facts={"invariant": "I1"}),
    )

    assert [(alarm.type, alarm.severity) for alarm in server_alarms(broken)] == [
        (VERDICT_FAIL, Severity.CRITICAL),
        (QUARANTINED, Severity.MAJOR),
    ]
    assert VERDICT_FAIL not in names(learn(broken, followed(position=3, type="clean.passed")))


def test_a_server_that_is_gone_has_none() -> None:
    """
    Nobody could do anything about it.
    """
    assert names(after(followed(position=1, after="quarantined"), followed(position=2, type="server.closed"))) == []


def test_lag() -> None:
    """
    Only what is old and was not sent; it is raised when it became too old.
    """
    assert own_alarms(None, T0) == ()
    assert own_alarms(T0 - 120 * SECOND, T0) == ()
    (alarm,) = own_alarms(T0 - 121 * SECOND, T0)
    assert (alarm.type, alarm.since, alarm.found) == (LAG, T0 - SECOND, 121)


def test_lag_is_one_alarm_while_it_lasts(sqlite_store: Store) -> None:
    """
    Other events become the oldest; what people acknowledged stays so until all were sent.
    """

    class Publisher:
        oldest: int | None = T0

        async def oldest_unsent(self) -> int | None:
            return self.oldest

    async def play() -> None:
        publisher, sender, now = Publisher(), FakeSender(), [T0]
        desk = Desk(sender, sqlite_store, "h", 0)
        lag = Lag(publisher, desk, "h", lambda: now[0])
        await lag.look()
        assert shown(sender, "h") is None
        now[0] += 200 * SECOND
        await lag.look()
        assert lag.seconds == 200
        ((_, since, _),) = shown(sender, "h")
        assert desk.acknowledge(OBJECT_CONFIG_NODE, "h", LAG, since) is Answer.SUCCESS
        publisher.oldest, now[0] = T0 + 300 * SECOND, T0 + 500 * SECOND
        await lag.look()
        assert shown(sender, "h") == [(LAG, since, True)]
        publisher.oldest = None
        await lag.look()
        assert shown(sender, "h") is None
        assert lag.seconds == 0

    asyncio.run(play())


# --- the desk ------------------------------------------------------------------------------------


def raised(since: int = 5, type_: str = "t") -> Alarm:
    return Alarm(type_, Severity.MINOR, since, "said", "S.a", "==", "x", "x")


def shown(sender: FakeSender, key: str = "k") -> Any:
    entry = sender.cache.get(ALARM_TRACE, key)
    return None if entry is None else [(alarm["type"], alarm["timestamp"], alarm["ack"]) for alarm in entry["alarms"]]


def test_acknowledging(store: Store) -> None:
    """
    It is of one raising; it outlives the process and the replica, and ends with the alarm.
    """

    async def play() -> None:
        sender = FakeSender()
        desk = Desk(sender, store, "host", 8110)
        running = asyncio.create_task(desk.run())
        await desk.load()
        desk.tell("T", "k", [raised(), raised(6, "u")])
        assert desk.acknowledge("T", "k", "t", 4) is Answer.NOT_PRESENT
        assert desk.acknowledge("T", "other", "t", 5) is Answer.NOT_PRESENT
        assert desk.acknowledge("T", "k", "", 5) is Answer.INVALID
        assert desk.acknowledge("T", "k", "t", 5) is Answer.SUCCESS
        assert shown(sender) == [("t", 5, True), ("u", 6, False)]
        assert list(desk.count()) == [("t", Severity.MINOR, True, 1), ("u", Severity.MINOR, False, 1)]
        await until(lambda: not desk._unsaved)

        other = FakeSender()
        another = Desk(other, store, "host-2", 8110)
        await another.load()
        another.tell("T", "k", [raised()])
        assert shown(other) == [("t", 5, True)]

        desk.tell("T", "k", [])
        assert shown(sender) is None
        await until(lambda: not desk._unsaved)
        assert await store.read(acknowledged.load) == {}
        desk.tell("T", "k", [raised(9)])
        assert shown(sender) == [("t", 9, False)]
        running.cancel()

    asyncio.run(play())


def test_nothing_is_said_twice(sqlite_store: Store) -> None:
    """
    An alarm that stays as it is makes no message.
    """

    async def play() -> None:
        sender = FakeSender()
        desk = Desk(sender, sqlite_store, "host", 0)
        for _ in range(3):
            desk.tell("T", "k", [raised()])
        assert len(sender.uves) == 1
        assert sender.uves[0][1]["alarms"][0]["token"] == ""

    asyncio.run(play())


def test_over_the_wire(sqlite_database: Database) -> None:
    """
    Analytics shows the alarm beside the server's other structs, and acknowledges it where its token says.
    """
    logs = a_life()
    logs["lifecycle"].append(stored(position=4, before="active", after="quarantined"))

    async def alarms(given: Rig) -> Any:
        return (await given.get(f"/analytics/uves/server/{SERVER}?flat")).get("UVEAlarms", {}).get("alarms", [])

    async def ask(given: Rig, path: str) -> str:
        async with given.http.get(f"http://127.0.0.1:{given.ports.introspect}/Snh_{path}") as response:
            return str(await response.text())

    async def play() -> None:
        async with rig(sqlite_database, logs, a_server()) as given:
            (alarm,) = await given.eventually(lambda: alarms(given), bool)
            assert (alarm["type"], alarm["ack"], alarm["severity"]) == (QUARANTINED, False, 1)
            condition = alarm["alarm_rules"]["or_list"][0]["and_list"][0]["condition"]
            assert condition["operand1"] == "IronicNode.provision_state"
            assert json.loads(condition["operand2"]["json_value"]) == "error"

            said = await ask(given, f"SandeshAlarmCacheRequest?table={OBJECT_SERVER_TABLE}")
            assert '<count type="u32" identifier="1">1</count>' in said
            assert OBJECT_SERVER_TABLE in await ask(given, "SandeshAlarmTypesRequest")
            assert "AlarmTrace" not in await ask(given, "SandeshUVETypesReq")
            assert ">0</returned>" in await ask(given, "SandeshUVECacheReq?x=UVEAlarms")
            which = f"SandeshAlarmAckRequest?table={OBJECT_SERVER_TABLE}&name={SERVER}&type={QUARANTINED}"
            assert "Alarm not present" in await ask(given, f"{which}&timestamp=1")
            assert "Invalid Alarm Ack request" in await ask(given, f"{which}&timestamp=x")
            assert "Invalid Alarm Ack request" in await ask(given, "SandeshAlarmAckRequest?timestamp=1")
            answer = await ask(given, f"{which}&timestamp={alarm['timestamp']}")
            assert '<status type="bool" identifier="1">true</status>' in answer
            await given.eventually(lambda: alarms(given), lambda found: found[0]["ack"] is True)

            logs["lifecycle"].append(stored(position=5, before="quarantined", after="cleaning"))
            await given.eventually(lambda: alarms(given), lambda found: not found)

    asyncio.run(play())


def test_tokens_lead_back() -> None:
    """
    By address, port and time, as the analytics API reads them.
    """
    sender = FakeSender()
    Desk(sender, None, "10.0.0.5", 8110).tell(OBJECT_CONFIG_NODE, "h", [raised()])  # type: ignore[arg-type]  # not asked

    token = json.loads(base64.b64decode(sender.uves[0][1]["alarms"][0]["token"]))
    assert token == {"host_ip": "10.0.0.5", "http_port": 8110, "timestamp": 5}
