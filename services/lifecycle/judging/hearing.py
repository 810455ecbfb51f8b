# SPDX-License-Identifier: Apache-2.0
"""Hears the logs: reads what is new, holds it against the invariants, keeps the verdicts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import orjson
import structlog

from bms.event.v1 import event_pb2
from services.lifecycle.judging import docket
from services.lifecycle.judging.docket import TrialRow, Violation
from services.runtime.database import Database, Transaction
from services.verifier.address_trial import Address
from services.verifier.cut import pack, unpack
from services.verifier.judge import trial_of
from services.verifier.picture import Picture
from services.verifier.seen import Seen
from services.verifier.track import Track
from services.verifier.verdict import Finding, Verdict

Source = Callable[[int], Sequence[event_pb2.StoredEvent]]
"""The events of a log after a position, by rising position; none if there is nothing new."""

PAUSE = timedelta(seconds=1)
"""How long news may wait to be judged: what is judged together is written together."""
_REMEMBERED = 5000

_log = structlog.get_logger("bms.judge")


@dataclass(slots=True)
class Hearing:
    """Hears one service's log.

    Attributes:
        service: whose log: ``lifecycle`` or ``ipam``.
    """

    service: str
    source: Source
    database: Database
    _tracks: OrderedDict[str, Track] = field(default_factory=OrderedDict)
    _place: int | None = None

    def hear(self) -> int:
        """Judges the next part of the log; answers how many events that were."""
        if self._place is None:
            self._place = self.database.read(lambda tx: docket.place(tx, self.service))
        before = self._place
        events = self.source(before)
        if not events:
            return 0
        seen = [(stored, Seen(stored)) for stored in events]
        self._fetch({one.stream for _, one in seen})
        touched, findings = self._try(seen)
        rows = [_row(track) for track in touched.values()]
        after = events[-1].position
        violations = [Violation(stream, at, finding) for stream, at, finding in findings]

        def keep(tx: Transaction) -> bool:
            if not docket.move(tx, self.service, before, after):
                return False
            docket.keep_trials(tx, rows)
            for stream, track in touched.items():
                docket.keep_intervals(tx, stream, track.report(None).intervals)
            docket.keep_violations(tx, violations)
            return True

        try:
            kept = self.database.transact(keep, label="judge")
        except BaseException:
            self.forget()
            raise
        if not kept:
            # Another replica has judged this part: what is remembered here is of no use.
            self.forget()
            return 0
        for violation in violations:
            _log.error(
                "judge.violation", stream=violation.stream, sequence=violation.sequence,
                invariant=violation.finding.invariant, finding=violation.finding.message,
            )  # fmt: skip
        for track in touched.values():
            track.spans.clear()
        self._place = after
        self._shrink()
        return len(events)

    def _try(
        self, seen: Sequence[tuple[event_pb2.StoredEvent, Seen]]
    ) -> tuple[dict[str, Track], list[tuple[str, int, Finding]]]:
        touched: dict[str, Track] = {}
        findings: list[tuple[str, int, Finding]] = []
        for stored, one in seen:
            track = self._tracks[one.stream]
            touched[one.stream] = track
            track.take(stored, one, chained=True)
        for stream, track in touched.items():
            for span in track.spans:
                findings += [(stream, finding.witnesses[1].sequence, finding) for finding in span.findings]
        return touched, findings

    def _fetch(self, streams: set[str]) -> None:
        """Remembers the trials of *streams*, read from the docket or begun."""
        missing = sorted(streams - self._tracks.keys())
        found = self.database.read(lambda tx: [docket.trial(tx, stream) for stream in missing])
        for stream, row in zip(missing, found, strict=True):
            self._tracks[stream] = _track(self.service, stream, row)
        for stream in streams:
            self._tracks.move_to_end(stream)

    def _shrink(self) -> None:
        while len(self._tracks) > _REMEMBERED:
            self._tracks.popitem(last=False)

    def forget(self) -> None:
        """Forgets what was heard: another replica may have gone on from there."""
        self._tracks.clear()
        self._place = None


def _track(service: str, stream: str, row: TrialRow | None) -> Track:
    trial = trial_of(service, stream)
    if row is None:
        return Track(stream, trial)
    trial.verdict, trial.reason = Verdict(row.verdict), row.reason
    trial.picture = unpack(Address if service == "ipam" else Picture, orjson.loads(row.picture))
    return Track(stream, trial, row.sequence, row.digest)


def _row(track: Track) -> TrialRow:
    trial = track.trial
    return TrialRow(
        track.stream, track.sequence, track.digest, trial.verdict, trial.reason, orjson.dumps(pack(trial.picture))
    )
