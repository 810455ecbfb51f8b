# SPDX-License-Identifier: Apache-2.0
"""What the mirror writes down: one short transaction each, with the event that tells of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from services.inventory.domain.flavor import FlavorSpec
from services.inventory.domain.image import Image, ImageSpec
from services.inventory.domain.mirror import Mirror, MirrorState, Standing, id_for
from services.inventory.mirror_sides import Side
from services.inventory.operations.events import event, values
from services.inventory.store.mirror import Entry, MirrorRows
from services.kernel.calls import Call, Caller
from services.kernel.clock import Ids
from services.kernel.errors import Busy
from services.kernel.events import Event
from services.runtime.database import Database, Transaction
from services.runtime.eventlog import EventLog

_Side = Side[Any]


class Notes:
    """Inventory's rows and log, as the mirror uses them."""

    def __init__(self, database: Database, log: EventLog, ids: Ids) -> None:
        self._database = database
        self._log = log
        self._ids = ids

    def read(self, side: _Side) -> tuple[Mapping[str, Entry], list[str]]:
        """All rows of its kind by id, and what is still to be removed there."""

        def verb(tx: Transaction) -> tuple[Mapping[str, Entry], list[str]]:
            rows = self._rows(tx)
            side.look(rows)
            return rows.entries(side.kind), rows.remains(side.kind)

        return self._database.read(verb)

    def stand(self, now: datetime, side: _Side, entry: Entry, standing: Standing) -> None:
        """Notes how *entry* stands. One that changed meanwhile is left for the next round."""
        try:
            self.save(now, side, entry, entry.mirror.standing(now, standing))
        except Busy:
            return

    def save(
        self,
        now: datetime,
        side: _Side,
        entry: Entry,
        mirror: Mirror,
        *,
        spec: FlavorSpec | ImageSpec | None = None,
        leaving: str = "",
    ) -> Entry:
        """Writes *mirror*, and *spec* if given, to the row; answers it as it is then.

        Args:
            leaving: an id there that is to be removed from now on.

        Raises:
            Busy: the row changed since it was read, or is gone.
        """
        changes: dict[str, Any] = {"mirror": mirror} if spec is None else {"mirror": mirror, "spec": spec}
        after: Entry = replace(entry, **changes)
        if after == entry and not leaving:
            return entry

        def verb(tx: Transaction) -> Entry:
            rows = self._rows(tx)
            stored = rows.entry(side.kind, entry.id)
            if stored is None or stored.sequence != entry.sequence:
                msg = f"{entry.name} changed meanwhile"
                raise Busy(msg, name=entry.name)
            told, changed = list[Event](), after
            if after.spec != entry.spec:
                facts = values(entry.spec, after.spec)
                told.append(self._event(now, side, after, "updated", facts))
                changed = replace(changed, update_time=now)
            if _stands(mirror) != _stands(entry.mirror):
                facts = {"state": mirror.state.value, "remote": mirror.ref, "message": mirror.message}
                told.append(self._event(now, side, after, "mirror_changed", facts, mirror.reason))
            for each in told:
                changed = replace(changed, sequence=rows.record(each, changed.sequence))
            rows.save_entry(entry, changed)
            if leaving:
                rows.leave(side.kind, leaving)
            return changed

        return self._database.transact(verb, label="mirror.save")

    def insert(self, now: datetime, side: _Side, spec: FlavorSpec | ImageSpec, mirror: Mirror) -> None:
        """Adds a row of what was made there.

        Raises:
            AlreadyExists: somebody else just did.
        """

        def verb(tx: Transaction) -> None:
            rows = self._rows(tx)
            if rows.is_ours(side.kind, mirror.ref):
                # Made by another replica since we read our rows.
                return
            item = id_for(mirror.remote_name, mirror.ref, rows.entries(side.kind))
            entry = side.entry(item, spec, mirror, now)
            facts = {**values(type(spec)(), spec), "remote": mirror.ref, "state": mirror.state.value}
            told = self._event(now, side, entry, "created", facts, mirror.reason)
            rows.insert_entry(replace(entry, sequence=rows.record(told, rows.last(entry.name))))

        self._database.transact(verb, label="mirror.insert")

    def gone(self, now: datetime, side: _Side, entry: Entry) -> None:
        """What was made there is gone there: so is the row, unless an instance uses it."""

        def verb(tx: Transaction) -> bool:
            rows = self._rows(tx)
            rows.forget_uses()
            stored = rows.entry(side.kind, entry.id)
            if stored is None or stored.sequence != entry.sequence:
                return False
            if rows.in_use(side.kind, entry.id):
                return True
            rows.record(self._event(now, side, entry, "deleted", {"remote": entry.mirror.ref}), entry.sequence)
            rows.remove_entry(entry)
            return False

        if self._database.transact(verb, label="mirror.gone"):
            message = f"it is gone from {side.peer}, and instances use it"
            self.stand(now, side, entry, Standing(MirrorState.GONE, "GONE", message))

    def keep_or_leave(self, side: _Side, item: str, ref: str) -> None:
        """After something was made there: if its row went or changed its mind meanwhile, it is to be removed."""

        def verb(tx: Transaction) -> None:
            rows = self._rows(tx)
            stored = rows.entry(side.kind, item)
            if stored is None or stored.mirror.ref != ref:
                rows.leave(side.kind, ref)

        self._database.transact(verb, label="mirror.made")

    def removed(self, side: _Side, ref: str) -> None:
        """It was removed there."""
        self._database.transact(lambda tx: self._rows(tx).removed(side.kind, ref), label="mirror.removed")

    def under_way(self, side: _Side) -> bool:
        """Whether something is on its way there."""
        entries, remains = self.read(side)
        return bool(remains) or any(entry.mirror.state is MirrorState.PENDING for entry in entries.values())

    def _event(
        self, now: datetime, side: _Side, entry: Entry, verb: str, facts: Mapping[str, str], reason: str = ""
    ) -> Event:
        who = side.peer.lower() if entry.mirror.theirs else "inventory"
        call = Call(Caller(who), "mirror", self._ids.uuid(), now)
        project = entry.spec.project if isinstance(entry, Image) else ""
        told = {key: text for key, text in facts.items() if text}
        return event(call, entry.name, f"{side.kind}.{verb}", project=project, facts=told, reason=reason)

    def _rows(self, tx: Transaction) -> MirrorRows:
        return MirrorRows(tx, self._log)


def _stands(mirror: Mirror) -> tuple[str, ...]:
    return (mirror.state.value, mirror.reason, mirror.message, mirror.ref, mirror.remote_name)
