# SPDX-License-Identifier: Apache-2.0
"""What proves the event log."""

from __future__ import annotations

from services.runtime import schema

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    schema.create_checkpoints()


def downgrade() -> None:
    schema.drop_checkpoints()
