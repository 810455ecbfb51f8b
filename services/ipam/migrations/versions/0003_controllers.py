# SPDX-License-Identifier: Apache-2.0
"""What a controller beside us keeps for leases, and whom it gave addresses to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("prefixes", sa.Column("realm", sa.Text, nullable=False, server_default=""))
    # 1 while nobody was told of the lease.
    op.add_column("leases", sa.Column("pending", sa.Integer, nullable=False, server_default="0"))
    op.add_column("leases", sa.Column("hold", sa.Text, nullable=False, server_default=""))
    op.add_column("leases", sa.Column("settle_at", sa.BigInteger))
    unsettled = sa.text("settle_at IS NOT NULL")
    op.create_index("leases_to_settle", "leases", ["settle_at"], sqlite_where=unsettled, postgresql_where=unsettled)
    op.create_table(
        "holders",
        sa.Column("vrf", sa.Text, primary_key=True),
        sa.Column("address", _KEY, primary_key=True),
        sa.Column("ref", sa.Text, nullable=False),
        sa.Column("lease", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("device", sa.Text, nullable=False),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("mac_address", sa.Text, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("holders")
    op.drop_index("leases_to_settle", "leases")
    for column in ("settle_at", "hold", "pending"):
        op.drop_column("leases", column)
    op.drop_column("prefixes", "realm")
