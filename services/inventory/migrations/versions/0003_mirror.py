# SPDX-License-Identifier: Apache-2.0
"""How flavors and images stand in Nova and Glance."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_NAMED = sa.text("mirror_ref <> ''")


def upgrade() -> None:
    for table in ("flavors", "images"):
        op.add_column(table, sa.Column("mirror", sa.Text, nullable=False, server_default=""))
        op.add_column(table, sa.Column("mirror_ref", sa.Text, nullable=False, server_default=""))
        # Two replicas that see the same thing there make one row of it.
        op.create_index(
            f"{table}_by_ref", table, ["mirror_ref"], unique=True, postgresql_where=_NAMED, sqlite_where=_NAMED
        )
    # What was ours there and is to go there, when its row is gone already.
    op.create_table(
        "mirror_remains",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("ref", sa.Text, primary_key=True),
    )
    op.create_table(
        "catalogue_uses",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("item", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, primary_key=True),
    )


def downgrade() -> None:
    op.drop_table("catalogue_uses")
    op.drop_table("mirror_remains")
    for table in ("images", "flavors"):
        op.drop_index(f"{table}_by_ref", table)
        op.drop_column(table, "mirror_ref")
        op.drop_column(table, "mirror")
