# SPDX-License-Identifier: Apache-2.0
"""Ranges of prefixes that nobody is given, and prefixes that other projects may use."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("prefixes", sa.Column("reserved", sa.Text, nullable=False, server_default="[]"))
    op.add_column("prefixes", sa.Column("shared", sa.Integer, nullable=False, server_default="0"))
    shared = sa.text("shared = 1")
    op.create_index("prefixes_shared", "prefixes", ["name"], sqlite_where=shared, postgresql_where=shared)


def downgrade() -> None:
    op.drop_index("prefixes_shared", "prefixes")
    for column in ("shared", "reserved"):
        op.drop_column("prefixes", column)
