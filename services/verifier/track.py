# SPDX-License-Identifier: Apache-2.0
"""One stream of a log: its chain, its trial, and the intervals over which the verdict was the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bms.event.v1 import event_pb2
from services.verifier import chain
from services.verifier.seen import Seen
from services.verifier.verdict import Finding, Interval, StreamReport, Verdict

if TYPE_CHECKING:
    from services.verifier.judge import Trial


@dataclass(slots=True)
class Span:
    """An interval that is still growing."""

    verdict: Verdict
    first: int
    last: int
    begin: int
    end: int
    reason: str = ""
    findings: list[Finding] = field(default_factory=list)


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

    def take(self, stored: event_pb2.StoredEvent, seen: Seen, *, chained: bool) -> bytes:
        """Takes the next event; answers the digest of what was given, computed anew."""
        hashed = chain.body_digest(stored.body) if stored.body else stored.body_digest
        previous = stored.previous if chained else b""
        digest = chain.event_digest(previous, stored.header, hashed)
        findings: tuple[Finding, ...]
        if (
            seen.sequence != self.sequence + 1
            or hashed != stored.body_digest
            or (chained and (digest != stored.digest or stored.previous != self.digest))
        ):
            wrong = self._wrong(stored, seen, hashed, digest)
            self.trial.lose(wrong)
            findings = (Finding("LOG", wrong, (seen.witness, seen.witness)),)
        else:
            findings = self.trial.hear(seen)
        self.sequence, self.digest = seen.sequence, digest
        self._extend(seen, findings)
        return digest

    def report(self, beyond: int | None) -> StreamReport:
        """The intervals; from sequence *beyond* on no checkpoint covers them."""
        intervals = []
        for span in self.spans:
            if beyond is None or span.last < beyond:
                intervals.append(_interval(span, span.last, span.end))
                continue
            if span.first < beyond:
                intervals.append(_interval(span, beyond - 1, span.end))
            first = max(span.first, beyond)
            found = tuple(one for one in span.findings if one.witnesses[1].sequence >= first)
            why = "no checkpoint covers it that fits"
            intervals.append(Interval(Verdict.UNKNOWN, first, span.last, span.begin, span.end, why, found))
        return StreamReport(self.stream, tuple(intervals))

    def _wrong(self, stored: event_pb2.StoredEvent, seen: Seen, hashed: bytes, digest: bytes) -> str:
        if seen.sequence != self.sequence + 1:
            return f"after sequence {self.sequence} comes {seen.sequence}"
        if hashed != stored.body_digest:
            return f"the body of sequence {seen.sequence} is not the one that was recorded"
        if digest != stored.digest:
            return f"sequence {seen.sequence} is not the event that was recorded"
        return f"sequence {seen.sequence} follows another event than the one before it here"

    def _extend(self, seen: Seen, findings: tuple[Finding, ...]) -> None:
        trial = self.trial
        span = self.spans[-1] if self.spans else None
        if span is None or span.verdict is not trial.verdict or span.reason != trial.reason:
            span = Span(trial.verdict, seen.sequence, seen.sequence, seen.time, seen.time, trial.reason)
            self.spans.append(span)
        span.last, span.end = seen.sequence, seen.time
        if findings:
            span.findings.extend(findings)


def _interval(span: Span, last: int, end: int) -> Interval:
    found = tuple(one for one in span.findings if one.witnesses[1].sequence <= last)
    return Interval(span.verdict, span.first, last, span.begin, end, span.reason, found)
