# SPDX-License-Identifier: Apache-2.0
"""One stream of a log: its chain, its trial, and the intervals over which the verdict was the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from bms.event.v1 import event_pb2
from services.verifier import chain
from services.verifier.seen import Seen
from services.verifier.verdict import Finding, Interval, StreamReport, Verdict

if TYPE_CHECKING:
    from services.verifier.judge import Trial


class Edge(NamedTuple):
    """Where a stream leaves what checkpoints cover.

    Attributes:
        sequence: of the first event that none covers.
        time: of that event, in microseconds.
        covered: the time of the event before it.
    """

    sequence: int
    time: int = 0
    covered: int = 0


@dataclass(slots=True)
class Span:
    """An interval that is still growing.

    Attributes:
        first: the sequence of its first event.
        begin: the time of that, in microseconds.
        latest: its last event so far; None while nothing followed the first.
    """

    verdict: Verdict
    first: int
    begin: int
    reason: str = ""
    findings: list[Finding] = field(default_factory=list)
    latest: Seen | None = None

    @property
    def last(self) -> int:
        """The sequence of its last event."""
        return self.latest.sequence if self.latest is not None else self.first

    @property
    def end(self) -> int:
        """The time of that, in microseconds."""
        return self.latest.time if self.latest is not None else self.begin


@dataclass(slots=True)
class Track:
    """One stream.

    Attributes:
        sequence, digest: of the last event taken.
    """

    stream: str
    trial: Trial
    sequence: int = 0
    digest: bytes = b""
    spans: list[Span] = field(default_factory=list)

    @property
    def end(self) -> int:
        """The time of the last event taken, in microseconds; 0 before the first."""
        return self.spans[-1].end if self.spans else 0

    def take(self, stored: event_pb2.StoredEvent, seen: Seen, *, chained: bool) -> bytes:
        """Takes the next event; answers the digest of what was given, computed anew."""
        body = seen.body_bytes
        told = stored.body_digest
        hashed = chain.body_digest(body) if body else told
        previous = stored.previous if chained else b""
        digest = chain.event_digest(previous, seen.header_bytes, hashed)
        sequence, trial = seen.sequence, self.trial
        findings: tuple[Finding, ...]
        if (
            sequence != self.sequence + 1
            or hashed != told
            or (chained and (digest != stored.digest or previous != self.digest))
        ):
            wrong = self._wrong(stored, seen, hashed, digest)
            trial.lose(wrong)
            findings = (Finding("LOG", wrong, (seen.witness, seen.witness)),)
        else:
            findings = trial.hear(seen)
        self.sequence, self.digest = sequence, digest
        spans = self.spans
        span = spans[-1] if spans else None
        if span is None or span.verdict is not trial.verdict or span.reason != trial.reason:
            span = Span(trial.verdict, sequence, seen.time, trial.reason)
            spans.append(span)
        span.latest = seen
        if findings:
            span.findings.extend(findings)
        return digest

    def report(self, beyond: Edge | None) -> StreamReport:
        """The intervals; from *beyond* on no checkpoint covers them."""
        intervals = []
        for span in self.spans:
            if beyond is None or span.last < beyond.sequence:
                intervals.append(_interval(span, span.last, span.end))
                continue
            if span.first < beyond.sequence:
                intervals.append(_interval(span, beyond.sequence - 1, beyond.covered))
            first, begin = max((span.first, span.begin), (beyond.sequence, beyond.time))
            found = tuple(one for one in span.findings if one.witnesses[1].sequence >= first)
            why = "no checkpoint covers it that fits"
            intervals.append(Interval(Verdict.UNKNOWN, first, span.last, begin, span.end, why, found))
        return StreamReport(self.stream, tuple(intervals))

    def _wrong(self, stored: event_pb2.StoredEvent, seen: Seen, hashed: bytes, digest: bytes) -> str:
        if seen.sequence != self.sequence + 1:
            return f"after sequence {self.sequence} comes {seen.sequence}"
        if hashed != stored.body_digest:
            return f"the body of sequence {seen.sequence} is not the one that was recorded"
        if digest != stored.digest:
            return f"sequence {seen.sequence} is not the event that was recorded"
        return f"sequence {seen.sequence} follows another event than the one before it here"


def _interval(span: Span, last: int, end: int) -> Interval:
    found = tuple(one for one in span.findings if one.witnesses[1].sequence <= last)
    return Interval(span.verdict, span.first, last, span.begin, end, span.reason, found)
