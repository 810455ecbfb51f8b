# SPDX-License-Identifier: Apache-2.0
"""Who holds what is found without looking at all that nobody holds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_HELD = sa.text("claim_until IS NOT NULL")


def upgrade() -> None:
    """Makes the indexes."""
    for table in ("servers", "instances"):
        op.create_index(f"{table}_claimed", table, ["claim_until"], sqlite_where=_HELD, postgresql_where=_HELD)


def downgrade() -> None:
    """Drops the indexes."""
    for table in ("servers", "instances"):
        op.drop_index(f"{table}_claimed", table)
