# SPDX-License-Identifier: Apache-2.0
"""Alarms of other generators are acknowledged over REST as the reference's are, and the mark stays in our store."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given as given_
from hypothesis import strategies as st

from telemetry import desk as desk_module
from telemetry.desk import Desk
from telemetry.sandesh import raised
from telemetry.sandesh.alarms import ALARM_TRACE, Alarm, Severity, token
from telemetry.sandesh.decode import decode
from telemetry.sandesh.framing import frame
from telemetry.sandesh.header import Identity, header_of, header_text
from telemetry.sandesh.reception import Received
from telemetry.store import Store, acknowledged, analytics, marks
from telemetry.uve_watch import UveHub
from tests.telemetry.builders import T0
from tests.telemetry.fakes import FakeSender, until
from tests.telemetry.test_rest import Api, api
from tests.telemetry.test_rest_streams import ADMIN, events

ALARMGEN = Identity("an-1", "contrail-alarm-gen", "Analytics", "0")
OTHER_ONE = Identity("an-2", "contrail-alarm-gen", "Analytics", "0")
NODE = "cfg-1"
PROCESS = "default-global-system-config:system-defined-process-status"
PATH = "/analytics/alarms/acknowledge"


def info(since: int = 5, type_: str = PROCESS, *, ack: str = '<ack type="bool">false</ack>', port: int = 5995) -> str:
    """One alarm as the reference's alarm-gen writes it."""
    return (
        f'<UVEAlarmInfo><type type="string">{type_}</type><alarm_rules type="struct"><AlarmRules><or_list type="list">'
        f'<list type="struct" size="0"/></or_list></AlarmRules></alarm_rules>{ack}<timestamp type="u64">{since}'
        f'</timestamp><severity type="i32">1</severity><token type="string">{token("10.0.0.9", port, since)}</token>'
        '<description type="string">Process(es) &lt;down&gt;</description></UVEAlarmInfo>'
    )


def told(*alarms: str, sender: Identity = ALARMGEN, key: str = NODE, gone: bool = False) -> Received:
    """An AlarmTrace of all alarms of a config node."""
    body = (
        f'<alarms type="list" identifier="2" aggtype="union"><list type="struct" size="{len(alarms)}">{"".join(alarms)}'
        "</list></alarms>"
    )
    if gone:
        body = '<deleted type="bool" identifier="3">true</deleted>'
    xml = (
        '<AlarmTrace type="sandesh"><data type="struct" identifier="1"><UVEAlarms>'
        f'<name type="string" identifier="1" key="ObjectConfigNode">{key}</name>{body}</UVEAlarms></data></AlarmTrace>'
    )
    made = frame((header_text(header_of(ALARM_TRACE, sender, T0, 1)) + xml).encode())
    return Received(sender, decode(made), made, T0)


def asked(since: int = 5, **other: Any) -> dict[str, Any]:
    named = {"table": "config-node", "name": NODE, "type": PROCESS, "token": token("10.0.0.9", 5995, since)}
    return {name: value for name, value in (named | other).items() if value is not None}


async def post(given: Api, body: Any, *, as_: str = "admin", kind: str = "application/json") -> tuple[int, str]:
    """The status, and what is said."""
    data = body if isinstance(body, bytes) else json.dumps(body)
    headers = {"X-Auth-Token": as_, "Content-Type": kind}
    async with given.http.post(given.base + PATH, data=data, headers=headers) as answer:
        text = await answer.text()
        return answer.status, json.loads(text)["error"]["message"] if text else ""


async def tell(given: Api, *messages: Received) -> None:
    await given.store.write(lambda tx: analytics.store(tx, [(message, T0 * 2) for message in messages]), "test")


async def shown(given: Api, key: str = NODE) -> list[tuple[int, bool]]:
    """Time and ``ack`` of each alarm, by the object."""
    uve = await given.ask(f"/analytics/uves/config-node/{key}?flat")
    listed = await given.ask("/analytics/alarms")
    of_object = [one["value"] for one in listed.get("config-node", ()) if one["name"] == key]
    assert of_object == ([{"UVEAlarms": uve["UVEAlarms"]}] if uve else [])
    return sorted((alarm["timestamp"], alarm["ack"]) for alarm in uve.get("UVEAlarms", {}).get("alarms", ()))


async def marked(given: Api) -> Any:
    return await given.store.read(lambda tx: marks.of(tx, "ObjectConfigNode", [NODE]))


