# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from lxml import etree

from telemetry.sandesh.actions import Fate, Write
from telemetry.sandesh.decode import parse_fragment
from telemetry.sandesh.introspect import PAGES, cache_reply, reply, types_reply
from telemetry.sandesh.introspect_form import form_page, index_page
from telemetry.sandesh.introspect_http import introspection
from telemetry.sandesh.messages import BMS_LIFECYCLE_EVENT_LOG, IRONIC_NODE_INFO, NODE_STATUS_UVE, OBJECT_CONFIG_NODE
from telemetry.sandesh.schema import Field, Kind, Message, Scalar, Struct, uve
from telemetry.sandesh.session import ClientSession
from telemetry.sandesh.states import State
from telemetry.sandesh.tree import fields
from telemetry.sandesh.uve import UveCache
from telemetry.sandesh.watermarks import MIB
from tests.telemetry.sandesh.sessions import ACCEPTED, NOW, SECOND, bring
from tests.telemetry.sandesh.sessions import names as sent_names
from tests.telemetry.sandesh.vectors import BY_NAME, GOLDEN

OBJECT_LOG = Message("Log", Kind.OBJECT, (Field("text", Scalar.STRING, 1),))
SAMPLES = GOLDEN / "introspect"
MODULE = "ironic-notification-manager"


def sample(name: str) -> str:
    return (SAMPLES / f"{name}.body").read_text()


def content_type(name: str) -> str:
    (line,) = [
        line for line in (SAMPLES / f"{name}.headers").read_text().splitlines() if line.startswith("Content-Type: ")
    ]
    return line.removeprefix("Content-Type: ")


def part(text: str) -> Any:
    """The message of a reply of one part."""
    return fields(parse_fragment(text[text.index("?>") + 2 :]))


def test_cache_like_the_reference() -> None:
    """
    The reply that contrail-status reads is the reference's own, byte for byte.
    """
    cache = UveCache()
    status = BY_NAME["41-nodestatus"].values["data"] | {"name": "gen-host"}
    status["process_status"][0]["connection_infos"][0]["server_addrs"] = ["127.0.0.1:18086"]
    cache.update(NODE_STATUS_UVE, status, OBJECT_CONFIG_NODE)

    assert cache_reply(cache, "NodeStatus") == sample("Snh_SandeshUVECacheReq_x_NodeStatus")


def test_types_like_the_reference() -> None:
    """
    The list of types is the reference's own, for the same types and numbers.
    """
    numbers = {"IronicNode": 2, "NodeStatus": 4, "ModuleClientState": 3}
    cache, types = UveCache(), []
    for row in part(sample("Snh_SandeshUVETypesReq"))["type_info"]:
        name = str(row["type_name"])
        types.append(uve(f"{name}Uve", Struct(name, (Field("name", Scalar.STRING, 1, (("key", "T"),)),))))
        cache.register(types[-1])
        for _ in range(numbers.get(name, 0)):
            cache.update(types[-1], {"name": "n"})

    assert types_reply(cache) == sample("Snh_SandeshUVETypesReq")


def test_index_like_the_reference() -> None:
    """
    The home page is the reference's own, for the same pages.
    """
    pages = ["truth", "cpuinfo", "sandesh_alarm", "sandesh_ctrl", "sandesh_trace", "sandesh_uve"]

    assert index_page(MODULE, pages) == sample("index.html")


@pytest.mark.parametrize(
    ("struct", "key", "names"),
    [
        ("IronicNode", "", ["a", "b"]),
        ("IronicNode", "b", ["b"]),
        ("IronicNode", "c", []),
        ("IronicNodeInfo", "", []),
        ("", "", []),
    ],
)
def test_choosing(struct: str, key: str, names: list[str]) -> None:
    """
    UVEs are asked for by their struct's name, one by its own; a message's name finds nothing, as in the reference.
    """
    cache = UveCache()
    for name in "ab":
        cache.update(IRONIC_NODE_INFO, {"name": name})

    text = cache_reply(cache, struct, key)

    root = etree.fromstring(text)
    assert names == [found.text for found in root.iter("name")]
    (returned,) = root.iter("returned")
    assert returned.text == str(len(names))
    assert root.tag == ("__IronicNodeInfo_list" if names else "SandeshUVECacheResp")


