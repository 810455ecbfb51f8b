# SPDX-License-Identifier: Apache-2.0
"""Alarms as Contrail's analytics has them: ``UVEAlarms`` of an object, all that are raised at once.

The schema is that of every Contrail release since 3.0 (``sandesh_alarm_base``). An alarm's rules say in analytics' own
words which condition on which UVE raised it: alternatives of conditions that hold together.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import orjson

from telemetry.sandesh.schema import Field, Kind, Level, ListOf, MapOf, Message, Scalar, Struct, Type


class Severity(IntEnum):
    """How bad it is; Contrail's numbers."""

    CRITICAL = 0
    MAJOR = 1
    MINOR = 2


@dataclass(frozen=True, slots=True)
class Alarm:
    """One that is raised.

    Attributes:
        type: its name, one of which an object has at most one.
        since: when it was raised, microseconds since 1970; with the type it says which one a person acknowledges.
        description: a sentence for people.
        operand, operation, limit, found: the condition, ``Struct.attribute`` of a UVE, ``==`` and the like, what it was
            compared with, and what was there.
    """

    type: str
    severity: Severity
    since: int
    description: str
    operand: str
    operation: str
    limit: object
    found: object


def _fields(*rows: tuple[int, str, Type], optional: bool = False) -> tuple[Field, ...]:
    return tuple(Field(name, type_, identifier, optional=optional) for identifier, name, type_ in rows)


_OPERAND2 = Struct(
    "AlarmOperand2", _fields((1, "uve_attribute", Scalar.STRING), (2, "json_value", Scalar.STRING), optional=True)
)
_CONDITION = Struct(
    "AlarmCondition",
    (
        *_fields((1, "operation", Scalar.STRING), (2, "operand1", Scalar.STRING), (3, "operand2", _OPERAND2)),
        *_fields((4, "variables", ListOf(Scalar.STRING)), optional=True),
    ),
)
_MATCH = Struct(
    "AlarmMatch",
    (
        *_fields((1, "json_operand1_value", Scalar.STRING)),
        *_fields(
            (2, "json_operand2_value", Scalar.STRING),
            (3, "json_variables", MapOf(Scalar.STRING, Scalar.STRING)),
            optional=True,
        ),
    ),
)
_CONDITION_MATCH = Struct("AlarmConditionMatch", _fields((1, "condition", _CONDITION), (2, "match", ListOf(_MATCH))))
_AND_LIST = Struct("AlarmAndList", _fields((1, "and_list", ListOf(_CONDITION_MATCH))))
_RULES = Struct("AlarmRules", _fields((1, "or_list", ListOf(_AND_LIST))))
_INFO = Struct(
    "UVEAlarmInfo",
    _fields(
        (1, "type", Scalar.STRING),
        (2, "alarm_rules", _RULES),
        (3, "ack", Scalar.BOOL),
        (4, "timestamp", Scalar.U64),
        (5, "severity", Scalar.BYTE),
        (6, "token", Scalar.STRING),
        (11, "description", Scalar.STRING),
    ),
)
UVE_ALARMS: Final = Struct(
    "UVEAlarms",
    (
        Field("name", Scalar.STRING, 1, (("key", ""),)),
        Field("alarms", ListOf(_INFO), 2, (("aggtype", "union"),)),
        Field("deleted", Scalar.BOOL, 3, optional=True),
    ),
)
ALARM_TRACE: Final = Message("AlarmTrace", Kind.ALARM, (Field("data", UVE_ALARMS, 1),), level=Level.NOTICE)
"""The table is that of the object, given when it is told."""


def token(host: str, port: int, since: int) -> str:
    """By which analytics finds the generator again that raised an alarm, to acknowledge it; "" without a port."""
    if not port:
        return ""
    return base64.b64encode(orjson.dumps({"host_ip": host, "http_port": port, "timestamp": since})).decode()


def uve_alarms(name: str, alarms: Iterable[tuple[Alarm, bool]], host: str, port: int) -> dict[str, Any]:
    """The ``UVEAlarms`` of the object called *name*.

    Args:
        alarms: all that are raised, each with whether it was acknowledged.
        host, port: of our introspection.
    """
    return {
        "name": name,
        "alarms": [
            {
                "type": alarm.type,
                "alarm_rules": _rules(alarm),
                "ack": acknowledged,
                "timestamp": alarm.since,
                "severity": int(alarm.severity),
                "token": token(host, port, alarm.since),
                "description": alarm.description,
            }
            for alarm, acknowledged in alarms
        ],
    }


def _rules(alarm: Alarm) -> dict[str, Any]:
    condition = {
        "operation": alarm.operation,
        "operand1": alarm.operand,
        "operand2": {"json_value": orjson.dumps(alarm.limit).decode()},
    }
    match = {"json_operand1_value": orjson.dumps(alarm.found).decode()}
    return {"or_list": [{"and_list": [{"condition": condition, "match": [match]}]}]}
