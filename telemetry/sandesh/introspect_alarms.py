# SPDX-License-Identifier: Apache-2.0
"""Alarms on the introspection pages: which are raised, and acknowledging one.

Analytics acknowledges here what people acknowledge there; it finds us by the alarm's token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from telemetry.sandesh.introspect_form import Page, fields_of, reply_of
from telemetry.sandesh.schema import Field, ListOf, Scalar, Struct, request, response
from telemetry.sandesh.session import ClientSession

CACHE_REQUEST: Final = request(
    "SandeshAlarmCacheRequest", fields_of((1, "table", Scalar.STRING), (2, "name", Scalar.STRING))
)
TYPES_REQUEST: Final = request("SandeshAlarmTypesRequest")
ACKNOWLEDGE_REQUEST: Final = request(
    "SandeshAlarmAckRequest",
    fields_of(
        (1, "table", Scalar.STRING),
        (2, "name", Scalar.STRING),
        (3, "type", Scalar.STRING),
        (4, "timestamp", Scalar.U64),
    ),
)

_CACHE_RESPONSE = response("SandeshAlarmCacheResponse", fields_of((1, "count", Scalar.U32)))
_TYPE_INFO = Struct("SandeshAlarmTypeInfo", (Field("table", Scalar.STRING, 1, (("link", CACHE_REQUEST.name),)),))
_TYPES_RESPONSE = response("SandeshAlarmTypesResponse", fields_of((1, "type_info", ListOf(_TYPE_INFO))))
_ACKNOWLEDGE_RESPONSE = response(
    "SandeshAlarmAckResponse", fields_of((1, "status", Scalar.BOOL), (2, "error_msg", Scalar.STRING))
)


def _cache(session: ClientSession, query: Mapping[str, str]) -> str:
    refs = session.cache.alarms(query.get("table", ""), query.get("name", ""))
    found = [told for ref in refs if (told := session.cache.again(ref)) is not None]
    return reply_of(((told.message.name, told.body) for told in found), _CACHE_RESPONSE, {"count": len(found)})


def _types(session: ClientSession, _query: Mapping[str, str]) -> str:
    return reply_of((), _TYPES_RESPONSE, {"type_info": [{"table": table} for table in session.cache.alarm_tables]})


def _acknowledge(session: ClientSession, query: Mapping[str, str]) -> str:
    since = query.get("timestamp", "")
    if not (since.isascii() and since.isdecimal() and len(since) < 20):
        complaint = "Invalid Alarm Ack request"
    else:
        complaint = session.acknowledge(
            query.get("table", ""), query.get("name", ""), query.get("type", ""), int(since)
        )
    values: dict[str, Any] = {"status": not complaint}
    if complaint:
        values["error_msg"] = complaint
    return reply_of((), _ACKNOWLEDGE_RESPONSE, values)


PAGE: Final = Page(
    "sandesh_alarm", ((CACHE_REQUEST, _cache), (TYPES_REQUEST, _types), (ACKNOWLEDGE_REQUEST, _acknowledge))
)
