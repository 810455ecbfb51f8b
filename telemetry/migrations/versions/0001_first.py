# SPDX-License-Identifier: Apache-2.0
"""Telemetry's tables: what was followed, what goes out, and what collectors received."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _identity(name: str) -> sa.Column[int]:
    # SQLite counts by itself in INTEGER alone, PostgreSQL wants to be asked. With sqlite_autoincrement the numbers of
    # deleted rows are not given again.
    sqlite = op.get_bind().dialect.name == "sqlite"
    if sqlite:
        return sa.Column(name, sa.Integer, primary_key=True, autoincrement=True)
    return sa.Column(name, sa.BigInteger, sa.Identity(always=True), primary_key=True)


def upgrade() -> None:
    op.create_table(
        "logs",
        sa.Column("service", sa.Text, primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("event_time", sa.BigInteger),
        sa.Column("reachable", sa.Integer, nullable=False),
        sa.Column("seen_time", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "gaps",
        sa.Column("service", sa.Text, primary_key=True),
        sa.Column("after_position", sa.BigInteger, primary_key=True),
        sa.Column("before_position", sa.BigInteger, nullable=False),
        sa.Column("seen_time", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "events",
        _identity("id"),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("stream", sa.Text, nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("instance", sa.Text, nullable=False),
        sa.Column("event", sa.LargeBinary, nullable=False),  # a bms.event.v1.StoredEvent
        sa.UniqueConstraint("service", "position"),
        sqlite_autoincrement=True,
    )
    op.create_index("events_by_time", "events", ["time", "id"])
    op.create_index("events_of_service", "events", ["service", "time", "id"])
    op.create_index("events_of_stream", "events", ["stream", "time", "id"])
    op.create_index("events_of_project", "events", ["project", "time", "id"])
    op.create_index("events_of_instance", "events", ["instance", "time", "id"])
    op.create_index("events_of_type", "events", ["type", "time", "id"])
    op.create_table(
        "servers",
        sa.Column("uuid", sa.Text, primary_key=True),
        sa.Column("known", sa.Text, nullable=False),  # JSON, telemetry.known.Known
        sa.Column("wanted", sa.BigInteger, nullable=False),
        sa.Column("got", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "outbox",
        _identity("id"),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("event_id", sa.Text, nullable=False, unique=True),
        sa.Column("message", sa.Text, nullable=False),  # JSON, the fields of a BmsLifecycleEventLog
        sqlite_autoincrement=True,
    )
    op.create_index("outbox_of_service", "outbox", ["service", "position"])
    op.create_table(
        "messages",
        _identity("id"),
        sa.Column("message_type", sa.Text, nullable=False),
        sa.Column("event_id", sa.Text),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("module", sa.Text, nullable=False),
        sa.Column("node_type", sa.Text, nullable=False),
        sa.Column("instance", sa.Text, nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("seen_time", sa.BigInteger, nullable=False),
        sa.Column("expire_time", sa.BigInteger, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Integer, nullable=False),
        sa.Column("level", sa.BigInteger, nullable=False),
        sa.Column("category", sa.Text, nullable=False),
        sa.Column("frame", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("message_type", "event_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("messages_by_time", "messages", ["time", "id"])
    op.create_index("messages_of_type", "messages", ["message_type", "id"])
    op.create_index("messages_by_age", "messages", ["expire_time"])
    op.create_table(
        "message_objects",
        sa.Column("object_table", sa.Text, primary_key=True),
        sa.Column("object_key", sa.Text, primary_key=True),
        sa.Column("message", sa.BigInteger, primary_key=True),
    )
    op.create_index("objects_of_message", "message_objects", ["message"])
    op.create_table(
        "uve_attributes",
        sa.Column("object_table", sa.Text, primary_key=True),
        sa.Column("object_key", sa.Text, primary_key=True),
        sa.Column("struct", sa.Text, primary_key=True),
        sa.Column("generator", sa.Text, primary_key=True),
        sa.Column("attribute", sa.Text, primary_key=True),
        sa.Column("xml", sa.Text, nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
    )
    op.create_index("uves_of_generator", "uve_attributes", ["generator"])
    op.create_table(
        "generators",
        sa.Column("generator", sa.Text, primary_key=True),
        sa.Column("collector", sa.Text, nullable=False),
        sa.Column("connect_time", sa.BigInteger, nullable=False),
        sa.Column("message_count", sa.BigInteger, nullable=False),
        sa.Column("connected", sa.Integer, nullable=False),
    )


def downgrade() -> None:
    for table in (
        "generators",
        "uve_attributes",
        "message_objects",
        "messages",
        "outbox",
        "servers",
        "events",
        "gaps",
        "logs",
    ):
        op.drop_table(table)
