# SPDX-License-Identifier: Apache-2.0
"""The newest checkpoint that each log has shown us: one row a log, kept when the log is gone."""

from __future__ import annotations

from bms.event.v1 import event_pb2
from services.runtime.database import Transaction


def newest(tx: Transaction, service: str) -> event_pb2.SignedCheckpoint | None:
    """The one of *service* that was seen last."""
    row = tx.one(
        "SELECT signed FROM anchors WHERE service = ? ORDER BY seen_time DESC, number DESC LIMIT 1", (service,)
    )
    return None if row is None else event_pb2.SignedCheckpoint.FromString(bytes(row["signed"]))


def keep(tx: Transaction, service: str, log: str, number: int, signed: event_pb2.SignedCheckpoint, now: int) -> None:
    """Keeps *signed*, unless a later one of its log is kept already."""
    tx.execute(
        "INSERT INTO anchors (service, log, number, signed, seen_time) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (service, log) DO UPDATE SET number = excluded.number, signed = excluded.signed,"
        " seen_time = excluded.seen_time WHERE excluded.number > anchors.number",
        (service, log, number, signed.SerializeToString(), now),
    )
