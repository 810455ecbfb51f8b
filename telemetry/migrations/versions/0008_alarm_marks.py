# SPDX-License-Identifier: Apache-2.0
"""Alarms in the store that somebody has acknowledged here, whoever raised them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "alarm_marks",
        sa.Column("object_table", sa.Text, primary_key=True),
        sa.Column("object_key", sa.Text, primary_key=True),
        sa.Column("generator", sa.Text, primary_key=True),
        sa.Column("alarm", sa.Text, primary_key=True),
        sa.Column("time", sa.BigInteger, nullable=False),  # when it was raised
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("noted_time", sa.BigInteger, nullable=False),
    )
    op.create_index("alarm_marks_by_age", "alarm_marks", ["noted_time"])


def downgrade() -> None:
    op.drop_table("alarm_marks")
