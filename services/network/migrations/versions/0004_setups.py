# SPDX-License-Identifier: Apache-2.0
"""What else a controller has set on a switch port, as it was last read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("ports", sa.Column("seen_setup", sa.Text, nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("ports", "seen_setup")
