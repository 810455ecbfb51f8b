# SPDX-License-Identifier: Apache-2.0
"""Acknowledging alarms that are in the store, whoever raised them.

The generator is not told: its word stays as it is, and whoever reads it here sees ``ack`` true in it. (The reference
calls the address that the token names, which is whatever a caller says. This calls nobody.)
"""

from __future__ import annotations

from dataclasses import dataclass

from services.runtime.database import Transaction
from telemetry.desk import Answer
from telemetry.sandesh.raised import ATTRIBUTE, STRUCT, Token, raised
from telemetry.store import analytics, changes, marks


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Which alarm somebody says that he knows of."""

    table: str
    key: str
    type: str
    token: Token


def acknowledge(tx: Transaction, given: Acknowledgement, subject: str, now: int) -> Answer:
    """Marks the alarm that *given* names: that of the generator and of the time in its token."""
    told = [
        (attribute.generator, alarm)
        for attribute in analytics.uve(tx, given.table, given.key)
        if (attribute.struct, attribute.name) == (STRUCT, ATTRIBUTE)
        for alarm in raised(attribute.xml)
        if alarm.type == given.type
    ]
    if not told:
        return Answer.NOT_PRESENT
    meant = {generator for generator, alarm in told if alarm.token == given.token and alarm.since == given.token.since}
    if not meant:
        return Answer.INVALID
    for generator in sorted(meant):
        marks.put(tx, (given.table, given.key, generator), (given.type, given.token.since), subject, now)
    changes.note(tx, {(given.table, given.key, STRUCT)})
    return Answer.SUCCESS
