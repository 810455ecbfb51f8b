# SPDX-License-Identifier: Apache-2.0
"""Prefixes that are divided into others, and what of them is free."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("prefixes", sa.Column("container", sa.Integer, nullable=False, server_default="0"))
    op.add_column("prefixes", sa.Column("parent", sa.Text, nullable=False, server_default=""))
    op.add_column("prefixes", sa.Column("parent_uid", sa.Text, nullable=False, server_default=""))
    op.add_column("prefixes", sa.Column("depth", sa.Integer, nullable=False, server_default="0"))
    op.drop_index("prefixes_by_range", "prefixes")
    op.create_index("prefixes_by_range", "prefixes", ["vrf", "depth", "first"], unique=True)
    parts = sa.text("parent_uid <> ''")
    op.create_index("prefixes_of_container", "prefixes", ["parent_uid"], sqlite_where=parts, postgresql_where=parts)
    op.create_table(
        "free_blocks",
        sa.Column("container", sa.Text, primary_key=True),
        sa.Column("length", sa.Integer, primary_key=True),
        sa.Column("first", _KEY, primary_key=True),
    )


def downgrade() -> None:
    op.drop_table("free_blocks")
    op.drop_index("prefixes_of_container", "prefixes")
    op.drop_index("prefixes_by_range", "prefixes")
    # Refused where a part begins where its container does: nothing else could be kept of the two.
    op.create_index("prefixes_by_range", "prefixes", ["vrf", "first"], unique=True)
    for column in ("depth", "parent_uid", "parent", "container"):
        op.drop_column("prefixes", column)
