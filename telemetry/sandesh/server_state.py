# SPDX-License-Identifier: Apache-2.0
"""What a collector tells of each generator that connects to it: ``ModuleServerState``, under the generator's own key.

The schema is the reference's ``collector_uve.sandesh``, but for what we have nothing to say of: queues and drops of a
database behind the collector (a session here waits for the store), and the statistics of a state machine's events.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from telemetry.sandesh.collector import GeneratorState
from telemetry.sandesh.header import Identity
from telemetry.sandesh.messages import OBJECT_GENERATOR_INFO
from telemetry.sandesh.reception import Received
from telemetry.sandesh.schema import Field, Kind, Level, ListOf, Message, Scalar, Struct, uve
from telemetry.sandesh.statistics import SESSION_STATISTICS, SOCKET_STATISTICS, STATE_MACHINE_STATISTICS

MOST_TYPES: Final = 200
"""Types of one generator's messages that are counted apart: analytics shows no attribute of 100,000 characters."""
OTHERS: Final = "(others)"
_LONGEST_NAME: Final = 80
_NO_TIME: Final = "00:00:00"

_COUNTS: Final = (
    Field("messages", Scalar.I64, 2),
    Field("bytes", Scalar.I64, 3),
    Field("last_msg_timestamp", Scalar.U64, 4),
)
_OF_TYPE = Struct("SandeshStats", (Field("message_type", Scalar.STRING, 1), *_COUNTS))
_OF_LEVEL = Struct(
    "SandeshLogLevelStats",
    (
        Field("level", Scalar.STRING, 1),
        Field("messages", Scalar.U64, 2),
        Field("bytes", Scalar.U64, 3),
        Field("last_msg_timestamp", Scalar.U64, 4),
    ),
)
_MESSAGES = Struct(
    "SandeshStatsInfo",
    (
        Field("hostname", Scalar.STRING, 1),
        Field("msgtype_stats", ListOf(_OF_TYPE), 2),
        Field("log_level_stats", ListOf(_OF_LEVEL), 3),
    ),
)
_CONNECTS = Struct(
    "GeneratorInfoAttr",
    (
        Field("connects", Scalar.U32, 1),
        Field("connect_time", Scalar.U64, 5),
        Field("resets", Scalar.U32, 2),
        Field("reset_time", Scalar.U64, 6),
        Field("in_clear", Scalar.BOOL, 4),
    ),
)
_INFO = Struct("GeneratorInfo", (Field("hostname", Scalar.STRING, 1), Field("gen_attr", _CONNECTS, 3)))
_UNION = (("aggtype", "union"),)
MODULE_SERVER_STATE: Final = Struct(
    "ModuleServerState",
    (
        Field("name", Scalar.STRING, 1, (("key", OBJECT_GENERATOR_INFO),)),
        Field("deleted", Scalar.BOOL, 2, optional=True),
        Field("msg_stats", ListOf(_MESSAGES), 3, _UNION, optional=True),
        Field("generator_info", ListOf(_INFO), 4, _UNION, optional=True),
        Field("sm_queue_count", Scalar.U64, 5, optional=True),
        Field("sm_stats", STATE_MACHINE_STATISTICS, 6, optional=True),
        Field("session_stats", SESSION_STATISTICS, 9, optional=True),
        Field("session_rx_socket_stats", SOCKET_STATISTICS, 10, optional=True),
        Field("session_tx_socket_stats", SOCKET_STATISTICS, 11, optional=True),
    ),
)
SANDESH_MODULE_SERVER_TRACE: Final[Message] = uve("SandeshModuleServerTrace", MODULE_SERVER_STATE)

_LEVELS: Final = {level.value: f"SYS_{level.name}" for level in Level if 0 <= level < 8} | {
    Level.SYS_UVE.value: "SYS_UVE",
    Level.INVALID.value: "INVALID",
}


@dataclass(slots=True)
class Tally:
    """Messages of one type or level; *last* is the newest one's own time, microseconds."""

    messages: int = 0
    size: int = 0
    last: int = 0

    def add(self, size: int, time: int) -> None:
        """Counts one."""
        self.messages += 1
        self.size += size
        self.last = time


@dataclass(slots=True)
class GeneratorRecord:
    """What a collector has seen of one generator since the collector began; times are microseconds, 0 for never.

    Attributes:
        connects, resets: how often its sessions began and ended; it is connected if there are more of the first.
    """

    connects: int = 0
    connect_time: int = 0
    resets: int = 0
    reset_time: int = 0
    types: dict[str, Tally] = field(default_factory=dict)
    levels: dict[str, Tally] = field(default_factory=dict)

    @property
    def connected(self) -> bool:
        """Whether it has a session."""
        return self.connects > self.resets

    def count(self, message: Received) -> None:
        """Counts a message; of system logs the level too."""
        header, size = message.message.header, len(message.frame)
        name = message.message.body.name[:_LONGEST_NAME]
        if name not in self.types and len(self.types) >= MOST_TYPES:
            name = OTHERS
        self.types.setdefault(name, Tally()).add(size, header.timestamp)
        if header.kind in {Kind.SYSTEM, Kind.SYSLOG}:
            level = _LEVELS.get(header.level, "UNKNOWN")
            self.levels.setdefault(level, Tally()).add(size, header.timestamp)


def connects(generator: Identity, record: GeneratorRecord, host: str) -> dict[str, Any]:
    """When sessions of *generator* began and ended, as the collector on *host* tells at once."""
    attributes = {
        "connects": record.connects,
        "connect_time": record.connect_time,
        "resets": record.resets,
        "reset_time": record.reset_time,
        "in_clear": False,
    }
    return {"name": str(generator), "generator_info": [{"hostname": host, "gen_attr": attributes}]}


def counts(generator: Identity, record: GeneratorRecord, host: str, state: GeneratorState | None) -> dict[str, Any]:
    """What it sent, as the collector tells it every minute; *state* is that of its session, if it has one."""
    told: dict[str, Any] = {
        "name": str(generator),
        "msg_stats": [
            {
                "hostname": host,
                "msgtype_stats": _tallies("message_type", record.types.items()),
                "log_level_stats": _tallies("level", record.levels.items()),
            }
        ],
        "sm_queue_count": 0,  # a session holds one message, and waits for the store
    }
    if state is not None:
        told["sm_stats"] = {"state": "Established", "state_since": record.connect_time, "last_state": "ServerInit"}
        told["session_stats"] = {one.name: 0 for one in SESSION_STATISTICS.fields} | {
            "num_recv_msg": state.messages,
            "num_send_msg": 1,
        }
        told["session_rx_socket_stats"] = _socket(state.size, state.reads)
        told["session_tx_socket_stats"] = _socket(state.sent, 1)
    return told


def _tallies(key: str, tallies: Iterable[tuple[str, Tally]]) -> list[dict[str, Any]]:
    return [
        {key: name, "messages": one.messages, "bytes": one.size, "last_msg_timestamp": max(0, one.last)}
        for name, one in sorted(tallies)
    ]


def _socket(size: int, calls: int) -> dict[str, Any]:
    return {
        "bytes": size,
        "calls": calls,
        "average_bytes": size / calls if calls else 0.0,
        "blocked_duration": _NO_TIME,
        "blocked_count": 0,
        "average_blocked_duration": _NO_TIME,
        "errors": 0,
    }
