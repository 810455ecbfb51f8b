# SPDX-License-Identifier: Apache-2.0
"""Why isolation is at stake at a switch port, as it was last read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("ports", sa.Column("seen_breach", sa.Text, nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("ports", "seen_breach")
