# SPDX-License-Identifier: Apache-2.0
"""The brake's tables, made by 0002_evidence.py."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op


def create_brake() -> None:
    """One row that says how the brake stands, and what was found of servers in use lately."""
    op.create_table(
        "brake",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("pull_time", sa.BigInteger),
        sa.Column("server", sa.Text, nullable=False, server_default=""),
        sa.Column("cause", sa.Text, nullable=False, server_default=""),
        sa.Column("backend", sa.Text, nullable=False, server_default=""),
        sa.Column("why", sa.Text, nullable=False, server_default=""),
        sa.Column("release_time", sa.BigInteger),
        sa.Column("released_by", sa.Text, nullable=False, server_default=""),
        sa.Column("release_reason", sa.Text, nullable=False, server_default=""),
    )
    op.execute("INSERT INTO brake (id) VALUES (1)")
    op.create_table(
        "brake_signs",
        sa.Column("server", sa.Text, primary_key=True),
        sa.Column("cause", sa.Text, primary_key=True),
        sa.Column("backend", sa.Text, nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("wanted", sa.Integer, nullable=False),
        sa.Column("cut", sa.Integer, nullable=False),
    )


def drop_brake() -> None:
    """Drops them."""
    op.drop_table("brake_signs")
    op.drop_table("brake")
