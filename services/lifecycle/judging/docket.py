# SPDX-License-Identifier: Apache-2.0
"""What was judged so far: how far each log was heard, each stream's trial, the verdicts, and what is to be acted on.

Every function runs in the caller's transaction. Several replicas may judge: whoever moves the place in a log forward
first has judged that part, and the others throw their thought away.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import orjson

from services.runtime.database import Row, Transaction
from services.verifier.verdict import Finding, Interval, Verdict, Witness

MAX_FINDINGS = 20
"""How many findings of one interval are kept."""


@dataclass(frozen=True, slots=True)
class TrialRow:
    """A stream's trial as it stands.

    Attributes:
        picture: what the verifier believes, as JSON; see `services.verifier.cut.pack`.
    """

    stream: str
    sequence: int
    digest: bytes
    verdict: Verdict
    reason: str
    picture: bytes


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken invariant that nobody acted on yet."""

    stream: str
    sequence: int
    finding: Finding


def place(tx: Transaction, service: str) -> int:
    """The position up to which the log of *service* was judged."""
    row = tx.one("SELECT position FROM followed WHERE log = ?", (f"judge {service}",))
    return int(row["position"]) if row else 0


def move(tx: Transaction, service: str, before: int, after: int) -> bool:
    """Moves the place on from *before*; False if another replica has moved it meanwhile."""
    log = f"judge {service}"
    if before == 0:
        tx.execute("INSERT INTO followed (log, position) VALUES (?, 0) ON CONFLICT DO NOTHING", (log,))
    return bool(tx.execute("UPDATE followed SET position = ? WHERE log = ? AND position = ?", (after, log, before)))


def turn(tx: Transaction, service: str) -> int:
    """Until when (microseconds) somebody has the turn to ask for the log of *service*, elsewhere; 0: nobody."""
    row = tx.one("SELECT position FROM followed WHERE log = ?", (f"turn {service}",))
    return int(row["position"]) if row else 0


def take_turn(tx: Transaction, service: str, mine: int, now: int, until: int) -> bool:
    """Takes the turn, or keeps it, until *until*; False if it is another replica's.

    The time at which it ends tells whose it is: nobody else wrote it.

    Args:
        mine: until when the caller has it, if he has; 0 if not.
    """
    log = f"turn {service}"
    tx.execute("INSERT INTO followed (log, position) VALUES (?, 0) ON CONFLICT DO NOTHING", (log,))
    return bool(
        tx.execute(
            "UPDATE followed SET position = ? WHERE log = ? AND (position <= ? OR position = ?)",
            (until, log, now, mine),
        )
    )


def leave_turn(tx: Transaction, service: str, mine: int) -> None:
    """Leaves the turn to whoever comes first."""
    tx.execute("UPDATE followed SET position = 0 WHERE log = ? AND position = ?", (f"turn {service}", mine))


def trial(tx: Transaction, stream: str) -> TrialRow | None:
    """A stream's trial; None for one that was not heard of."""
    row = tx.one("SELECT * FROM trials WHERE stream = ?", (stream,))
    if row is None:
        return None
    return TrialRow(
        row["stream"], row["sequence"], bytes(row["digest"]), Verdict(row["verdict"]), row["reason"],
        row["picture"].encode(),
    )  # fmt: skip


def keep_trials(tx: Transaction, trials: Iterable[TrialRow]) -> None:
    """Writes trials as they stand."""
    for one in trials:
        tx.execute(
            "INSERT INTO trials (stream, sequence, digest, verdict, reason, picture) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (stream) DO UPDATE SET sequence = excluded.sequence, digest = excluded.digest,"
            " verdict = excluded.verdict, reason = excluded.reason, picture = excluded.picture",
            (one.stream, one.sequence, one.digest, one.verdict.value, one.reason, one.picture.decode()),
        )


def keep_intervals(tx: Transaction, stream: str, intervals: Sequence[Interval]) -> None:
    """Adds what was heard of *stream* to its intervals: the first may go on with the last one kept."""
    for interval in intervals:
        last = tx.one("SELECT * FROM verdicts WHERE stream = ? ORDER BY first DESC LIMIT 1", (stream,))
        findings = list(interval.findings)
        if last is not None and (last["verdict"], last["reason"]) == (interval.verdict.value, interval.reason):
            findings = [*_findings(last["findings"]), *findings][:MAX_FINDINGS]
            tx.execute(
                "UPDATE verdicts SET last = ?, end_time = ?, findings = ? WHERE stream = ? AND first = ?",
                (interval.last, interval.end, _json(findings), stream, last["first"]),
            )
            continue
        tx.execute(
            "INSERT INTO verdicts (stream, first, last, begin_time, end_time, verdict, reason, findings)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                stream, interval.first, interval.last, interval.begin, interval.end, interval.verdict.value,
                interval.reason, _json(findings[:MAX_FINDINGS]),
            ),
        )  # fmt: skip


def keep_violations(tx: Transaction, violations: Iterable[Violation]) -> None:
    """Notes what is to be acted on."""
    for one in violations:
        tx.execute(
            "INSERT INTO violations (stream, sequence, invariant, finding) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (one.stream, one.sequence, one.finding.invariant, _json([one.finding])),
        )


def violations(tx: Transaction, most: int) -> list[Violation]:
    """What is to be acted on."""
    rows = tx.all("SELECT * FROM violations ORDER BY stream, sequence, invariant LIMIT ?", (most,))
    return [Violation(row["stream"], row["sequence"], _findings(row["finding"])[0]) for row in rows]


def acted(tx: Transaction, violation: Violation) -> bool:
    """Strikes one off; False if another replica has acted on it."""
    return bool(
        tx.execute(
            "DELETE FROM violations WHERE stream = ? AND sequence = ? AND invariant = ?",
            (violation.stream, violation.sequence, violation.finding.invariant),
        )
    )


def verdicts(
    tx: Transaction, *, stream: str, since: int, flawed_only: bool, after: str, most: int
) -> dict[str, list[Interval]]:
    """Streams by name, each with its intervals, after the stream *after*.

    Args:
        stream: only this one; "" for all.
        since: only intervals that end at this time (microseconds) or later.
        flawed_only: only streams with an interval that is not PASS.
        most: at most how many streams.
    """
    where, values = "stream > ? AND end_time >= ?", [after, since]
    if stream:
        where, values = where + " AND stream = ?", [*values, stream]
    if flawed_only:
        where, values = where + " AND verdict <> ?", [*values, Verdict.PASS.value]
    names = tx.all(f"SELECT DISTINCT stream FROM verdicts WHERE {where} ORDER BY stream LIMIT ?", (*values, most))
    found: dict[str, list[Interval]] = {}
    for row in names:
        rows = tx.all(
            "SELECT * FROM verdicts WHERE stream = ? AND end_time >= ? ORDER BY first", (row["stream"], since)
        )
        found[row["stream"]] = [_interval(one) for one in rows]
    return found


def _interval(row: Row) -> Interval:
    return Interval(
        Verdict(row["verdict"]), row["first"], row["last"], row["begin_time"], row["end_time"], row["reason"],
        tuple(_findings(row["findings"])),
    )  # fmt: skip


def _json(findings: Sequence[Finding]) -> str:
    return orjson.dumps(findings).decode()


def _findings(text: str) -> list[Finding]:
    return [
        Finding(
            one["invariant"], one["message"],
            (Witness(**one["witnesses"][0]), Witness(**one["witnesses"][1])),
        )
        for one in orjson.loads(text)
    ]  # fmt: skip
