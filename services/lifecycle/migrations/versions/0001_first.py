# SPDX-License-Identifier: Apache-2.0
"""Servers, instances, and the shared tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.runtime import schema

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Makes the tables."""
    schema.create_events()
    schema.create_replies()
    schema.create_operations()
    op.create_table(
        "servers",
        sa.Column("uuid", sa.Text, primary_key=True),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("power", sa.Text, nullable=False),
        sa.Column("instance", sa.Text, nullable=False),
        sa.Column("wait_code", sa.Text, nullable=False),
        sa.Column("wait_since", sa.BigInteger),
        sa.Column("maintenance", sa.Integer, nullable=False),
        sa.Column("isolated", sa.Integer, nullable=False),
        sa.Column("fault", sa.Text, nullable=False),
        sa.Column("deadline", sa.BigInteger),
        sa.Column("closed", sa.Integer, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("doc", sa.Text, nullable=False),
        # The claim: whoever raised the fence last may write until claim_until; due is when somebody should look again.
        sa.Column("fence", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("claim_until", sa.BigInteger),
        sa.Column("due", sa.BigInteger),
    )
    op.create_index("servers_due", "servers", ["due"])
    op.create_index("servers_by_state", "servers", ["state"])
    op.create_index("servers_of_instance", "servers", ["instance"])
    op.create_index("servers_by_deadline", "servers", ["deadline"])
    op.create_table(
        "instances",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("flavor", sa.Text, nullable=False),
        sa.Column("image", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("server", sa.Text, nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("update_time", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("doc", sa.Text, nullable=False),
        sa.Column("user_data", sa.LargeBinary),  # sealed
        sa.Column("fence", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("claim_until", sa.BigInteger),
        sa.Column("due", sa.BigInteger),
    )
    op.create_index("instances_due", "instances", ["due"])
    op.create_index("instances_of_project", "instances", ["project", "name"])
    op.create_index("instances_of_server", "instances", ["server"])
    # How far inventory's log was followed, and each stream of it with something that has to wait.
    op.create_table(
        "followed",
        sa.Column("log", sa.Text, primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Drops the tables."""
    op.drop_table("followed")
    op.drop_table("instances")
    op.drop_table("servers")
    schema.drop_shared("operations", "replies", "events")
