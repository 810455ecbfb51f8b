# SPDX-License-Identifier: Apache-2.0
"""Inventory's tables: rows to domain values and back, in the caller's transaction."""

from __future__ import annotations

from services.inventory.store.catalogue import CatalogueRows
from services.inventory.store.journal import Journal
from services.inventory.store.pool import PoolRows
from services.inventory.store.servers import ServerRows

__all__ = ["CatalogueRows", "Journal", "PoolRows", "ServerRows"]
