# SPDX-License-Identifier: Apache-2.0
"""Addresses that are kept for their last owner, and host names."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("prefixes", sa.Column("sticky", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("prefixes", sa.Column("domain", sa.Text, nullable=False, server_default=""))
    op.add_column("leases", sa.Column("keep_until", sa.BigInteger))
    op.add_column("leases", sa.Column("host_name", sa.Text, nullable=False, server_default=""))
    op.add_column("leases", sa.Column("domain", sa.Text, nullable=False, server_default=""))
    named = sa.text("state = 'leased' AND host_name <> ''")
    op.create_index(
        "leases_by_host_name",
        "leases",
        ["network", "host_name", "ip_version"],
        unique=True,
        sqlite_where=named,
        postgresql_where=named,
    )
    # Whom an address was last leased to, where it is kept for him; leases of other prefixes are not in it.
    kept = sa.text("keep_until IS NOT NULL AND state <> 'leased'")
    op.create_index(
        "leases_of_last_owner",
        "leases",
        ["network", "project", "kind", "resource", "interface", "ip_version", "create_time"],
        sqlite_where=kept,
        postgresql_where=kept,
    )


def downgrade() -> None:
    op.drop_index("leases_of_last_owner", "leases")
    op.drop_index("leases_by_host_name", "leases")
    for column in ("domain", "host_name", "keep_until"):
        op.drop_column("leases", column)
    for column in ("domain", "sticky"):
        op.drop_column("prefixes", column)
