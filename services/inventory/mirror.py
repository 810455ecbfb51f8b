# SPDX-License-Identifier: Apache-2.0
"""Holds the catalogue and OpenStack's equal: docs/decisions/0041-mirrored-catalogue.md.

Each round compares all there is here with all there is there, and needs nothing of the round before. It asks the
service outside transactions only. Nothing is changed or removed there but what bears an id that we chose ourselves and
noted, in a transaction that was over before the id was first sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Generic, TypeVar

import structlog

from services.inventory.domain.mirror import Mirror, MirrorState, Origin, Standing, Unfit
from services.inventory.mirror_notes import Notes
from services.inventory.mirror_sides import ANEW, Side, Verdict
from services.inventory.store.mirror import Entry
from services.kernel.clock import Ids
from services.kernel.errors import AlreadyExists, Busy, PeerUnavailable
from services.runtime.openstack import Refused

T = TypeVar("T")
_log = structlog.get_logger("bms.mirror")

PERIOD = timedelta(seconds=30)
_SOON = timedelta(seconds=2)
_LEAST, _MOST = timedelta(seconds=5), timedelta(minutes=5)
_HOPELESS = timedelta(hours=1)
_MOST_FAILURES = 3
"""After so many rows in a row for which the service was away, the round ends."""


class Mirroring(Generic[T]):
    """One kind's reconciler. ``tick`` starts no thread, sleeps nowhere, and reads no clock.

    Args:
        period: how often all is compared when nothing is under way.
    """

    def __init__(self, side: Side[T], notes: Notes, ids: Ids, *, period: timedelta = PERIOD) -> None:
        self._side = side
        self._notes = notes
        self._ids = ids
        self._period = period
        self._failures = 0

    def tick(self, now: datetime) -> datetime:
        """One round; answers when the next is due. While the service is away the rounds come ever more rarely."""
        try:
            under_way = self._round(now)
        except (PeerUnavailable, Refused) as error:
            self._failures += 1
            _log.warning("mirror.away", peer=self._side.peer, failures=self._failures, error=str(error))
            self._tell_away(now, error)
            pause: timedelta = _LEAST * (1 << min(self._failures - 1, 10))
            return now + min(_MOST, pause)
        self._failures = 0
        return now + (min(_SOON, self._period) if under_way else self._period)

    def _round(self, now: datetime) -> bool:
        entries, remains = self._notes.read(self._side)
        there = self._side.everything()
        for ref in remains:
            self._remove(ref)
            there.pop(ref, None)
        ours = {entry.mirror.ref for entry in entries.values() if not entry.mirror.theirs}
        away = 0
        for entry in entries.values():
            if entry.mirror.theirs:
                continue
            try:
                self._own(now, entry, there)
                away = 0
            except PeerUnavailable as error:
                away += 1
                self._notes.stand(now, self._side, entry, _away(error))
                if away >= _MOST_FAILURES:
                    raise
            except Busy:
                # Somebody changed the row meanwhile: the next round sees it as it is then.
                continue
        theirs = {ref: found for ref, found in there.items() if ref not in ours}
        self._follow(now, entries, theirs, there)
        return self._notes.under_way(self._side)

    # ---- what is ours ----

    def _own(self, now: datetime, entry: Entry, there: dict[str, T]) -> None:
        side, mirror = self._side, entry.mirror
        try:
            wanted = side.wanted(entry)
            digest = hashlib.sha256(repr(wanted).encode()).hexdigest()[:16]
            if self._hopeless(now, mirror, digest):
                return
            found = there.get(mirror.ref) or (side.get(mirror.ref) if mirror.ref else None)
            if found is not None:
                verdict = side.bring(found, wanted)
                if verdict.withdraw:
                    entry = self._withdraw(now, entry, verdict, digest)
                    there.pop(mirror.ref, None)
                    if not verdict.again:
                        return
                    verdict, entry = self._make(now, entry, wanted, there)
            else:
                verdict, entry = self._make(now, entry, wanted, there)
        except Unfit as unfit:
            self._withdraw(now, entry, Verdict(unfit.standing), "")
            return
        except Refused as refused:
            standing = Standing(MirrorState.FAILED, "REFUSED", f"{side.peer} refuses ({refused})")
            self._notes.stand(now, side, entry, standing)
            return
        self._notes.stand(now, side, entry, verdict.standing)

    def _hopeless(self, now: datetime, mirror: Mirror, digest: str) -> bool:
        failed = mirror.state is MirrorState.FAILED and mirror.tried == digest
        return failed and mirror.since is not None and now - mirror.since < _HOPELESS

    def _make(self, now: datetime, entry: Entry, wanted: T, there: Mapping[str, T]) -> tuple[Verdict, Entry]:
        """Makes it by the id that is noted, which is noted first if there is none.

        Raises:
            Unfit: it cannot be made there as things are.
        """
        side = self._side
        side.possible(entry.mirror.ref, wanted, there)
        if not entry.mirror.ref:
            standing = Standing(MirrorState.PENDING, "MAKING", f"it is made in {side.peer}")
            named = replace(entry.mirror.standing(now, standing), ref=self._ids.uuid())
            entry = self._notes.save(now, side, entry, named)
        ref = entry.mirror.ref
        try:
            verdict = side.make(ref, wanted)
        except Refused as refused:
            if refused.status != 409 or side.get(ref) is not None:
                raise
            # An id that was used up there (Glance keeps those of deleted images), or a name that somebody just took.
            entry = self._withdraw(now, entry, ANEW, "")
            return ANEW, entry
        finally:
            self._notes.keep_or_leave(side, entry.id, ref)
        return verdict, entry

    def _withdraw(self, now: datetime, entry: Entry, verdict: Verdict, digest: str) -> Entry:
        """Lets go of what is there: from now on it is to be removed, and the row has no id there."""
        mirror = replace(entry.mirror.standing(now, verdict.standing), ref="", tried=digest if verdict.hopeless else "")
        left = entry.mirror.ref
        entry = self._notes.save(now, self._side, entry, mirror, leaving=left)
        if left:
            self._remove(left)
        return entry

    def _remove(self, ref: str) -> None:
        try:
            self._side.remove(ref)
        except Refused as refused:
            # Protected or in use: it stays noted, and is tried again in each round.
            _log.warning("mirror.remains", peer=self._side.peer, ref=ref, status=refused.status, error=refused.text)
            return
        self._notes.removed(self._side, ref)

    # ---- what is theirs ----

    def _follow(
        self, now: datetime, entries: Mapping[str, Entry], theirs: Mapping[str, T], there: Mapping[str, T]
    ) -> None:
        rows = {entry.mirror.ref: entry for entry in entries.values() if entry.mirror.theirs}
        taken = {ref: read for ref, found in theirs.items() if (read := self._side.taken(found, there)) is not None}
        for ref, (spec, standing, remote_name) in taken.items():
            try:
                if (row := rows.get(ref)) is not None:
                    mirror = replace(row.mirror.standing(now, standing), remote_name=remote_name)
                    self._notes.save(now, self._side, row, mirror, spec=spec)
                else:
                    mirror = Mirror(Origin.THEIRS, ref=ref, remote_name=remote_name).standing(now, standing)
                    self._notes.insert(now, self._side, spec, mirror)
            except (AlreadyExists, Busy):
                # Another replica, or a caller, was quicker.
                continue
        for ref, row in rows.items():
            if ref not in taken:
                self._notes.gone(now, self._side, row)

    def _tell_away(self, now: datetime, error: Exception) -> None:
        entries, _ = self._notes.read(self._side)
        for entry in entries.values():
            if not entry.mirror.theirs and entry.mirror.state in (MirrorState.NONE, MirrorState.PENDING):
                self._notes.stand(now, self._side, entry, _away(error))


def _away(error: Exception) -> Standing:
    return Standing(MirrorState.PENDING, "PEER_UNAVAILABLE", str(error))