def test_an_alarm_of_others_is_acknowledged(store: Store) -> None:
    """
    By the type's name or the table's own; again is as good; the alarms beside it are not, and nothing else changes.
    """

    async def play() -> None:
        async with api(store) as given:
            await given.put(told(info(), info(6, "other")), told(info(), key="cfg-2"))
            before = await given.ask(f"/analytics/uves/config-node/{NODE}?flat")
            assert await post(given, asked()) == (200, "")
            assert await post(given, asked(table="ObjectConfigNode")) == (200, "")

            assert await shown(given) == [(5, True), (6, False)]
            assert await shown(given, "cfg-2") == [(5, False)]
            after = await given.ask(f"/analytics/uves/config-node/{NODE}?flat")
            before["UVEAlarms"]["alarms"][0]["ack"] = True
            assert after == before

    asyncio.run(play())


def test_a_mark_lasts_as_long_as_its_alarm(store: Store) -> None:
    """
    Told again, by a new session too, it is still acknowledged; cleared, or raised anew, it is not, whatever its time.
    """

    async def play() -> None:
        async with api(store) as given:
            await given.put(told(info(), info(6, "other")))
            await post(given, asked())
            await tell(given, told(info()))
            assert await shown(given) == [(5, True)]
            await given.put()
            await given.store.write(lambda tx: analytics.admit(tx, str(ALARMGEN), "c", T0), "test")
            assert await shown(given) == []
            await tell(given, told(info()))
            assert await shown(given) == [(5, True)]

            await tell(given, told(info(7)))
            assert await shown(given) == [(7, False)]
            assert await marked(given) == {}
            await tell(given, told(info(5)))
            assert await shown(given) == [(5, False)]

            for cleared in (told(), told(gone=True)):
                await post(given, asked())
                assert await shown(given) == [(5, True)]
                await tell(given, cleared, told(info()))
                assert await shown(given) == [(5, False)]

    asyncio.run(play())


def test_of_two_generators_the_one_of_the_token_is_meant(sqlite_store: Store) -> None:
    """
    Their alarms of one object are shown together, and each is acknowledged for itself.
    """

    async def play() -> None:
        async with api(sqlite_store) as given:
            await given.put(told(info(5)), told(info(6, port=1), sender=OTHER_ONE))
            assert await post(given, asked(token=token("10.0.0.9", 1, 6))) == (200, "")
            assert await shown(given) == [(5, False), (6, True)]
            await tell(given, told(sender=OTHER_ONE))
            assert await shown(given) == [(5, False)]

    asyncio.run(play())


