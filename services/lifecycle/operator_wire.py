# SPDX-License-Identifier: Apache-2.0
"""The operators' verbs between proto and domain."""

from __future__ import annotations

import json

from google.protobuf.json_format import Error as JsonError
from google.protobuf.json_format import MessageToDict

from bms.lifecycle.v1 import clean_pb2, server_move_pb2, server_power_pb2
from services.kernel.errors import InvalidField
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.moving import NewLink
from services.lifecycle.ports import CleanStep

_Asked = server_power_pb2.SetServerPowerRequest
_POWERS = {
    _Asked.POWER_ON: IntentKind.SWITCH_ON,
    _Asked.POWER_OFF: IntentKind.SWITCH_OFF,
    _Asked.POWER_REBOOT: IntentKind.SWITCH_REBOOT,
}


def power(request: server_power_pb2.SetServerPowerRequest) -> IntentKind:
    """What is asked for.

    Raises:
        InvalidField: nothing that there is.
    """
    kind = _POWERS.get(request.power)
    if kind is None:
        raise InvalidField("power", "is none of POWER_ON, POWER_OFF, POWER_REBOOT", remedy="Give one of them.")
    return kind


def clean_steps(request: clean_pb2.CleanServerRequest) -> tuple[CleanStep, ...]:
    """The steps that are asked for.

    Raises:
        InvalidField: an argument is none that JSON knows.
    """
    return tuple(
        CleanStep(step.interface, step.step, _args(step, f"steps[{index}].args"))
        for index, step in enumerate(request.steps)
    )


def links(request: server_move_pb2.MoveServerRequest) -> tuple[NewLink, ...]:
    """The new links that are asked for."""
    return tuple(NewLink(one.port, one.switch_name, one.switch_port, one.switch_id) for one in request.ports)


def _args(step: clean_pb2.CleanStep, field: str) -> str:
    try:
        return json.dumps(_whole(MessageToDict(step.args)), sort_keys=True, allow_nan=False)
    except (JsonError, ValueError):
        raise InvalidField(field, "holds a number that JSON cannot", remedy="Give finite numbers.") from None


def _whole(value: object) -> object:
    """*value* with whole numbers as such: a Struct has no others than doubles, and drivers count in whole ones."""
    if isinstance(value, dict):
        return {key: _whole(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
