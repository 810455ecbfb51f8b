# SPDX-License-Identifier: Apache-2.0
"""Who of several replicas does what only one may do."""

from __future__ import annotations

from dataclasses import dataclass

from services.runtime.database import Transaction


@dataclass(frozen=True, slots=True)
class Row:
    """A lease as it stands.

    Attributes:
        holder: who has it; "" if nobody.
        fence: raised whenever somebody takes it.
        beat: raised whenever the holder says that he is there.
    """

    holder: str
    fence: int
    beat: int


def look(tx: Transaction, name: str) -> Row:
    """The lease called *name*; nobody's if there is none yet."""
    row = tx.one("SELECT holder, fence, beat FROM leases WHERE name = ?", (name,))
    return Row("", 0, 0) if row is None else Row(row["holder"], int(row["fence"]), int(row["beat"]))


def take(tx: Transaction, name: str, holder: str, seen: Row) -> bool:
    """Gives it to *holder* with the next fence, unless it is no longer as it was *seen*."""
    tx.execute("INSERT INTO leases (name, holder, fence, beat) VALUES (?, '', 0, 0) ON CONFLICT DO NOTHING", (name,))
    changed = tx.execute(
        "UPDATE leases SET holder = ?, fence = fence + 1, beat = beat + 1 WHERE name = ? AND fence = ? AND beat = ?",
        (holder, name, seen.fence, seen.beat),
    )
    return changed == 1


def beat(tx: Transaction, name: str, fence: int) -> bool:
    """Says that whoever took it with *fence* is there; answers whether he still has it."""
    changed = tx.execute("UPDATE leases SET beat = beat + 1 WHERE name = ? AND fence = ?", (name, fence))
    return changed == 1


def give_back(tx: Transaction, name: str, fence: int) -> None:
    """Lets anybody have it at once, if it still belongs to whoever took it with *fence*."""
    tx.execute("UPDATE leases SET holder = '', beat = beat + 1 WHERE name = ? AND fence = ?", (name, fence))