def test_our_own_alarms_are_known_to_the_desk_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    At whichever replica: who raised it counts it among those that somebody knows of, and tells every collector so.
    """
    monkeypatch.setattr(desk_module, "LOOK_SECONDS", 0.01)

    def known(desk: Desk) -> list[bool]:
        return [known for _, _, known, _ in desk.count()]

    async def play() -> None:
        sender = FakeSender()
        desk = Desk(sender, store, "10.0.0.9", 5995, str(ALARMGEN))
        await desk.load()
        desk.tell("ObjectConfigNode", NODE, [Alarm(PROCESS, Severity.MAJOR, 5, "said", "S.a", "==", "x", "x")])
        running = asyncio.create_task(desk.run())
        async with api(store) as given:
            await given.put(told(info()), told(info(), sender=OTHER_ONE, key="cfg-2"))
            assert await post(given, asked(name="cfg-2")) == (200, "")
            assert await post(given, asked()) == (200, "")
            await until(lambda: known(desk) == [True] and not desk._unsaved)
            assert sender.uves[-1][1]["alarms"][0]["ack"] is True
            assert list(await store.read(acknowledged.load)) == [("ObjectConfigNode", NODE, PROCESS)]
        running.cancel()

    asyncio.run(play())


def _token(value: Any) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 400, "not JSON"),
        ([], 400, "not a JSON object"),
        (asked(name=3), 400, "not a text"),
        (asked(type="a\0"), 400, "not a text"),
        (asked(token=None, name=None), 404, "does not contain the fields {name, token}"),
        (asked(token="%"), 404, 'Failed to decode "token"'),
        (asked(token=""), 404, 'Failed to decode "token"'),
        (asked(token="é"), 404, 'Failed to decode "token"'),
        (asked(token=_token([1])), 404, "Invalid token value"),
        (asked(token=_token({"host_ip": "h", "http_port": 1})), 404, "Invalid token value"),
        (asked(token=_token({"host_ip": "h", "http_port": 1, "timestamp": "5"})), 404, "Invalid token value"),
        (asked(token=_token({"host_ip": "h", "http_port": 1, "timestamp": 2**70})), 404, "Invalid token value"),
        (asked(4), 500, "Invalid Alarm Ack request"),
        (asked(token=token("10.0.0.8", 5995, 5)), 500, "Invalid Alarm Ack request"),
        (asked(type="other"), 500, "Alarm not present"),
        (asked(name="cfg-2"), 500, "Alarm not present"),
        (asked(table="nothing"), 500, "Alarm not present"),
    ],
    ids=str,
)
def test_refusals(sqlite_store: Store, body: Any, status: int, said: str) -> None:
    """
    With the reference's statuses and words; nothing is marked.
    """

    async def play() -> None:
        async with api(sqlite_store) as given:
            await given.put(told(info()))
            answered = await post(given, body)
            assert answered[0] == status
            assert said in answered[1]
            assert await marked(given) == {}

    asyncio.run(play())


def test_who_may_acknowledge(sqlite_store: Store) -> None:
    """
    Administrators; who may only read is refused, and so is what is not declared as JSON.
    """

    async def play() -> None:
        async with api(sqlite_store) as given:
            await given.put(told(info()))
            assert (await post(given, asked(), as_="auditor"))[0] == 403
            assert (await post(given, asked(), as_="demo-member"))[0] == 403
            assert (await post(given, asked(), as_="nobody"))[0] == 401
            assert await post(given, asked(), kind="text/plain") == (400, "Content-Type must be JSON")
            assert await shown(given) == [(5, False)]

    asyncio.run(play())


def test_alarms_by_whether_they_are_acknowledged(sqlite_store: Store) -> None:
    """
    ``ackfilt`` chooses alarms, in the address and in JSON; an alarm that does not say counts as not acknowledged.
    """

    async def play() -> None:
        async with api(sqlite_store) as given:
            await given.put(told(info(), info(6, "other", ack="")))
            assert await given.ask("/analytics/alarms?ackfilt=true") == {}
            assert await post(given, asked()) == (200, "")
            for choice, since in (("true", 5), ("false", 6)):
                found = await given.ask(f"/analytics/alarms?ackfilt={choice}")
                (one,) = found["config-node"]
                assert [alarm["timestamp"] for alarm in one["value"]["UVEAlarms"]["alarms"]] == [since]
                posted = await given.ask("/analytics/uves/config-node", body={"ackfilt": choice == "true"})
                assert posted == {"value": [one]}
            assert "error" in await given.ask("/analytics/alarms?ackfilt=yes", status=400)
            assert "error" in await given.ask("/analytics/uves/config-node", body={"ackfilt": "true"}, status=400)
            assert "error" in await given.ask("/analytics/alarm-stream?ackfilt=true", status=400)
            await post(given, asked(6, type="other"))
            assert await shown(given) == [(5, True), (6, True)]

    asyncio.run(play())


def test_streams_tell_it(sqlite_store: Store) -> None:
    """
    Whoever follows alarms hears at once that one was acknowledged.
    """

    async def play() -> None:
        hub = UveHub(sqlite_store)
        running = asyncio.create_task(hub.run())
        async with api(sqlite_store, hub) as given:
            await given.put(told(info()))
            async with given.http.get(given.base + "/analytics/alarm-stream", headers=ADMIN) as answer:
                heard = events(answer)
                first = [await anext(heard) for _ in range(3)]
                await post(given, asked())
                name, change = await anext(heard)
            assert first[1][1]["value"]["alarms"][0]["ack"] is False
            assert (name, change["value"]["alarms"][0]["ack"]) == ("update", True)
            hub.drain()
        running.cancel()

    asyncio.run(play())


def test_marks_of_what_never_comes_again_are_forgotten(store: Store) -> None:
    """
    A while after they were made; as long as the alarm is told they stay.
    """

    async def play() -> None:
        async with api(store) as given:
            await given.put(told(info()))
            await post(given, asked())
            later = T0 + marks.KEPT_MICROS
            await given.store.write(lambda tx: marks.forget_gone(tx, later), "test")
            assert await shown(given) == [(5, True)]
            await given.store.write(lambda tx: analytics.admit(tx, str(ALARMGEN), "c", T0), "test")
            await given.store.write(lambda tx: marks.forget_gone(tx, later - 1), "test")
            assert await marked(given) != {}
            await given.store.write(lambda tx: marks.forget_gone(tx, later), "test")
            assert await marked(given) == {}

    asyncio.run(play())


@given_(st.text(max_size=40) | st.binary(max_size=30).map(lambda data: base64.b64encode(data).decode()))
def test_no_token_is_an_internal_error(text: str) -> None:
    """
    Whatever is given is a token, or is refused as none.
    """
    with suppress(raised.TokenError):
        raised.parse_token(text)


@pytest.mark.parametrize("xml", ["", "<", "<alarms/>", '<alarms type="list"><list><UVEAlarmInfo/></list></alarms>'])
def test_what_holds_no_alarms_stays_as_it_is(xml: str) -> None:
    """
    Any generator may send anything under that name.
    """
    assert raised.raised(xml) == ()
    assert raised.with_known(xml, {(PROCESS, 5)}) == xml
    assert raised.only(xml, known=True) is None
