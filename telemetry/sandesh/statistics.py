# SPDX-License-Identifier: Apache-2.0
"""The statistics that every Contrail process tells of its sending, as the reference's ``sandesh_uve.sandesh`` has them.

All fields are here, also those that we have nothing to say of: with them the signature of `SANDESH_MODULE_CLIENT_TRACE`
comes to the reference's own.
"""

from __future__ import annotations

from typing import Final

from telemetry.sandesh.schema import Field, ListOf, Scalar, Struct, Type

DROPS: Final = (
    "no_queue",
    "no_client",
    "no_session",
    "queue_level",
    "client_send_failed",
    "session_not_connected",
    "header_write_failed",
    "write_failed",
    "wrong_client_sm_state",
    "validation_failed",
    "rate_limited",
    "sending_disabled",
    "sending_to_syslog",
)
"""Why messages are not sent, in the order of their counters."""
_LOST: Final = ("no_queue", "queue_level", "create_failed", "control_msg_failed", "decoding_failed")
"""Why received ones are not taken."""


def _numbers(first: int, *names: str, optional: bool = True) -> tuple[Field, ...]:
    return tuple(Field(name, Scalar.U64, first + step, optional=optional) for step, name in enumerate(names))


def _optional(*rows: tuple[int, str, Type]) -> tuple[Field, ...]:
    return tuple(Field(name, type_, identifier, optional=True) for identifier, name, type_ in rows)


MESSAGE_STATISTICS: Final = Struct(
    "SandeshMessageStats",
    (
        *_numbers(1, "messages_sent", "bytes_sent", "messages_received", "bytes_received"),
        *_numbers(5, "messages_sent_dropped", "bytes_sent_dropped"),
        *_numbers(7, "messages_received_dropped", "bytes_received_dropped"),
        *_numbers(51, *(f"messages_sent_dropped_{why}" for why in DROPS)),
        *_numbers(81, *(f"bytes_sent_dropped_{why}" for why in DROPS)),
        *_numbers(101, *(f"messages_received_dropped_{why}" for why in _LOST)),
        *_numbers(131, *(f"bytes_received_dropped_{why}" for why in _LOST)),
    ),
)

_EVENT_STATISTICS = Struct(
    "SandeshStateMachineEvStats",
    (
        Field("event", Scalar.STRING, 1),
        *_numbers(2, "enqueues", "dequeues", "enqueue_fails", "dequeue_fails", optional=False),
    ),
)
STATE_MACHINE_STATISTICS: Final = Struct(
    "SandeshStateMachineStats",
    _optional(
        (1, "ev_stats", ListOf(_EVENT_STATISTICS)),
        (2, "state", Scalar.STRING),
        (3, "state_since", Scalar.U64),
        (4, "last_state", Scalar.STRING),
        (5, "last_event", Scalar.STRING),
        (6, "last_event_at", Scalar.U64),
    ),
)
SESSION_STATISTICS: Final = Struct(
    "SandeshSessionStats",
    _numbers(
        1,
        *("num_recv_msg", "num_recv_msg_fail", "num_recv_fail", "num_send_msg", "num_send_msg_fail"),
        *("num_send_buffer_fail", "num_wait_msgq_enqueue", "num_wait_msgq_dequeue", "num_write_ready_cb_error"),
        optional=False,
    ),
)
SOCKET_STATISTICS: Final = Struct(
    "SocketIOStats",
    (
        *_numbers(1, "bytes", "calls", optional=False),
        Field("average_bytes", Scalar.DOUBLE, 3),
        Field("blocked_duration", Scalar.STRING, 4),
        *_numbers(5, "blocked_count", optional=False),
        Field("average_blocked_duration", Scalar.STRING, 6),
        *_numbers(7, "errors", optional=False),
    ),
)
