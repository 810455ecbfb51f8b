# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from lxml import etree

from telemetry.sandesh.decode import parse_fragment
from telemetry.sandesh.introspect import PAGES, cache_reply, reply, types_reply
from telemetry.sandesh.introspect_form import form_page, index_page
from telemetry.sandesh.introspect_http import introspection
from telemetry.sandesh.messages import IRONIC_NODE_INFO, NODE_STATUS_UVE, OBJECT_CONFIG_NODE
from telemetry.sandesh.schema import Field, Message, Scalar, Struct, uve
from telemetry.sandesh.states import State
from telemetry.sandesh.tree import fields
from telemetry.sandesh.uve import UveCache
from tests.telemetry.sandesh.test_session import bring
from tests.telemetry.sandesh.vectors import BY_NAME, GOLDEN

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
    assert {"message_type": "NodeStatusUVE", "stats": {"messages_sent": 1}} in statistics["stats"]["type_stats"]
    assert statistics["stats"]["aggregate_stats"] == {"messages_sent": 3, "messages_sent_dropped": 0}


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