@pytest.mark.parametrize("state", State)
def test_every_request_in_every_state(state: State) -> None:
    """
    Every request is answered in every state of a session, in XML.
    """
    found = bring(state)
    for page in PAGES:
        for message, _ in page.requests:
            answer = reply(found, message.name, {})
            assert answer is not None
            etree.fromstring(answer)
        etree.fromstring(form_page(page))
    assert reply(found, "SandeshNonsenseReq", {}) is None


def test_collector_and_statistics() -> None:
    """
    Which collector is in use can be seen, and how much was sent to it.
    """
    found = bring(State.ESTABLISHED)

    collector = part(reply(found, "CollectorInfoRequest", {}) or "")
    statistics = part(reply(found, "SandeshMessageStatsReq", {}) or "")

    assert collector == {"ip": "10.0.0.1", "port": 8086, "status": "Established"}
    sent = {row["message_type"]: row["stats"]["messages_sent"] for row in statistics["stats"]["type_stats"]}
    total = statistics["stats"]["aggregate_stats"]
    assert sent == {"NodeStatusUVE": 1, "SandeshCtrlClientToServer": 1, "SandeshModuleClientTrace": 1}
    assert (total["messages_sent"], total["messages_sent_dropped"]) == (3, 0)
    assert total["bytes_sent"] == found.ledger.sent_bytes.total() > 3000
    assert statistics["send_queue_stats"] == {"enqueues": 3, "count": 0, "max_count": 2}
    assert statistics["sending_level"] == "INVALID"


def test_drops_are_counted_by_reason() -> None:
    """
    Why messages were not sent can be seen, of each type and of all.
    """
    found = bring(State.ESTABLISHED)
    _, (written,) = found.log(BMS_LIFECYCLE_EVENT_LOG, {"name": "n"}, NOW, 0)
    assert isinstance(written, Write)
    size = len(written.data)
    found.log(BMS_LIFECYCLE_EVENT_LOG, {"name": "n"}, NOW, 25 * MIB)
    found.sending.object_logs = False
    found.log(BMS_LIFECYCLE_EVENT_LOG, {"name": "n"}, NOW, 0)
    found.closed(found.attempt, NOW)
    found.log(BMS_LIFECYCLE_EVENT_LOG, {"name": "n"}, NOW, 0)

    (row,) = [
        row["stats"]
        for row in part(reply(found, "SandeshMessageStatsReq", {}) or "")["stats"]["type_stats"]
        if row["message_type"] == "BmsLifecycleEventLog"
    ]

    assert row == {
        "messages_sent": 1,
        "bytes_sent": size,
        "messages_sent_dropped": 3,
        "messages_sent_dropped_no_session": 1,
        "messages_sent_dropped_queue_level": 1,
        "messages_sent_dropped_sending_disabled": 1,
        "bytes_sent_dropped": 3 * size,
        "bytes_sent_dropped_no_session": size,
        "bytes_sent_dropped_queue_level": size,
        "bytes_sent_dropped_sending_disabled": size,
    }


def test_sessions_that_were_given_up_are_shown() -> None:
    """
    When the last was, and how long the next one is kept whatever its queue; nothing before the first.
    """
    found = bring(State.ESTABLISHED)

    def closing() -> Any:
        told = part(reply(found, "SandeshMessageStatsReq", {}) or "")
        return told["session_close_interval_msec"], told["session_close_timestamp"]

    assert closing() == (0, 0)
    for wait, interval in ((1, 10_000), (12, 20_000)):
        before = found.marks.closed_at or NOW
        found.uve(IRONIC_NODE_INFO, {"name": "n"}, before + wait * SECOND, 51 * MIB)
        assert closing() == (interval, before + wait * SECOND)
        found.expired(found._timer, NOW)
        found.connected(found.attempt, NOW)
        found.received(found.attempt, ACCEPTED, NOW)


def test_the_class_of_service_is_that_of_the_connection() -> None:
    """
    None is shown while there is no connection.
    """
    for state, shown in ((State.ESTABLISHED, 8), (State.CLIENT_INIT, 8), (State.IDLE, 0)):
        found = bring(state)
        found.dscp = 8
        assert part(reply(found, "SandeshSendingParamsStatus", {}) or "")["dscp"] == shown


