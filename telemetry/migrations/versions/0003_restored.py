# SPDX-License-Identifier: Apache-2.0
"""Logs that were restored from a backup: our positions go on rising, and what a log no longer has stays kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("logs", sa.Column("shift", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("events", sa.Column("lost", sa.Integer, nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("events", "lost")
    op.drop_column("logs", "shift")
