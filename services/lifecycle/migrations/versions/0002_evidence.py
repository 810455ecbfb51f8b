# SPDX-License-Identifier: Apache-2.0
"""What proving takes: checkpoints, forced actions, the brake, verdicts."""

from __future__ import annotations

from services.runtime import schema

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Makes the tables."""
    schema.create_checkpoints()


def downgrade() -> None:
    """Drops the tables."""
    schema.drop_checkpoints()
