# SPDX-License-Identifier: Apache-2.0
"""Whoever watches analytics sees what happened in a sentence, and how urgent it is."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from telemetry.publisher import Publisher
from telemetry.sandesh.messages import BMS_LIFECYCLE_EVENT_LOG
from telemetry.sandesh.schema import Level, at_level, signature
from telemetry.store import Store, bridge
from telemetry.translate import object_log
from telemetry.wording import LEVELS, LOG_RESTORED, level, sentence
from tests.telemetry.builders import followed
from tests.telemetry.fakes import FakeSender

EVENTS_PAGE = Path(__file__).parents[2] / "docs" / "events.md"

PULLED: dict[str, Any] = {
    "type": "brake.pulled", "message": "3 of 40",
    "facts": {"cause": "PORTS_WRONG", "backend": "leaf-1", "finding": "it is on red"},
}  # fmt: skip
TRIED: dict[str, Any] = {
    "type": "remedy.tried", "reason": "POWER_NOT_ON",
    "facts": {"code": "POWER_NOT_ON", "remedy": "ask_power", "attempt": "2", "of": "3", "next": "2026-01-01T12:01:00"},
}  # fmt: skip
VIOLATED: dict[str, Any] = {"type": "server.violated", "message": "I1: two networks", "facts": {"invariant": "I1"}}
APPROVED: dict[str, Any] = {
    "type": "forced.approved", "message": "its BMC burnt",
    "facts": {"kind": "release", "requested_by": "anna", "approved_by": "bert"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("given", "urgency", "said"),
    [
        (VIOLATED, Level.ALERT, "ALARM: an invariant of isolation is broken: I1: two networks"),
        (
            PULLED,
            Level.ALERT,
            "ALARM: the brake is pulled, no server in use is set aside by itself: 3 of 40; found here: it is on red",
        ),
        (
            {"type": "brake.released", "actor": "anna", "message": "mended"},
            Level.NOTICE,
            "the brake is released by anna: mended",
        ),
        (
            TRIED,
            Level.WARN,
            "remedy ask_power for POWER_NOT_ON, try 2 of 3; the next not before 2026-01-01T12:01:00",
        ),
        (
            APPROVED,
            Level.WARN,
            "release by force, asked for by anna, approved by bert; tainted until the next full clean: its BMC burnt",
        ),
        (
            {"before": "active", "after": "quarantined", "reason": "QUARANTINE"},
            Level.ERR,
            "set aside into quarantine, from active (QUARANTINE)",
        ),
        ({"before": "quarantined", "after": "cleaning"}, Level.NOTICE, "leaves quarantine for cleaning"),
        ({"before": "available", "after": "reserved", "reason": "TAKEN"}, Level.INFO, "available -> reserved (TAKEN)"),
        (
            {"type": "server.failed", "reason": "DISK_APPEARED", "message": "disks that inspection had not found: S2"},
            Level.ERR,
            "server: failed (DISK_APPEARED): disks that inspection had not found: S2",
        ),
        ({"type": "power.observed"}, Level.INFO, "power: observed"),
    ],
)  # fmt: skip
def test_an_event_in_a_sentence(given: dict[str, Any], urgency: Level, said: str) -> None:
    """
    The sentence has what the event's facts say; alarms are the most urgent.
    """
    event = followed(**given)
    header = event.header

    assert sentence(event) == object_log(event)["text"] == said
    assert level(header.type, header.state_before, header.state_after) is urgency


def _documented() -> set[str]:
    return set(re.findall(r"`((?:server|brake|controller|remedy|forced|power|clean|address|step|adoption)\.[a-z_]+)`",
                          EVENTS_PAGE.read_text()))  # fmt: skip


def test_every_urgent_event_is_one_that_services_know() -> None:
    """
    A type that was renamed would lose its urgency in silence.
    """
    assert set(LEVELS) - {LOG_RESTORED} <= _documented()


@pytest.mark.parametrize("type_", sorted(_documented()))
def test_no_event_is_without_words(type_: str) -> None:
    """
    Even one whose facts are not there, as an older service wrote it.
    """
    assert re.search(r"\w{3}", sentence(followed(type=type_)))


def test_the_facts_of_an_event_stay_as_they_are() -> None:
    """
    Looking for a fact does not make it be there.
    """
    event = followed(type="brake.pulled")
    sentence(event)

    assert not event.body.facts


def test_urgency_stands_in_the_header(sqlite_store: Store) -> None:
    """
    The message is the same but for its level: the same fields, the same signature.
    """
    events = [
        followed(position=1, **VIOLATED),
        followed(position=2, type="power.observed"),
        followed(position=3, **TRIED),
    ]

    async def play() -> list[int]:
        rows = [(event.position, object_log(event)) for event in events]
        await sqlite_store.write(lambda tx: bridge.add_outgoing(tx, "lifecycle", rows), "test")
        sender = FakeSender()
        await Publisher(sender, sqlite_store, acknowledged=True).step()
        return sender.levels

    assert asyncio.run(play()) == [Level.ALERT, Level.INFO, Level.WARN]
    assert signature(at_level(BMS_LIFECYCLE_EVENT_LOG, Level.ALERT)) == signature(BMS_LIFECYCLE_EVENT_LOG)