def unsent(found: ClientSession) -> bool:
    return found.unsent


def test_what_is_switched_off_waits() -> None:
    """
    UVEs that were held back by either switch are sent whole when all is on again.
    """
    for request, off, on in (
        ("SandeshSendingParamsSet", {"disable_all_logs": "true"}, {"disable_all_logs": "false"}),
        ("SandeshSendQueueSet", {"enable": "0"}, {"enable": "1"}),
        ("SandeshSendQueueSet", {"x": "false"}, {"x": "true"}),
    ):
        found = bring(State.ESTABLISHED)
        reply(found, request, off)
        assert found.uve(IRONIC_NODE_INFO, {"name": "n", "driver": "ipmi"}, NOW, 0) == []
        assert not unsent(found)
        assert found.pump(NOW, 0) == []
        reply(found, request, on)
        assert unsent(found)
        assert "IronicNodeInfo" in sent_names(found.pump(NOW, 0))


def test_parameters() -> None:
    """
    Setting answers with all of them; nonsense changes nothing.
    """
    found = bring(State.ESTABLISHED)

    def ask(name: str, **query: str) -> Any:
        return part(reply(found, name, query) or "")

    assert ask("SandeshSendingParamsStatus") == {
        "system_logs_rate_limit": 10,
        "disable_object_logs": False,
        "disable_all_logs": False,
        "dscp": 0,
    }
    changed = ask("SandeshSendingParamsSet", system_logs_rate_limit="7", disable_object_logs="true")
    assert changed == {"system_logs_rate_limit": 7, "disable_object_logs": True, "disable_all_logs": False, "dscp": 0}
    assert ask("SandeshSendingParamsSet", system_logs_rate_limit="-1", disable_all_logs="perhaps") == changed
    assert ask("SandeshSendQueueStatus") == {"enable": True}
    assert ask("SandeshLoggingParamsStatus") == {"enable": False, "category": "", "log_level": "SYS_INFO"}
    wanted = {"enable": True, "category": "BMS", "log_level": "SYS_DEBUG"}
    assert ask("SandeshLoggingParamsSet", enable="true", category="BMS", log_level="SYS_DEBUG") == wanted
    assert ask("SandeshLoggingParamsSet", log_level="SYS_LOUD") == wanted


def test_messages_are_logged_if_asked_for() -> None:
    """
    Those of a category and level, as they are written.
    """
    found = bring(State.ESTABLISHED)
    heard: list[str] = []
    found.ledger.echo = lambda name, _: heard.append(name)
    reply(found, "SandeshLoggingParamsSet", {"enable": "true", "category": "BMS"})

    found.uve(IRONIC_NODE_INFO, {"name": "n"}, NOW, 0)
    found.log(BMS_LIFECYCLE_EVENT_LOG, {"name": "n"}, NOW, 0)

    assert heard == ["BmsLifecycleEventLog"]


def test_traces() -> None:
    """
    The last messages and states in words, the newest few if so asked; a trace that is off stays as it was.
    """
    found = bring(State.ESTABLISHED)

    def ask(name: str, **query: str) -> Any:
        return part(reply(found, name, query) or "")

    names = ask("SandeshTraceBufferListRequest")["trace_buffer_list"]
    assert names == [{"trace_buf_name": "Messages"}, {"trace_buf_name": "States"}]
    states = [line.split(" ", 1)[1] for line in ask("SandeshTraceRequest", buf_name="States")["traces"]]
    assert states == [
        "Stopped to Connect on EvStart",
        "Connect to ClientInit on EvTcpConnected",
        "ClientInit to Established on EvSandeshCtrlMessageRecv",
    ]
    (last,) = ask("SandeshTraceRequest", x="Messages", count="1")["traces"]
    assert last == "2023-11-14T22:13:20+00:00 NodeStatusUVE 3"
    assert ask("SandeshTraceRequest", buf_name="None")["traces"] == []
    off = ask("SandeshTraceBufferEnableDisableReq", trace_buf_name="Messages", enable="false")
    assert off == {"enable_disable_status": "Trace buffer Disabled"}
    found.uve(IRONIC_NODE_INFO, {"name": "n"}, NOW, 0)
    assert ask("SandeshTraceRequest", buf_name="Messages", count="1")["traces"] == [last]
    rows = ask("SandeshTraceBufStatusReq")["trace_buf_status_list"]
    assert [(row["enable_disable"], row["buffer_length"]) for row in rows] == [("Disabled", 1000), ("Enabled", 1000)]
    assert ask("SandeshTraceBufferEnableDisableReq", x="None") == {"enable_disable_status": "Invalid Trace buffer"}
    assert ask("SandeshTraceEnableDisableReq") == {"enable_disable_status": "Sandesh Trace Disabled"}
    assert ask("SandeshTraceEnableDisableReq", enable="1") == {"enable_disable_status": "Sandesh Trace Enabled"}


