# SPDX-License-Identifier: Apache-2.0
"""How SQLite would answer what a store asks: what goes over all rows costs the more, the larger the site is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from services.runtime.database import Row, Transaction


class Explained:
    """A transaction that tells how SQLite would answer, and answers nothing.

    Attributes:
        plan: the steps of everything asked, in its words.
    """

    dialect: Literal["sqlite"] = "sqlite"

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self.plan: list[str] = []

    def all(self, sql: str, params: Sequence[object] = ()) -> list[Row]:
        """Asks for many rows."""
        self.plan += [row["detail"] for row in self._tx.all(f"EXPLAIN QUERY PLAN {sql}", params)]
        return []

    def one(self, sql: str, params: Sequence[object] = ()) -> Row | None:
        """Asks for one row."""
        self.all(sql, params)
        return None

    def execute(self, sql: str, params: Sequence[object] = ()) -> int:
        """Would change something."""
        self.all(sql, params)
        return 0
