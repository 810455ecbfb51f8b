# SPDX-License-Identifier: Apache-2.0
"""Networks, servers' fences, ports and which networks they are on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.runtime import schema

revision = "0001"
down_revision = None

# Names sort as bytes do, whatever the language of the database: pages go on where the one before ended.
_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    schema.create_events()
    schema.create_replies()
    op.create_table(
        "networks",
        sa.Column("name", _NAME, primary_key=True),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("network_class", sa.Text, nullable=False),
        # The class once more where there is one network of it on the site; NULLs are all different.
        sa.Column("private_class", sa.Text, unique=True),
        sa.Column("vlan", sa.Integer, nullable=False, unique=True),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("update_time", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
    )
    op.create_index("networks_of_project", "networks", ["project", "name"])
    op.create_table(
        "servers",
        sa.Column("server", sa.Text, primary_key=True),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "ports",
        sa.Column("port", _NAME, primary_key=True),
        sa.Column("server", sa.Text, nullable=False),
        sa.Column("mac_address", sa.Text, nullable=False),
        sa.Column("switch", sa.Text, nullable=False),
        sa.Column("switch_port", sa.Text, nullable=False),
        sa.Column("port_group", sa.Text, nullable=False),
        sa.Column("wish_class", sa.Text, nullable=False),
        sa.Column("wish_tags", sa.Text, nullable=False),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("request_time", sa.BigInteger, nullable=False),
        sa.Column("asked", sa.BigInteger, nullable=False),
        sa.Column("seen_class", sa.Text),
        sa.Column("seen_tags", sa.Text),
        sa.Column("seen_time", sa.BigInteger),
        sa.Column("seen_digest", sa.LargeBinary),
        sa.Column("seen_detail", sa.Text),
        sa.Column("seen_asked", sa.BigInteger),
        sa.Column("settled", sa.Integer, nullable=False),
        sa.UniqueConstraint("switch", "switch_port"),
    )
    op.create_index("ports_of_server", "ports", ["server", "port"])
    op.create_index("ports_unsettled", "ports", ["settled", "port"])
    op.create_table(
        "network_ports",
        sa.Column("network", sa.Text, primary_key=True),
        sa.Column("port", _NAME, primary_key=True),
    )


def downgrade() -> None:
    for table in ("network_ports", "ports", "servers", "networks"):
        op.drop_table(table)
    schema.drop_shared("replies", "events")
