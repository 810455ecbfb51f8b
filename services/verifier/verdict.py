# SPDX-License-Identifier: Apache-2.0
"""What the verifier says: verdicts over intervals of a stream, and the events that witness them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """What is known of a stream over an interval, from best to worst."""

    PASS = "PASS"  # noqa: S105 -- a verdict, not a password
    """Every invariant held, and nothing is missing."""
    TAINTED = "TAINTED"
    """Every invariant held but those that administrators forced aside."""
    UNKNOWN = "UNKNOWN"
    """Something is missing, altered, withheld, lies beyond the last checkpoint, or others did what no log tells."""
    FAIL = "FAIL"
    """An invariant was broken; two events witness it."""


_RANK = {verdict: rank for rank, verdict in enumerate(Verdict)}


def worst(*verdicts: Verdict) -> Verdict:
    """The worst of *verdicts*; PASS for none."""
    return max(verdicts, key=_RANK.__getitem__, default=Verdict.PASS)


@dataclass(slots=True, unsafe_hash=True)
class Witness:
    """One event that a finding rests on. Never changed; not frozen, because one is made of every event, and freezing
    would be a tenth of judging.

    Attributes:
        event: its id; "" where there is no event, such as a gap.
        position: its place in the log's commit order.
        sequence: its place in its stream.
        time: when it was recorded, in microseconds since 1970, UTC.
    """

    event: str
    position: int
    sequence: int
    type: str
    time: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found wrong.

    Attributes:
        invariant: ``I1`` to ``I8``, or ``LOG`` where the log itself is not whole.
        message: one sentence for people.
        witnesses: the earlier and the later event; the same event twice where it alone tells.
    """

    invariant: str
    message: str
    witnesses: tuple[Witness, Witness]


@dataclass(frozen=True, slots=True)
class Interval:
    """A part of a stream over which the verdict is the same.

    Attributes:
        first, last: sequences of its first and last event.
        begin, end: their times, in microseconds.
        reason: why it is not PASS; "" if it is.
        findings: those that began in it.
    """

    verdict: Verdict
    first: int
    last: int
    begin: int
    end: int
    reason: str = ""
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class StreamReport:
    """The verdicts over one stream, in order."""

    stream: str
    intervals: tuple[Interval, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of all intervals."""
        return worst(*(interval.verdict for interval in self.intervals))

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, in order."""
        return tuple(finding for interval in self.intervals for finding in interval.findings)

    def since(self, time: int) -> StreamReport:
        """Only what reaches into the time from *time* (microseconds) on."""
        return StreamReport(self.stream, tuple(one for one in self.intervals if one.end >= time))


@dataclass(frozen=True, slots=True)
class Report:
    """What was found of one log.

    Attributes:
        service: whose log.
        judged_to: the position of the last checkpoint that fits; what lies beyond is UNKNOWN.
        events: how many events were read.
        streams: by the stream's name.
        problems: findings about the log as a whole.
    """

    service: str
    judged_to: int
    events: int
    streams: dict[str, StreamReport] = field(default_factory=dict)
    problems: tuple[Finding, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing is known of the log: it has no event, and goes on behind none."""
        return not self.events and not self.judged_to

    @property
    def verdict(self) -> Verdict:
        """The worst of all streams; UNKNOWN if the log as a whole is not sound, or nothing of it is known."""
        whole = (Verdict.UNKNOWN,) if self.problems or self.empty else ()
        return worst(*whole, *(stream.verdict for stream in self.streams.values()))
