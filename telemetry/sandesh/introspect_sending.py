# SPDX-License-Identifier: Apache-2.0
"""Counts, and the switches of sending and logging, on the introspection pages.

Whoever reaches the pages may turn the switches; they are on again after a restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from telemetry.sandesh import counts
from telemetry.sandesh.introspect_form import fields_of, flag, reply_of
from telemetry.sandesh.schema import Level, ListOf, Scalar, Struct, request, response
from telemetry.sandesh.session import ClientSession
from telemetry.sandesh.states import State
from telemetry.sandesh.statistics import MESSAGE_STATISTICS

STATISTICS_REQUEST: Final = request("SandeshMessageStatsReq")
LOGGING_SET: Final = request(
    "SandeshLoggingParamsSet",
    fields_of((1, "enable", Scalar.BOOL), (2, "category", Scalar.STRING), (3, "log_level", Scalar.STRING)),
)
LOGGING_STATUS: Final = request("SandeshLoggingParamsStatus")
SENDING_SET: Final = request(
    "SandeshSendingParamsSet",
    fields_of(
        (1, "system_logs_rate_limit", Scalar.U32),
        (2, "disable_object_logs", Scalar.BOOL),
        (3, "disable_all_logs", Scalar.BOOL),
    ),
)
SENDING_STATUS: Final = request("SandeshSendingParamsStatus")
QUEUE_SET: Final = request("SandeshSendQueueSet", fields_of((1, "enable", Scalar.BOOL)))
QUEUE_STATUS: Final = request("SandeshSendQueueStatus")

_TYPE_STATISTICS = Struct(
    "SandeshMessageTypeStats", fields_of((1, "message_type", Scalar.STRING), (2, "stats", MESSAGE_STATISTICS))
)
_GENERATOR_STATISTICS = Struct(
    "SandeshGeneratorStats",
    fields_of((1, "type_stats", ListOf(_TYPE_STATISTICS)), (2, "aggregate_stats", MESSAGE_STATISTICS)),
)
_QUEUE_STATISTICS = Struct(
    "SandeshQueueStats",
    fields_of((1, "enqueues", Scalar.U64), (2, "count", Scalar.U64), (3, "max_count", Scalar.U64)),
)
_STATISTICS_RESPONSE = response(
    "SandeshMessageStatsResp",
    fields_of(
        (1, "stats", _GENERATOR_STATISTICS),
        (2, "send_queue_stats", _QUEUE_STATISTICS),
        (3, "sending_level", Scalar.STRING),
        (4, "session_close_interval_msec", Scalar.U64),
        (5, "session_close_timestamp", Scalar.U64),
    ),
)
_LOGGING_RESPONSE = response(
    "SandeshLoggingParams",
    fields_of((1, "enable", Scalar.BOOL), (2, "category", Scalar.STRING), (3, "log_level", Scalar.STRING)),
)
_SENDING_RESPONSE = response(
    "SandeshSendingParams",
    fields_of(
        (1, "system_logs_rate_limit", Scalar.U32),
        (2, "disable_object_logs", Scalar.BOOL),
        (3, "disable_all_logs", Scalar.BOOL),
        (4, "dscp", Scalar.U16),
    ),
)
_QUEUE_RESPONSE = response("SandeshSendQueueResponse", fields_of((1, "enable", Scalar.BOOL)))

_LEVELS: Final = {f"SYS_{level.name}": level for level in Level if 0 <= level <= Level.DEBUG}
_NAMES: Final = {int(Level.INVALID): "INVALID", int(Level.SYS_UVE): "SYS_UVE"} | {
    int(level): name for name, level in _LEVELS.items()
}


def statistics(session: ClientSession, _query: Mapping[str, str] | None = None) -> str:
    """Messages and bytes sent and dropped, by type and why, how the queue stands, and when it was too long."""
    ledger = session.ledger
    values: dict[str, Any] = {
        "stats": {
            "type_stats": [
                {"message_type": name, "stats": counts.of_type(ledger, name)} for name in counts.types(ledger)
            ],
            "aggregate_stats": counts.of_type(ledger, None),
        },
        "session_close_interval_msec": session.marks.close_interval,
        "session_close_timestamp": session.marks.closed_at,
    }
    if session.state is State.ESTABLISHED:
        written = ledger.sent.total()
        values["send_queue_stats"] = {
            "enqueues": written + session.waiting,
            "count": session.waiting,
            "max_count": session.longest,
        }
        values["sending_level"] = _NAMES.get(session.marks.level, str(session.marks.level))
    return reply_of((), _STATISTICS_RESPONSE, values)


def logging_parameters(session: ClientSession, query: Mapping[str, str]) -> str:
    """Turns the switches that are given, and shows all."""
    logging = session.ledger.logging
    logging.enabled = flag(query, "enable", default=logging.enabled)
    logging.category = query.get("category", logging.category)
    # An unknown level changes nothing; the answer says which one holds.
    logging.level = _LEVELS.get(query.get("log_level", ""), Level(logging.level))
    values = {"enable": logging.enabled, "category": logging.category, "log_level": _NAMES[logging.level]}
    return reply_of((), _LOGGING_RESPONSE, values)


def sending_parameters(session: ClientSession, query: Mapping[str, str]) -> str:
    """Turns the switches that are given, and shows all."""
    sending = session.sending
    limit = query.get("system_logs_rate_limit", "")
    if limit.isascii() and limit.isdecimal() and len(limit) < 10:
        sending.system_logs = int(limit)
    sending.object_logs = not flag(query, "disable_object_logs", default=not sending.object_logs)
    sending.everything = not flag(query, "disable_all_logs", default=not sending.everything)
    values = {
        "system_logs_rate_limit": sending.system_logs,
        "disable_object_logs": not sending.object_logs,
        "disable_all_logs": not sending.everything,
        # Of the session's connection; the reference shows 0 as well while there is none.
        "dscp": session.dscp if session.state in {State.CLIENT_INIT, State.ESTABLISHED} else 0,
    }
    return reply_of((), _SENDING_RESPONSE, values)


def send_queue(session: ClientSession, query: Mapping[str, str]) -> str:
    """Holds what is to be sent, or lets it go on."""
    session.sending.queue = flag(query, "enable", default=session.sending.queue)
    return reply_of((), _QUEUE_RESPONSE, {"enable": session.sending.queue})


REQUESTS: Final = (
    (STATISTICS_REQUEST, statistics),
    (LOGGING_SET, logging_parameters),
    (LOGGING_STATUS, lambda session, _: logging_parameters(session, {})),
    (SENDING_SET, sending_parameters),
    (SENDING_STATUS, lambda session, _: sending_parameters(session, {})),
    (QUEUE_SET, send_queue),
    (QUEUE_STATUS, lambda session, _: send_queue(session, {})),
)
