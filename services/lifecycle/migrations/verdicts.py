# SPDX-License-Identifier: Apache-2.0
"""The online verifier's tables, made by 0002_evidence.py."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op


def create_verdicts() -> None:
    """Each stream's trial as it stands, its verdicts by interval, and the violations that nobody acted on yet."""
    op.create_table(
        "trials",
        sa.Column("stream", sa.Text, primary_key=True),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("verdict", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("picture", sa.Text, nullable=False),
    )
    op.create_table(
        "verdicts",
        sa.Column("stream", sa.Text, primary_key=True),
        sa.Column("first", sa.BigInteger, primary_key=True),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.Column("begin_time", sa.BigInteger, nullable=False),
        sa.Column("end_time", sa.BigInteger, nullable=False),
        sa.Column("verdict", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("findings", sa.Text, nullable=False),
    )
    op.create_table(
        "violations",
        sa.Column("stream", sa.Text, primary_key=True),
        sa.Column("sequence", sa.BigInteger, primary_key=True),
        sa.Column("invariant", sa.Text, primary_key=True),
        sa.Column("finding", sa.Text, nullable=False),
    )


def drop_verdicts() -> None:
    """Drops them."""
    for table in ("violations", "verdicts", "trials"):
        op.drop_table(table)
