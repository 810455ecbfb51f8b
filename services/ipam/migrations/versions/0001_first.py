# SPDX-License-Identifier: Apache-2.0
"""Prefixes, addresses, leases, fences."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.runtime import schema

revision = "0001"
down_revision = None

# Keys of addresses sort as bytes do, whatever the language of the database.
_KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

# Rows change in place far more often than they are added: room in each page keeps the new versions beside the old ones,
# and the queue of free addresses must not fill with dead entries at its front.
_CHURNING = {"fillfactor": 70, "autovacuum_vacuum_scale_factor": 0.05}


def upgrade() -> None:
    schema.create_events()
    schema.create_replies()
    op.create_table(
        "vrfs",
        sa.Column("vrf", sa.Text, primary_key=True),
        sa.Column("project", sa.Text, nullable=False),
    )
    op.create_table(
        "networks",
        sa.Column("network", sa.Text, primary_key=True),
        sa.Column("vrf", sa.Text, nullable=False),
    )
    _create_prefixes()
    _create_addresses()
    _create_leases()
    op.create_table(
        "owner_fences",
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("fence", sa.BigInteger, nullable=False),
    )


def _create_prefixes() -> None:
    op.create_table(
        "prefixes",
        sa.Column("name", _KEY, primary_key=True),
        sa.Column("uid", sa.Text, nullable=False, unique=True),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("cidr", sa.Text, nullable=False),
        sa.Column("ip_version", sa.Integer, nullable=False),
        sa.Column("vrf", sa.Text, nullable=False),
        sa.Column("network", sa.Text, nullable=False),
        sa.Column("first", _KEY, nullable=False),
        sa.Column("last", _KEY, nullable=False),
        sa.Column("gateway", sa.Text, nullable=False),
        sa.Column("pools", sa.Text, nullable=False),
        sa.Column("dns_servers", sa.Text, nullable=False),
        sa.Column("cool_down", sa.BigInteger, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("update_time", sa.BigInteger, nullable=False),
        # See services/ipam/domain/allocation.py; next_address is "" at the end.
        sa.Column("next_address", sa.Text, nullable=False),
        sa.Column("made", sa.BigInteger, nullable=False),
    )
    op.create_index("prefixes_by_range", "prefixes", ["vrf", "first"], unique=True)
    op.create_index("prefixes_of_network", "prefixes", ["network", "create_time"])
    op.create_index("prefixes_of_project", "prefixes", ["project", "name"])


def _create_addresses() -> None:
    op.create_table(
        "addresses",
        sa.Column("vrf", sa.Text, primary_key=True),
        sa.Column("address", _KEY, primary_key=True),
        # The prefix that chooses from it, "" if none does.
        sa.Column("pool", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        # 0: nobody ever had it. While leased it is later than any time, so that no search for free ones meets it.
        sa.Column("free_at", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("lease", sa.Text, nullable=False, server_default=""),
        sa.Column("sequence", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("digest", sa.LargeBinary),
        postgresql_with=_CHURNING,
    )
    op.create_index("addresses_free", "addresses", ["pool", "free_at", "address"], postgresql_with={"fillfactor": 70})


def _create_leases() -> None:
    op.create_table(
        "leases",
        sa.Column("name", _KEY, primary_key=True),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("vrf", sa.Text, nullable=False),
        sa.Column("address", _KEY, nullable=False),
        sa.Column("prefix_length", sa.Integer, nullable=False),
        sa.Column("gateway", sa.Text, nullable=False),
        sa.Column("dns_servers", sa.Text, nullable=False),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("prefix_uid", sa.Text, nullable=False),
        sa.Column("network", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("resource", sa.Text, nullable=False),
        sa.Column("interface", sa.Text, nullable=False),
        sa.Column("ip_version", sa.Integer, nullable=False),
        sa.Column("mac_address", sa.Text, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("free_at", sa.BigInteger),
        postgresql_with=_CHURNING,
    )
    held, resting, not_freed = (sa.text(text) for text in ("state = 'leased'", "state <> 'leased'", "state <> 'freed'"))
    # One lease of an owner for the same, and one owner of an address: the database holds it, whatever the code does.
    op.create_index(
        "leases_of_owner",
        "leases",
        ["network", "project", "kind", "resource", "interface", "ip_version"],
        unique=True,
        sqlite_where=held,
        postgresql_where=held,
    )
    op.create_index(
        "leases_of_address",
        "leases",
        ["vrf", "address"],
        unique=True,
        sqlite_where=not_freed,
        postgresql_where=not_freed,
    )
    op.create_index(
        "leases_of_prefix",
        "leases",
        ["prefix_uid", "state"],
        sqlite_where=not_freed,
        postgresql_where=not_freed,
    )
    op.create_index("leases_by_end", "leases", ["state", "free_at"], sqlite_where=resting, postgresql_where=resting)
    op.create_index("leases_of_project", "leases", ["project", "name"])


def downgrade() -> None:
    for table in ("owner_fences", "leases", "addresses", "prefixes", "networks", "vrfs"):
        op.drop_table(table)
    schema.drop_shared("replies", "events")
