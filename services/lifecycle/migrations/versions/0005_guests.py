# SPDX-License-Identifier: Apache-2.0
"""What others made in Nova on servers of ours; its columns are those of instances, beside which it is shown."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Makes the table."""
    op.create_table(
        "guests",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("flavor", sa.Text, nullable=False),
        sa.Column("image", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("server", sa.Text, nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("update_time", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("fence", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("doc", sa.Text, nullable=False),
        sa.Column("read_time", sa.BigInteger, nullable=False),
    )
    op.create_index("guests_by_server", "guests", ["server"], unique=True)


def downgrade() -> None:
    """Drops it."""
    op.drop_table("guests")
