# SPDX-License-Identifier: Apache-2.0
"""When each UVE changed last, in one order for all watchers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "uve_revisions",
        sa.Column("name", sa.Text, primary_key=True),  # last: given last; forgotten: changes up to it may be missing
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.execute("INSERT INTO uve_revisions (name, revision) VALUES ('last', 0), ('forgotten', 0)")
    op.create_table(
        "uve_changes",
        sa.Column("object_table", sa.Text, primary_key=True),
        sa.Column("object_key", sa.Text, primary_key=True),
        sa.Column("struct", sa.Text, primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_index("uve_changes_in_order", "uve_changes", ["revision", "object_table", "object_key", "struct"])


def downgrade() -> None:
    op.drop_table("uve_changes")
    op.drop_table("uve_revisions")
