# SPDX-License-Identifier: Apache-2.0
"""An event in a sentence, and how much it matters: what people who watch analytics see first. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from bms.event.v1 import event_pb2
from telemetry.events import Followed
from telemetry.sandesh.schema import Level

LOG_RESTORED: Final = "log.restored"
"""Telemetry's own: a service's log does not go on where it was read to."""

LEVELS: Final[Mapping[str, Level]] = MappingProxyType(
    {
        "server.violated": Level.ALERT,
        "brake.pulled": Level.ALERT,
        LOG_RESTORED: Level.ALERT,
        "server.failed": Level.ERR,
        "server.overdue": Level.ERR,
        "address.contested": Level.ERR,
        "address.forced_free": Level.WARN,
        "address.withdrawn": Level.WARN,
        "adoption.undone": Level.WARN,
        "clean.skipped": Level.WARN,
        "controller.observed": Level.WARN,
        "forced.approved": Level.WARN,
        "forced.requested": Level.WARN,
        "power.attested": Level.WARN,
        "remedy.tried": Level.WARN,
        "server.patrolled": Level.WARN,
        "server.taken_over": Level.WARN,
        "server.waiting": Level.WARN,
        "step.failed": Level.WARN,
        "brake.released": Level.NOTICE,
        "forced.withdrawn": Level.NOTICE,
    }
)
"""Event type -> its urgency; ALERT is the alarm. All others are INFO."""

_QUARANTINED: Final = "quarantined"


def level(type_: str, before: str, after: str) -> Level:
    """How urgent an event of *type_* is that led a server from the state *before* to *after*."""
    if type_ == "server.state_changed" and _QUARANTINED in (before, after):
        return Level.ERR if after == _QUARANTINED else Level.NOTICE
    return LEVELS.get(type_, Level.INFO)


def sentence(event: Followed) -> str:
    """What happened; never empty."""
    header, body = event.header, event.body
    word = _WORDS.get(header.type)
    return word(header, body) if word else _plain(header, body)


def _plain(header: event_pb2.EventHeader, body: event_pb2.EventBody) -> str:
    subject, _, what = header.type.rpartition(".")
    said = f"{subject}: {what}".replace("_", " ") if subject else what or "an event without a type"
    return _joined(f"{said} ({body.reason})" if body.reason else said, body.message)


def _moved(header: event_pb2.EventHeader, body: event_pb2.EventBody) -> str:
    said = f"{header.state_before or 'new'} -> {header.state_after or 'unknown'}"
    if header.state_after == _QUARANTINED:
        said = f"set aside into quarantine, from {header.state_before or 'unknown'}"
    elif header.state_before == _QUARANTINED:
        said = f"leaves quarantine for {header.state_after}"
    return _joined(f"{said} ({body.reason})" if body.reason else said, body.message)


def _violated(_header: event_pb2.EventHeader, body: event_pb2.EventBody) -> str:
    facts = dict(body.facts)
    return _joined("ALARM: an invariant of isolation is broken", body.message or facts.get("invariant", ""))


def _pulled(_header: event_pb2.EventHeader, body: event_pb2.EventBody) -> str:
    facts = dict(body.facts)
    said = _joined("ALARM: the brake is pulled, no server in use is set aside by itself", body.message)
    finding = facts.get("finding", "") or facts.get("cause", "")
    return f"{said}; found here: {finding}" if finding else said


def _released(_header: event_pb2.EventHeader, body: event_pb2.EventBody) -> str:
    return _joined(f"the brake is released by {body.actor or 'somebody'}", body.message)


def _tried(_header: event_pb2.EventHeader, body: event_pb2.EventBody) -> str:
    facts = dict(body.facts)
    said = f"remedy {facts.get('remedy', '') or 'unknown'} for {facts.get('code', '') or body.reason}"
    if facts.get("attempt", ""):
        said += f", try {facts.get('attempt', '')} of {facts.get('of', '') or '?'}"
    return f"{said}; the next not before {facts.get('next', '')}" if facts.get("next", "") else said


def _asked(_header: event_pb2.EventHeader, body: event_pb2.EventBody) -> str:
    facts = dict(body.facts)
    return _joined(
        f"{facts.get('kind', '')} by force asked for by {facts.get('requested_by', '') or body.actor}", body.message
    )


def _approved(_header: event_pb2.EventHeader, body: event_pb2.EventBody) -> str:
    facts = dict(body.facts)
    asked, approved = facts.get("requested_by", "") or "an administrator", facts.get("approved_by", "") or body.actor
    said = f"{facts.get('kind', '')} by force, asked for by {asked}, approved by {approved}"
    return _joined(f"{said}; tainted until the next full clean", body.message)


def _joined(said: str, message: str) -> str:
    return f"{said}: {message}" if message else said


_WORDS: Final[Mapping[str, Callable[[event_pb2.EventHeader, event_pb2.EventBody], str]]] = MappingProxyType(
    {
        "server.state_changed": _moved,
        "server.violated": _violated,
        "brake.pulled": _pulled,
        "brake.released": _released,
        "remedy.tried": _tried,
        "forced.requested": _asked,
        "forced.approved": _approved,
    }
)
