# SPDX-License-Identifier: Apache-2.0
"""The pages on which a generator shows itself, as text.

contrail-status and operators' tools read these from every Contrail process. A reply is messages in
the wire's own form behind the name of a style sheet; several parts stand in a list.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from telemetry.sandesh import introspect_alarms, introspect_sending, introspect_trace
from telemetry.sandesh.introspect_form import Page, fields_of, reply_of
from telemetry.sandesh.schema import Field, Kind, ListOf, Scalar, Struct, request, response
from telemetry.sandesh.session import ClientSession
from telemetry.sandesh.uve import UveCache

_NO_PERIOD: Final = -1


CACHE_REQUEST: Final = request("SandeshUVECacheReq", fields_of((1, "tname", Scalar.STRING), (2, "key", Scalar.STRING)))
TYPES_REQUEST: Final = request("SandeshUVETypesReq")
COLLECTOR_REQUEST: Final = request("CollectorInfoRequest")

_CACHE_RESPONSE = response("SandeshUVECacheResp", fields_of((1, "returned", Scalar.U32), (2, "period", Scalar.I32)))
_TYPE_INFO = Struct(
    "SandeshUVETypeInfo",
    (
        Field("type_name", Scalar.STRING, 1, (("link", CACHE_REQUEST.name),)),
        *fields_of((2, "seq_num", Scalar.U32), (3, "period", Scalar.I32)),
    ),
)
_TYPES_RESPONSE = response("SandeshUVETypesResp", fields_of((1, "type_info", ListOf(_TYPE_INFO))))
_COLLECTOR_RESPONSE = response(
    "CollectorInfoResponse", fields_of((1, "ip", Scalar.STRING), (2, "port", Scalar.I32), (3, "status", Scalar.STRING))
)


def cache_reply(cache: UveCache, struct: str, key: str = "") -> str:
    """The UVEs of a type, by its struct's name; one of them if *key* names it."""
    messages = (cache.again(ref) for ref in cache.refs(struct, key))
    parts = [(told.message.name, told.body) for told in messages if told is not None and told.message.kind is Kind.UVE]
    return reply_of(parts, _CACHE_RESPONSE, {"returned": len(parts), "period": _NO_PERIOD})


def types_reply(cache: UveCache) -> str:
    """The types of UVE, each with the number of its last message."""
    rows = [
        {"type_name": message.data.name, "seq_num": cache.number(message), "period": _NO_PERIOD}
        for message in cache.types
        if message.kind is Kind.UVE
    ]
    return reply_of((), _TYPES_RESPONSE, {"type_info": rows})


def collector_reply(session: ClientSession) -> str:
    """The collector in use, and how the session with it is."""
    collector = session.collector
    values: dict[str, Any] = {"status": session.state.value}
    if collector is not None:
        values |= {"ip": collector.host, "port": collector.port}
    return reply_of((), _COLLECTOR_RESPONSE, values)


PAGES: Final = (
    Page(
        "sandesh_uve",
        (
            (
                CACHE_REQUEST,
                lambda session, query: cache_reply(session.cache, query.get("tname", ""), query.get("key", "")),
            ),
            (TYPES_REQUEST, lambda session, _: types_reply(session.cache)),
            (COLLECTOR_REQUEST, lambda session, _: collector_reply(session)),
            *introspect_sending.REQUESTS,
        ),
    ),
    introspect_alarms.PAGE,
    introspect_trace.PAGE,
)
"""What we answer."""


def reply(session: ClientSession, name: str, query: Mapping[str, str]) -> str | None:
    """The answer to the request called *name*, or None if there is no such request.

    Args:
        session: whose state is shown.
        name: without the ``Snh_`` of its address.
        query: field values; ``x`` stands for the first field, as contrail-status has it.
    """
    for page in PAGES:
        for message, answer in page.requests:
            if message.name == name:
                first = {message.fields[0].name: query["x"]} if message.fields and "x" in query else {}
                return answer(session, {**first, **query})
    return None
