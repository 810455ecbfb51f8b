# SPDX-License-Identifier: Apache-2.0
"""The newest checkpoint that each log has shown us."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "anchors",
        sa.Column("service", sa.Text, primary_key=True),
        sa.Column("log", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("signed", sa.LargeBinary, nullable=False),  # a bms.event.v1.SignedCheckpoint
        sa.Column("seen_time", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("anchors")
