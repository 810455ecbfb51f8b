# SPDX-License-Identifier: Apache-2.0
"""What a generator says of itself when a connection is open, and what the collector answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from telemetry.sandesh.decode import Decoded
from telemetry.sandesh.encode import Values
from telemetry.sandesh.messages import SANDESH_CTRL_SERVER_TO_CLIENT
from telemetry.sandesh.schema import Hint, Message
from telemetry.sandesh.settings import GeneratorSettings
from telemetry.sandesh.tree import fields


def hello(settings: GeneratorSettings, connects: int, types: Iterable[Message]) -> Values:
    """The values of ``SandeshCtrlClientToServer``: who we are, and of which UVEs *types* we shall tell."""
    identity = settings.identity
    return {
        "source": identity.source,
        "module_name": identity.module,
        "sucessful_connections": connects,
        "uve_types": [known.name for known in types],
        "pid": settings.pid,
        "http_port": settings.http_port,
        "node_type_name": identity.node_type,
        "instance_id_name": identity.instance,
    }


def is_answer(message: Decoded) -> bool:
    """Whether it answers that. Collectors send nothing else that concerns a generator."""
    return bool(message.header.hints & Hint.CONTROL) and message.body.name == SANDESH_CTRL_SERVER_TO_CLIENT.name


def accepted(answer: Decoded) -> Mapping[str, int] | None:
    """By type of UVE, the number of the last that the collector has; None if it refuses us."""
    values = fields(answer.body)
    if values.get("success") is not True:
        return None
    types = values.get("type_info")
    known: dict[str, int] = {}
    for row in types if isinstance(types, list) else ():
        if isinstance(row, dict):
            name, number = row.get("type_name"), row.get("seq_num")
            if isinstance(name, str) and isinstance(number, int):
                known[name] = number
    return known
