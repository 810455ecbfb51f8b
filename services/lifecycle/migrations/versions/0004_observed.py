# SPDX-License-Identifier: Apache-2.0
"""What the servers' controller showed of them last."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Makes the table: each node as last read, as last told, and the server's version that was judged by it."""
    op.create_table(
        "observed_nodes",
        sa.Column("uuid", sa.Text, primary_key=True),
        sa.Column("seen", sa.Text, nullable=False),
        sa.Column("told", sa.Text, nullable=False, server_default=""),
        sa.Column("judged", sa.BigInteger, nullable=False, server_default="-1"),
        sa.Column("anchor", sa.Text, nullable=False, server_default=""),
        sa.Column("anchor_since", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("gone", sa.Integer, nullable=False, server_default="0"),
    )


def downgrade() -> None:
    """Drops it."""
    op.drop_table("observed_nodes")
