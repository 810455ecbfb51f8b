# SPDX-License-Identifier: Apache-2.0
"""How inventory tells what it did: the events of its streams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from services.kernel.calls import Call
from services.kernel.events import Event

_LONGEST = 200


def event(
    call: Call,
    stream: str,
    type_: str,
    *,
    facts: Mapping[str, str] | None = None,
    instance: str = "",
    project: str = "",
    operation: str = "",
    reason: str = "",
) -> Event:
    """An event of *stream* that this call made happen."""
    return Event(
        stream=stream,
        type=type_,
        time=call.now,
        actor=call.caller.subject,
        project=project,
        instance=instance,
        operation=operation,
        request_id=call.request_id,
        reason=reason,
        facts=dict(facts or {}),
    )


def values(before: Any, after: Any, prefix: str = "") -> dict[str, str]:
    """What *after* has that *before*, of its dataclass, has not: field paths and short texts. Specs hold no secrets."""
    found: dict[str, str] = {}
    for each in fields(after):
        old, new = getattr(before, each.name), getattr(after, each.name)
        if old == new:
            continue
        if is_dataclass(new):
            found |= values(old, new, f"{prefix}{each.name}.")
        else:
            text = _text(new)
            found[prefix + each.name] = text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
    return found


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={text}" for key, text in sorted(value.items()))
    if isinstance(value, tuple):
        # Of a port its MAC address, of a port group its label, of a disk its serial number: each is its first field.
        return ", ".join(
            str(getattr(item, fields(item)[0].name)) if is_dataclass(item) else str(item) for item in value
        )
    return "" if value is None else str(value)
