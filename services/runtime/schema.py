# SPDX-License-Identifier: Apache-2.0
"""The tables that every service has, made by the first migration of each.

A service's first migration, ``services/<service>/migrations/versions/0001_first.py``:

    import sqlalchemy as sa
    from alembic import op

    from services.runtime import schema

    revision = "0001"
    down_revision = None

    def upgrade() -> None:
        schema.create_events()
        schema.create_replies()
        schema.create_operations()          # if the service has long work
        op.create_table(
            "flavors",
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("version", sa.BigInteger, nullable=False),
            sa.Column("create_time", sa.BigInteger, nullable=False),   # microseconds
            sa.Column("labels", sa.Text, nullable=False),              # JSON
            sa.Column("sealed_key", sa.LargeBinary),
        )

    def downgrade() -> None:
        op.drop_table("flavors")
        schema.drop_shared("operations", "replies", "events")
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op


def create_events() -> None:
    """The event log: see `services.runtime.eventlog`.

    ``ordinal`` is the order of insertion. SQLite has one writer, so its order is the order of commits and ``position``
    is the row's id itself, dense because nothing is ever deleted at its end. PostgreSQL leaves ``position`` NULL until
    the sealer has seen the row committed.
    """
    sqlite = op.get_bind().dialect.name == "sqlite"
    position = (
        [sa.Column("position", sa.Integer, primary_key=True)]
        if sqlite
        else [
            sa.Column("ordinal", sa.BigInteger, sa.Identity(always=True), primary_key=True),
            sa.Column("position", sa.BigInteger, unique=True),
        ]
    )
    op.create_table(
        "events",
        *position,
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("stream", sa.Text, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("header", sa.LargeBinary, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("body_digest", sa.LargeBinary, nullable=False),
        sa.Column("previous", sa.LargeBinary, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("stream", "sequence"),
    )
    op.create_index("events_of_stream", "events", ["stream", "position"])
    if not sqlite:
        op.create_index("events_unsealed", "events", ["ordinal"], postgresql_where=sa.text("position IS NULL"))


def create_replies() -> None:
    """The answers given to requests with a request_id: see `services.runtime.writing`."""
    op.create_table(
        "replies",
        sa.Column("caller", sa.Text, primary_key=True),
        sa.Column("method", sa.Text, primary_key=True),
        sa.Column("request_id", sa.Text, primary_key=True),
        sa.Column("mac", sa.LargeBinary, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("reply", sa.LargeBinary, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
    )
    op.create_index("replies_by_age", "replies", ["create_time"])


def create_operations() -> None:
    """Long-running operations: see `services.runtime.operations`."""
    op.create_table(
        "operations",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("done", sa.Integer, nullable=False),
        sa.Column("metadata", sa.LargeBinary, nullable=False),
        sa.Column("response", sa.LargeBinary),
        sa.Column("error", sa.LargeBinary),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("update_time", sa.BigInteger, nullable=False),
    )
    op.create_index("operations_by_time", "operations", ["create_time", "name"])
    op.create_index("operations_of_project", "operations", ["project", "create_time", "name"])
    op.create_index("operations_of_subject", "operations", ["subject", "create_time"])


def create_checkpoints() -> None:
    """What proves the event log: see `services.runtime.checkpoints`."""
    # The log's identity: the row with the greatest ordinal. There is a second one if the database was restored.
    op.create_table(
        "checkpoint_logs",
        sa.Column("ordinal", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("log", sa.Text, nullable=False, unique=True),
        sa.Column("create_time", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "checkpoints",
        sa.Column("log", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("checkpoint", sa.LargeBinary, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "signing_keys",
        sa.Column("log", sa.Text, primary_key=True),
        sa.Column("from_number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("public_key", sa.LargeBinary, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("endorsement", sa.LargeBinary, nullable=False),
    )
    # Where each stream ended at the newest checkpoint; place is its index among the tree's leaves.
    op.create_table(
        "checkpoint_heads",
        sa.Column("place", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("stream", sa.Text, nullable=False, unique=True),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
    )
    op.create_index("checkpoint_heads_by_position", "checkpoint_heads", ["position"])


def drop_checkpoints() -> None:
    """Drops what `create_checkpoints` makes."""
    drop_shared("checkpoint_heads", "signing_keys", "checkpoints", "checkpoint_logs")


def drop_shared(*tables: str) -> None:
    """Drops tables made by the functions above."""
    for table in tables:
        op.drop_table(table)
