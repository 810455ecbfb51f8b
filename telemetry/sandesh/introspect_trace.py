# SPDX-License-Identifier: Apache-2.0
"""Traces on the introspection pages: the last messages, and the last changes of the session's state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from telemetry.sandesh.introspect_form import Page, fields_of, flag, reply_of
from telemetry.sandesh.schema import Field, ListOf, Scalar, Struct, request, response
from telemetry.sandesh.session import ClientSession

TRACE_REQUEST: Final = request(
    "SandeshTraceRequest", fields_of((1, "buf_name", Scalar.STRING), (2, "count", Scalar.I32))
)
LIST_REQUEST: Final = request("SandeshTraceBufferListRequest")
ENABLE_REQUEST: Final = request("SandeshTraceEnableDisableReq", fields_of((1, "enable", Scalar.BOOL)))
STATUS_REQUEST: Final = request("SandeshTraceBufStatusReq")
BUFFER_REQUEST: Final = request(
    "SandeshTraceBufferEnableDisableReq", fields_of((1, "trace_buf_name", Scalar.STRING), (2, "enable", Scalar.BOOL))
)

_NAME = Field("trace_buf_name", Scalar.STRING, 1, (("link", TRACE_REQUEST.name),))
_TEXT_RESPONSE = response("SandeshTraceTextResponse", fields_of((1, "traces", ListOf(Scalar.STRING))))
_LIST_RESPONSE = response(
    "SandeshTraceBufferListResponse",
    fields_of((1, "trace_buffer_list", ListOf(Struct("SandeshTraceBufInfo", (_NAME,))))),
)
_ENABLE_RESPONSE = response("SandeshTraceEnableDisableRes", fields_of((1, "enable_disable_status", Scalar.STRING)))
_STATUS = Struct(
    "SandeshTraceBufStatusInfo",
    (_NAME, *fields_of((2, "enable_disable", Scalar.STRING), (3, "buffer_length", Scalar.U32))),
)
_STATUS_RESPONSE = response("SandeshTraceBufStatusRes", fields_of((1, "trace_buf_status_list", ListOf(_STATUS))))
_BUFFER_RESPONSE = response(
    "SandeshTraceBufferEnableDisableRes", fields_of((1, "enable_disable_status", Scalar.STRING))
)


def _trace(session: ClientSession, query: Mapping[str, str]) -> str:
    trace = session.ledger.traces.get(query.get("buf_name", ""))
    count = query.get("count", "")
    number = int(count) if count.isascii() and count.isdecimal() and len(count) < 10 else 0
    return reply_of((), _TEXT_RESPONSE, {"traces": list(trace.last(number)) if trace else []})


def _list(session: ClientSession, _query: Mapping[str, str]) -> str:
    names = [{"trace_buf_name": name} for name in session.ledger.traces]
    return reply_of((), _LIST_RESPONSE, {"trace_buffer_list": names})


def _enable(session: ClientSession, query: Mapping[str, str]) -> str:
    ledger = session.ledger
    ledger.tracing = flag(query, "enable", default=not ledger.tracing)
    said = f"Sandesh Trace {'Enabled' if ledger.tracing else 'Disabled'}"
    return reply_of((), _ENABLE_RESPONSE, {"enable_disable_status": said})


def _status(session: ClientSession, _query: Mapping[str, str]) -> str:
    rows = [
        {
            "trace_buf_name": name,
            "enable_disable": "Enabled" if trace.enabled else "Disabled",
            "buffer_length": trace.lines.maxlen,
        }
        for name, trace in session.ledger.traces.items()
    ]
    return reply_of((), _STATUS_RESPONSE, {"trace_buf_status_list": rows})


def _buffer(session: ClientSession, query: Mapping[str, str]) -> str:
    trace = session.ledger.traces.get(query.get("trace_buf_name", ""))
    if trace is None:
        said = "Invalid Trace buffer"
    else:
        trace.enabled = flag(query, "enable", default=not trace.enabled)
        said = f"Trace buffer {'Enabled' if trace.enabled else 'Disabled'}"
    return reply_of((), _BUFFER_RESPONSE, {"enable_disable_status": said})


PAGE: Final = Page(
    "sandesh_trace",
    (
        (TRACE_REQUEST, _trace),
        (LIST_REQUEST, _list),
        (ENABLE_REQUEST, _enable),
        (STATUS_REQUEST, _status),
        (BUFFER_REQUEST, _buffer),
    ),
)
