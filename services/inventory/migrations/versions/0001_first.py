# SPDX-License-Identifier: Apache-2.0
"""Inventory's first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.runtime import schema

revision = "0001"
down_revision = None


def upgrade() -> None:
    schema.create_events()
    schema.create_replies()
    schema.create_operations()
    # Pages go by names, in the same order in both databases: by their bytes.
    text = sa.Text(collation="C") if op.get_bind().dialect.name == "postgresql" else sa.Text()
    op.create_table(
        "servers",
        sa.Column("uuid", text, primary_key=True),
        sa.Column("display_name", text, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("node_type", sa.Text, nullable=False),
        sa.Column("unmanaged", sa.Integer, nullable=False),
        sa.Column("takeable", sa.Integer, nullable=False),
        sa.Column("resource_class", sa.Text, nullable=False),
        sa.Column("site", sa.Text, nullable=False),
        sa.Column("rack", sa.Text, nullable=False),
        sa.Column("bmc_address", sa.Text, nullable=False),
        sa.Column("manufacturer", sa.Text, nullable=False),
        sa.Column("cpu_arch", sa.Text, nullable=False),
        sa.Column("cpus", sa.BigInteger, nullable=False),
        sa.Column("memory_mb", sa.BigInteger, nullable=False),
        sa.Column("local_gb", sa.BigInteger, nullable=False),
        sa.Column("disks", sa.Integer, nullable=False),
        sa.Column("capabilities", sa.Text, nullable=False),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("available", sa.Integer, nullable=False),
        sa.Column("unavailable_reason", sa.Text, nullable=False),
        sa.Column("ready", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("reserved_by", sa.Text, nullable=False),
        sa.Column("held", sa.Integer, nullable=False),
        sa.Column("state_version", sa.BigInteger, nullable=False),
        sa.Column("pool_time", sa.BigInteger, nullable=False),
        sa.Column("has_credentials", sa.Integer, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("update_time", sa.BigInteger, nullable=False),
        sa.Column("delete_time", sa.BigInteger),
    )
    op.create_index("servers_by_name", "servers", ["display_name"])
    op.create_index("servers_free", "servers", ["available", "takeable", "uuid"])
    op.create_index("servers_of_class", "servers", ["resource_class", "available", "uuid"])
    op.create_index("servers_of_holder", "servers", ["reserved_by"])
    op.create_index("servers_by_rack", "servers", ["rack", "display_name"])
    op.create_table(
        "server_keys",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, primary_key=True),
        sa.Column("server", text, nullable=False),
    )
    op.create_index("server_keys_of_server", "server_keys", ["server"])
    op.create_table(
        "server_logins",
        sa.Column("server", text, primary_key=True),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "flavors",
        sa.Column("id", text, primary_key=True),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("update_time", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "images",
        sa.Column("id", text, primary_key=True),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("visibility", sa.Text, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("update_time", sa.BigInteger, nullable=False),
    )
    op.create_index("images_of_project", "images", ["project"])
    op.create_table(
        "image_shares",
        sa.Column("image", text, primary_key=True),
        sa.Column("project", sa.Text, primary_key=True),
    )
    op.create_index("image_shares_of_project", "image_shares", ["project"])


def downgrade() -> None:
    for table in ("image_shares", "images", "flavors", "server_logins", "server_keys", "servers"):
        op.drop_table(table)
    schema.drop_shared("operations", "replies", "events")
