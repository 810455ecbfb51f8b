# SPDX-License-Identifier: Apache-2.0
"""Which UVEs changed, in the order of their commits.

Of each struct of an object only the last change is kept, with a revision: whoever has seen everything up to a
revision reads what changed behind it, as it is by then. A transaction that changes UVEs takes its revision under a lock
that it holds to its end, so no lower one can appear later.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from services.runtime.database import Transaction
from telemetry.store import bulk

KEPT: Final = 100_000
"""Revisions for which it is known what went with them; ten a second, at most, are made by a collector."""


_COLUMNS: Final[bulk.Columns] = MappingProxyType(
    {"object_table": "text", "object_key": "text", "struct": "text", "revision": "bigint"}
)


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Somewhere in the order of changes; what follows on the revision alone is empty before all of that revision."""

    revision: int
    table: str = ""
    key: str = ""
    struct: str = ""


def note(tx: Transaction, objects: Collection[tuple[str, str, str]]) -> None:
    """Notes that this transaction changes *objects*, each (table, key, struct)."""
    if not objects:
        return
    row = tx.one("UPDATE uve_revisions SET revision = revision + 1 WHERE name = 'last' RETURNING revision")
    assert row is not None  # the migration made it
    bulk.insert(
        tx,
        "uve_changes",
        _COLUMNS,
        ((*each, row["revision"]) for each in sorted(objects)),
        "ON CONFLICT (object_table, object_key, struct) DO UPDATE SET revision = excluded.revision",
    )


def last(tx: Transaction) -> int:
    """The revision given last."""
    return _revision(tx, "last")


def forgotten(tx: Transaction) -> int:
    """Up to this revision, objects that went may be missing among the changes."""
    return _revision(tx, "forgotten")


def behind(tx: Transaction, place: Place, limit: int) -> Sequence[Place]:
    """What changed behind *place*, in order."""
    # Rows of one revision are in the order of their names, so that a page may end among them.
    rows = tx.all(
        "SELECT * FROM uve_changes WHERE revision >= ?"
        " AND (revision, object_table, object_key, struct) > (?, ?, ?, ?)"
        " ORDER BY revision, object_table, object_key, struct LIMIT ?",
        (place.revision, place.revision, place.table, place.key, place.struct, limit),
    )
    return [Place(int(row["revision"]), row["object_table"], row["object_key"], row["struct"]) for row in rows]


def forget_gone(tx: Transaction, keep: int, limit: int) -> int:
    """Forgets at most *limit* changes of objects that are gone, if more than *keep* revisions ago; answers how many."""
    until = last(tx) - keep
    rows = tx.all(
        "SELECT object_table, object_key, struct, revision FROM uve_changes c WHERE revision <= ?"
        " AND NOT EXISTS (SELECT 1 FROM uve_attributes u WHERE u.object_table = c.object_table"
        " AND u.object_key = c.object_key AND u.struct = c.struct) ORDER BY revision LIMIT ?",
        (until, limit),
    )
    if not rows:
        return 0
    tx.many(
        "DELETE FROM uve_changes WHERE object_table = ? AND object_key = ? AND struct = ? AND revision = ?",
        ((row["object_table"], row["object_key"], row["struct"], row["revision"]) for row in rows),
    )
    tx.execute(
        "UPDATE uve_revisions SET revision = ? WHERE name = 'forgotten' AND revision < ?",
        (rows[-1]["revision"], rows[-1]["revision"]),
    )
    return len(rows)


def _revision(tx: Transaction, name: str) -> int:
    row = tx.one("SELECT revision FROM uve_revisions WHERE name = ?", (name,))
    return int(row["revision"]) if row else 0
