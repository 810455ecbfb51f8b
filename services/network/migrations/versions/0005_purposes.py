# SPDX-License-Identifier: Apache-2.0
"""Whom a wish is meant for, where Ironic moves ports too."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    # What was asked before anybody else moved ports was a step, and is none of ours to repeat.
    op.add_column("ports", sa.Column("wish_purpose", sa.Text, nullable=False, server_default="step"))


def downgrade() -> None:
    op.drop_column("ports", "wish_purpose")
