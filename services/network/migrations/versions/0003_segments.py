# SPDX-License-Identifier: Apache-2.0
"""What the fabric calls a network, which a controller's VLANs need not be unique for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_KEPT = "name, project, display_name, network_class, private_class, vlan, create_time, update_time, version, sequence"


def upgrade() -> None:
    _remade(
        sa.Column("fabric_id", sa.Text, nullable=False, unique=True), sa.Column("vni", sa.BigInteger, nullable=False)
    )
    # Until now a VLAN was all that a fabric knew of a network.
    op.execute(
        f"INSERT INTO networks ({_KEPT}, fabric_id, vni)"
        f" SELECT {_KEPT}, CAST(vlan AS TEXT), vlan + 10000 FROM networks_before"
    )
    op.drop_table("networks_before")
    op.create_index("networks_of_project", "networks", ["project", "name"])
    # Controllers know switches by it.
    op.add_column("ports", sa.Column("switch_id", sa.Text, nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("ports", "switch_id")
    _remade(unique=True)
    op.execute(f"INSERT INTO networks ({_KEPT}) SELECT {_KEPT} FROM networks_before")
    op.drop_table("networks_before")
    op.create_index("networks_of_project", "networks", ["project", "name"])


def _remade(*more: sa.Column[object], unique: bool = False) -> None:
    """An empty table of networks beside ``networks_before``: SQLite cannot take a constraint away."""
    op.drop_index("networks_of_project", "networks")
    op.rename_table("networks", "networks_before")
    if op.get_bind().dialect.name == "postgresql":
        # The names of constraints stay with the table that was renamed.
        for name in ("networks_pkey", "networks_private_class_key", "networks_fabric_id_key", "networks_vlan_key"):
            op.execute(f"ALTER INDEX IF EXISTS {name} RENAME TO {name}_before")
    op.create_table(
        "networks",
        sa.Column("name", _NAME, primary_key=True),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("network_class", sa.Text, nullable=False),
        # The class once more where there is one network of it on the site; NULLs are all different.
        sa.Column("private_class", sa.Text, unique=True),
        sa.Column("vlan", sa.Integer, nullable=False, unique=unique),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("update_time", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        *more,
    )
