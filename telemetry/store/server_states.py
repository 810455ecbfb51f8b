# SPDX-License-Identifier: Apache-2.0
"""What collectors of ours told of generators (``ModuleServerState``), where nobody tells it any more."""

from __future__ import annotations

from typing import Final

from services.runtime.database import Transaction
from telemetry.sandesh.messages import OBJECT_GENERATOR_INFO
from telemetry.sandesh.server_state import MODULE_SERVER_STATE
from telemetry.store import analytics, changes

MODULE: Final = "bms-collector"
NODE_TYPE: Final = "Analytics"


def teller(collector: str) -> str:
    """The generator as which *collector*, ``host:instance``, tells."""
    host, _, instance = collector.rpartition(":")
    return f"{host}:{NODE_TYPE}:{MODULE}:{instance}"


def forget_all(tx: Transaction, collector: str) -> None:
    """*collector* has just started: what the process before it told is over."""
    analytics.forget_uves(tx, teller(collector))


def overtake(tx: Transaction, generator: str, collector: str) -> None:
    """*generator* comes to *collector*, and another never said that it left: that one's word of it is over."""
    other = tx.one(
        "SELECT collector FROM generators WHERE generator = ? AND connected = 1 AND collector <> ?",
        (generator, collector),
    )
    if other is None:
        return
    gone = tx.execute(
        "DELETE FROM uve_attributes WHERE object_table = ? AND object_key = ? AND struct = ? AND generator = ?",
        (OBJECT_GENERATOR_INFO, generator, MODULE_SERVER_STATE.name, teller(other["collector"])),
    )
    if gone:
        changes.note(tx, {(OBJECT_GENERATOR_INFO, generator, MODULE_SERVER_STATE.name)})
