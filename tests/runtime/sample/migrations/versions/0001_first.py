# SPDX-License-Identifier: Apache-2.0
"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.runtime import schema

revision = "0001"
down_revision = None


def upgrade() -> None:
    schema.create_events()
    schema.create_replies()
    schema.create_operations()
    schema.create_checkpoints()
    op.create_table(
        "notes",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("data", sa.LargeBinary),
    )


def downgrade() -> None:
    op.drop_table("notes")
    schema.drop_checkpoints()
    schema.drop_shared("operations", "replies", "events")
