# SPDX-License-Identifier: Apache-2.0
"""The tables of ipam: rows to values and back, and the locks that its verbs need."""

from __future__ import annotations

from services.ipam.store.blocks import BlockTables
from services.ipam.store.holds import HoldTables
from services.ipam.store.leases import LeaseTables
from services.ipam.store.prefixes import PrefixTables

__all__ = ["SqlStore"]


class SqlStore(PrefixTables, BlockTables, LeaseTables, HoldTables):
    """See `services.ipam.operations.ports.Store`: everything within one transaction."""
