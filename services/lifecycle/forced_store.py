# SPDX-License-Identifier: Apache-2.0
"""The table of forced actions: row to value and back, pages, compare-and-set. All in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import orjson

from services.kernel.errors import NotFound, Stale
from services.kernel.pages import Page, PageRequest
from services.lifecycle.domain.forced import ForcedAction, ForcedKind, ForcedState
from services.runtime.database import Row, Transaction
from services.runtime.filters import Term
from services.runtime.times import from_micros, to_micros

FIELDS = frozenset({"kind", "state", "requester", "approver"})
"""What forced actions can be filtered by."""


class ForcedTable:
    """The forced actions in one transaction; satisfies operations.forcing.ForcedBooks."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    def find(self, name: str, *, lock: bool = False) -> ForcedAction:
        """The forced action; NotFound if there is none."""
        ending = " FOR UPDATE" if lock and self._tx.dialect == "postgresql" else ""
        row = self._tx.one(f"SELECT * FROM forced_actions WHERE name = ?{ending}", (name,))
        if row is None:
            msg = f"{name} does not exist"
            raise NotFound(msg, name=name)
        return _action(row)

    def action(self, name: str) -> ForcedAction:
        """See ForcedBooks."""
        return self.find(name, lock=True)

    def pending(self, server: str, kind: ForcedKind) -> list[ForcedAction]:
        """See ForcedBooks."""
        rows = self._tx.all(
            "SELECT * FROM forced_actions WHERE server = ? AND kind = ? AND state = ?",
            (server, kind.value, ForcedState.PENDING.value),
        )
        return [_action(row) for row in rows]

    def insert(self, action: ForcedAction) -> None:
        """See ForcedBooks."""
        values = _values(action)
        columns, marks = ", ".join(values), ", ".join("?" for _ in values)
        self._tx.execute(f"INSERT INTO forced_actions ({columns}) VALUES ({marks})", tuple(values.values()))

    def save(self, action: ForcedAction) -> ForcedAction:
        """See ForcedBooks."""
        written = replace(action, version=action.version + 1)
        values = _values(written)
        sets = ", ".join(f"{column} = ?" for column in values)
        done = self._tx.execute(
            f"UPDATE forced_actions SET {sets} WHERE name = ? AND version = ?",
            (*values.values(), action.name, action.version),
        )
        if not done:
            msg = f"{action.name} was changed by somebody else meanwhile"
            raise Stale(msg, remedy="Read it again and repeat.", name=action.name)
        return written

    def list(self, server: str, terms: Sequence[Term], page: PageRequest) -> Page[ForcedAction]:
        """One page by name; of one server (its UUID), or of all ("")."""
        where, values = "name > ?", [page.after]
        if server:
            where, values = f"{where} AND server = ?", [*values, server]
        for term in terms:
            column = {"approver": "ender"}.get(term.field, term.field)
            value = term.value
            if term.field == "approver":
                where, values = f"{where} AND state = ?", [*values, ForcedState.APPROVED.value]
            elif term.field in ("kind", "state"):
                value = value.lower().removeprefix(f"{term.field}_")
            where, values = f"{where} AND {column} {'=' if term.op == '=' else '<>'} ?", [*values, value]
        rows = self._tx.all(
            f"SELECT * FROM forced_actions WHERE {where} ORDER BY name LIMIT ?", (*values, page.size + 1)
        )
        shown = [_action(row) for row in rows[: page.size]]
        return Page(shown, shown[-1].name if len(rows) > page.size else "")


def _values(action: ForcedAction) -> dict[str, object]:
    return {
        "name": action.name,
        "server": action.server,
        "kind": action.kind.value,
        "state": action.state.value,
        "reason": action.reason,
        "requester": action.requester,
        "create_time": to_micros(action.create_time),
        "shown": orjson.dumps(action.shown).decode(),
        "ender": action.ender,
        "end_time": to_micros(action.end_time) if action.end_time else None,
        "operation": action.operation,
        "version": action.version,
    }


def _action(row: Row) -> ForcedAction:
    return ForcedAction(
        name=row["name"],
        server=row["server"],
        kind=ForcedKind(row["kind"]),
        reason=row["reason"],
        requester=row["requester"],
        create_time=from_micros(row["create_time"]),
        shown=tuple(orjson.loads(row["shown"])),
        state=ForcedState(row["state"]),
        ender=row["ender"],
        end_time=from_micros(row["end_time"]) if row["end_time"] is not None else None,
        operation=row["operation"],
        version=row["version"],
    )
