# SPDX-License-Identifier: Apache-2.0
"""The erasure certificate of a server: what its log proves of its last full clean, verified on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.cli.evidence import Tell, evidence, give
from services.cli.failures import CliError

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from bms.event.v1.event_pb2 import Checkpoint, DiskReading, EventBody, SigningKey
    from bms.inventory.v1.server_pb2 import Server
    from services.cli.session import Session
    from services.verifier.judge import Judge

_CITED = ("disks.inspected", "clean.requested", "clean.passed")


@dataclass(frozen=True, slots=True)
class Cited:
    """One event that a certificate rests on."""

    id: str
    type: str
    sequence: int
    position: int
    time: Timestamp
    digest: bytes


@dataclass(frozen=True, slots=True)
class Certificate:
    """What is certified.

    Attributes:
        disks: as the clean pass left them: method, times, digest of what was read afterwards.
        events: the last inspection before the clean pass, its beginning and its end, by type.
        used_by: the instance that came onto what the pass left; "" while none did.
        checkpoint: the one that covers the events.
        key: the one that signed it.
        trusted: it is, or was vouched for by, a key that the caller trusts.
    """

    server: str
    display_name: str
    disks: Sequence[DiskReading]
    events: dict[str, Cited]
    used_by: str
    checkpoint: Checkpoint
    key: SigningKey
    trusted: bool


def certify(session: Session, record: Server, trusted: frozenset[bytes] | None, tell: Tell) -> Certificate:
    """The certificate of *record*'s last full clean.

    Raises:
        CliError: the log proves none; the message says why.
    """
    from bms.event.v1.event_pb2 import Checkpoint, EventBody, EventHeader, StoredEvent, StreamProof
    from services.verifier.judge import Judge

    judge = Judge("lifecycle", trusted=trusted, stream=record.name)
    checkpoint = Checkpoint()
    last: dict[str, Cited] = {}
    cited: dict[str, Cited] = {}
    body = EventBody()
    for message in evidence(session, "lifecycle", record.name, tell):
        give(judge, message)
        if isinstance(message, StreamProof):
            checkpoint = Checkpoint.FromString(message.checkpoint.checkpoint)
        if not isinstance(message, StoredEvent):
            continue
        header = EventHeader.FromString(message.header)
        if header.type in _CITED:
            last[header.type] = Cited(
                header.id, header.type, header.sequence, message.position, header.time, message.digest
            )
        if header.type == "clean.passed":
            cited, body = dict(last), EventBody.FromString(message.body)
    return _certified(judge, record, checkpoint, cited, body, trusted=trusted is not None)


def _certified(
    judge: Judge, record: Server, checkpoint: Checkpoint, cited: dict[str, Cited], body: EventBody, *, trusted: bool
) -> Certificate:
    from services.verifier.verdict import Verdict

    report = judge.report()
    if report.problems:
        raise _refused(record, "; ".join(problem.message for problem in report.problems))
    track = judge.tracks.get(record.name)
    picture = track.trial.picture if track is not None else None
    passed = cited.get("clean.passed")
    if picture is None or passed is None:
        raise _refused(record, "its log tells of no clean pass")
    clean = picture.clean
    if clean is None or clean.witness.position != passed.position:
        raise _refused(record, picture.flaw or "its last clean pass does not count")
    for interval in report.streams[record.name].intervals:
        here = interval.first <= passed.sequence <= interval.last
        # What is missing after it may be what voided it.
        if (here and interval.verdict is Verdict.FAIL) or (
            interval.last >= passed.sequence and interval.verdict is Verdict.UNKNOWN
        ):
            why = interval.reason or "; ".join(one.message for one in interval.findings)
            raise _refused(record, f"the log does not prove its last clean pass: {why}")
    key = next(one for one in judge.keys.known if one.key_id == checkpoint.key_id)
    return Certificate(
        record.name, record.display_name, list(body.evidence.disks), cited, clean.used_by, checkpoint, key, trusted
    )


def _refused(record: Server, why: str) -> CliError:
    return CliError(
        f"{record.display_name} has no certificate: {why}",
        reason="NOT_PROVEN",
        remedy=f"A full clean makes one: `bms server diagnose {record.display_name}` says what the server needs;"
        " `bms audit isolation` judges its whole log.",
    )
