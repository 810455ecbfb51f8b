# SPDX-License-Identifier: Apache-2.0
"""What lifecycle's own verifier says, in the words of the one that runs here."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from services.cli.session import PAGE, Session

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from bms.lifecycle.v1.audit_service_pb2 import StreamVerdict, VerdictFinding, VerdictInterval
    from services.verifier.verdict import Finding, Interval, Report, StreamReport


def asked(session: Session, stream: str, since: datetime | None) -> list[Report]:
    """The verdicts of lifecycle's own verifier, log by log; of one *stream*, if that is not ""."""
    from bms.lifecycle.v1.audit_service_pb2 import AuditIsolationRequest
    from services.verifier.verdict import Report

    request = AuditIsolationRequest(stream=stream, page_size=PAGE)
    if since is not None:
        request.since.FromDatetime(since)
    verdicts: list[StreamVerdict] = []
    while True:
        answer = session.audits.AuditIsolation(request)
        verdicts += answer.verdicts
        if not answer.next_page_token:
            break
        request.page_token = answer.next_page_token
    streams = {one.stream: _stream(one) for one in verdicts}
    reports = []
    for log in answer.logs:
        own = {
            name: one for name, one in streams.items() if name.startswith("servers/") is (log.service == "lifecycle")
        }
        if not stream or own:
            reports.append(Report(log.service, log.position, log.position, own))
    return reports


def _stream(one: StreamVerdict) -> StreamReport:
    from services.verifier.verdict import StreamReport

    return StreamReport(one.stream, tuple(_interval(each) for each in one.intervals))


def _interval(one: VerdictInterval) -> Interval:
    from bms.lifecycle.v1.audit_service_pb2 import Verdict as Number
    from services.verifier.verdict import Interval, Verdict

    verdict = Verdict(Number.Name(one.verdict).removeprefix("VERDICT_"))
    span = (one.first_sequence, one.last_sequence, _micros(one.start_time), _micros(one.end_time))
    return Interval(verdict, *span, one.reason, _findings(one.findings))


def _findings(found: Iterable[VerdictFinding]) -> tuple[Finding, ...]:
    from services.verifier.verdict import Finding, Witness

    return tuple(
        Finding(
            one.invariant,
            one.message,
            tuple(
                Witness(each.event, each.position, each.sequence, each.type, _micros(each.time))
                for each in one.witnesses
            ),  # type: ignore[arg-type]  # the contract says that there are two
        )
        for one in found
    )


def _micros(stamp: Timestamp) -> int:
    return stamp.ToMicroseconds()
