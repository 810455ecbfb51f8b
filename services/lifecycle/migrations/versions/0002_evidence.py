# SPDX-License-Identifier: Apache-2.0
"""What proving takes: checkpoints, forced actions, the brake, verdicts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.lifecycle.migrations.brake import create_brake, drop_brake
from services.lifecycle.migrations.verdicts import create_verdicts, drop_verdicts
from services.runtime import schema

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Makes the tables."""
    schema.create_checkpoints()
    create_brake()
    _create_forced_actions()
    create_verdicts()


def downgrade() -> None:
    """Drops the tables."""
    drop_verdicts()
    op.drop_table("forced_actions")
    drop_brake()
    schema.drop_checkpoints()


def _create_forced_actions() -> None:
    op.create_table(
        "forced_actions",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("server", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("requester", sa.Text, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("shown", sa.Text, nullable=False),
        sa.Column("ender", sa.Text, nullable=False),
        sa.Column("end_time", sa.BigInteger),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
    )
    op.create_index("forced_actions_of_server", "forced_actions", ["server", "name"])