def test_system_logs_are_limited() -> None:
    """
    Of each type so many a second, none if the limit is 0; other messages are not.
    """
    found = bring(State.ESTABLISHED)
    one, other = (Message(name, Kind.SYSTEM, (Field("text", Scalar.STRING, 1),)) for name in ("One", "Other"))

    def fates(message: Message, now: int, count: int) -> list[Fate]:
        return [found.log(message, {"text": "x"}, now, 0)[0] for _ in range(count)]

    assert fates(one, NOW, 12) == [Fate.QUEUED] * 10 + [Fate.RATE_LIMITED] * 2
    assert fates(other, NOW, 1) == [Fate.QUEUED]
    assert fates(one, NOW + 1_000_000, 1) == [Fate.QUEUED]
    assert fates(OBJECT_LOG, NOW, 50) == [Fate.QUEUED] * 50
    found.sending.system_logs = 0
    assert fates(one, NOW + 2_000_000, 1) == [Fate.SENDING_DISABLED]


def serve(scenario: Callable[[TestClient[web.Request, web.Application]], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        found = bring(State.ESTABLISHED)
        async with TestClient(TestServer(introspection(found, MODULE))) as client:
            await scenario(client)

    asyncio.run(whole())


def test_over_http() -> None:
    """
    contrail-status finds what it asks for where it asks, with the reference's content types.
    """

    async def scenario(client: TestClient[web.Request, web.Application]) -> None:
        for path, name in (
            ("/", "index.html"),
            ("/index.html", "index.html"),
            ("/Snh_SandeshUVECacheReq?x=NodeStatus", "Snh_SandeshUVECacheReq_x_NodeStatus"),
            ("/Snh_SandeshUVECacheReq?tname=NodeStatus", "Snh_SandeshUVECacheReq_x_NodeStatus"),
            ("/Snh_SandeshUVETypesReq", "Snh_SandeshUVETypesReq"),
        ):
            response = await client.get(path)
            assert response.status == 200
            assert response.headers["Content-Type"].split(";")[0] == content_type(name)
        text = await (await client.get("/Snh_SandeshUVECacheReq?x=NodeStatus")).text()
        root = etree.fromstring(text)
        assert [found.text for found in root.iter("state")] == ["Functional"]

    serve(scenario)


@pytest.mark.parametrize("path", ["/nothing.xml", "/Snh_Nothing", "/nothing", "/Snh_", "/../etc/passwd"])
def test_not_found(path: str) -> None:
    """
    What is not there is not found.
    """

    async def scenario(client: TestClient[web.Request, web.Application]) -> None:
        assert (await client.get(path)).status == 404

    serve(scenario)


def test_forms_over_http() -> None:
    """
    Each form page of the index is there, and the style sheet that every reply names.
    """

    async def scenario(client: TestClient[web.Request, web.Application]) -> None:
        for page in PAGES:
            response = await client.get(f"/{page.name}.xml")
            assert response.headers["Content-Type"].startswith("text/xml")
            assert [found.tag for found in etree.fromstring(await response.read())] == [
                message.name for message, _ in page.requests
            ]
        etree.XSLT(etree.fromstring(await (await client.get("/universal_parse.xsl")).read()))

    serve(scenario)


def test_no_markup_from_outside() -> None:
    """
    The name of a module cannot put markup into the page.
    """
    assert "<b>" not in index_page("<b>", ["<b>"])
    assert all(isinstance(message, Message) for page in PAGES for message, _ in page.requests)
