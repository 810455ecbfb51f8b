# SPDX-License-Identifier: Apache-2.0
"""The verifier's verdict over the two chained logs, up to their last checkpoint; and that of lifecycle's own judge, who
heard them as they grew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bms.event.v1 import event_pb2
from bms.lifecycle.v1 import audit_service_pb2
from services.lifecycle.judging.wire import stream_verdict
from services.verifier.judge import Judge
from services.verifier.verdict import Report
from tests.simulation.expectations import expected
from tests.simulation.people import Person
from tests.site.audit import CHAINED, Logs


def judge(admin: Person, logs: Logs, service: str) -> Report:
    """What the verifier says of a log, given its keys, checkpoints and events."""
    court = Judge(service)
    for key in _all(admin, service, "ListSigningKeys", event_pb2.ListSigningKeysRequest(), "keys"):
        court.key(key)
    for signed in _all(admin, service, "ListCheckpoints", event_pb2.ListCheckpointsRequest(), "checkpoints"):
        court.checkpoint(signed)
    for event in logs.events[service]:
        court.event(event)
    return court.report()


def reports(admin: Person, logs: Logs) -> dict[str, Report]:
    """What the verifier says of both logs."""
    return {service: judge(admin, logs, service) for service in CHAINED}


def findings(logs: Logs, reports: Mapping[str, Report]) -> list[str]:
    """Why a stream, or a log as a whole, does not come to the verdict that it must; empty if all do."""
    wrong = []
    for service, report in reports.items():
        wrong += [f"{service}: {problem}" for problem in report.problems]
        told = expected(logs.events[service])
        for name, stream in report.streams.items():
            for interval in stream.intervals:
                wanted = set(told[name][interval.first - 1 : interval.last])
                if wanted != {interval.verdict}:
                    found = "; ".join(f"{one.invariant} {one.message} {one.witnesses}" for one in interval.findings)
                    span = f"{interval.first} to {interval.last}"
                    wrong.append(
                        f"{name} {span}: {interval.verdict} instead of {sorted(wanted)} {interval.reason} {found}"
                    )
    return wrong


def heard(admin: Person, logs: Logs) -> bool:
    """Whether lifecycle's own judge has heard both logs to their ends."""
    answer = admin.call("audit", "AuditIsolation", audit_service_pb2.AuditIsolationRequest(page_size=1))
    return all(log.position == len(logs.events[log.service]) for log in answer.logs)


def disagreements(admin: Person, logs: Logs, reports: Mapping[str, Report]) -> list[str]:
    """How what lifecycle's own judge kept differs from what the verifier says; and servers it accused of nothing."""
    kept = {
        one.stream: one
        for one in admin.pages("audit", "AuditIsolation", audit_service_pb2.AuditIsolationRequest(), "verdicts")
    }
    told = {
        name: stream_verdict(name, stream.intervals)
        for report in reports.values()
        for name, stream in report.streams.items()
    }
    wrong = [
        f"of {name} the judge says {kept.get(name)}, the verifier {one}"
        for name, one in told.items()
        if kept.get(name) != one
    ]
    wrong += [f"the judge heard of {name}, the verifier did not" for name in kept.keys() - told.keys()]
    failed = {
        (finding.witnesses[0].event, finding.witnesses[1].event)
        for report in reports.values()
        for stream in report.streams.values()
        for finding in stream.findings
    }
    for stored in logs.events["lifecycle"]:
        header = event_pb2.EventHeader.FromString(stored.header)
        if header.type == "server.violated":
            facts = event_pb2.EventBody.FromString(stored.body).facts
            if (facts["witness_first"], facts["witness_second"]) not in failed:
                wrong.append(f"the judge accused {header.stream}, and the verifier did not: {facts}")
    return wrong


def _all(admin: Person, service: str, method: str, request: Any, field: str) -> list[Any]:
    found: list[Any] = []
    while True:
        answer = admin.call(f"events of {service}", method, request)
        found += getattr(answer, field)
        if answer.next_after == request.after:
            return found
        request.after = answer.next_after
