# SPDX-License-Identifier: Apache-2.0
"""That an event's object log is kept once stands beside the messages, whose rows are then only ever added."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "message_events",
        sa.Column("event_id", sa.Text, primary_key=True),
        sa.Column("seen_time", sa.BigInteger, nullable=False),  # of the message that is kept
    )
    op.create_index("message_events_by_time", "message_events", ["seen_time"])
    op.execute(
        "INSERT INTO message_events (event_id, seen_time)"
        " SELECT event_id, min(seen_time) FROM messages WHERE event_id IS NOT NULL GROUP BY event_id"
    )
    if op.get_bind().dialect.name == "postgresql":
        # SQLite would have to write the whole table anew; there the constraint stays, as a guard.
        op.drop_constraint("messages_message_type_event_id_key", "messages")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.create_unique_constraint("messages_message_type_event_id_key", "messages", ["message_type", "event_id"])
    op.drop_table("message_events")
