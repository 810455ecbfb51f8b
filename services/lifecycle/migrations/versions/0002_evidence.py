# SPDX-License-Identifier: Apache-2.0
"""What proving takes: checkpoints, forced actions, the brake, verdicts."""

from __future__ import annotations

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Makes the tables."""


def downgrade() -> None:
    """Drops the tables."""
