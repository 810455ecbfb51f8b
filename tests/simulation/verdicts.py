# SPDX-License-Identifier: Apache-2.0
"""The verifier's verdict over the two chained logs, up to their last checkpoint."""

from __future__ import annotations

from typing import Any

from bms.event.v1 import event_pb2
from services.verifier.judge import Judge
from services.verifier.verdict import Report, Verdict
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


def findings(admin: Person, logs: Logs) -> list[str]:
    """Why a stream, or a log as a whole, does not pass; empty if all do."""
    wrong = []
    for service in CHAINED:
        report = judge(admin, logs, service)
        wrong += [f"{service}: {problem}" for problem in report.problems]
        for name, stream in report.streams.items():
            for interval in stream.intervals:
                if interval.verdict is not Verdict.PASS:
                    found = "; ".join(f"{one.invariant} {one.message} {one.witnesses}" for one in interval.findings)
                    span = f"{interval.first} to {interval.last}"
                    wrong.append(f"{name} {span}: {interval.verdict} {interval.reason} {found}")
    return wrong


def _all(admin: Person, service: str, method: str, request: Any, field: str) -> list[Any]:
    found: list[Any] = []
    while True:
        answer = admin.call(f"events of {service}", method, request)
        found += getattr(answer, field)
        if answer.next_after == request.after:
            return found
        request.after = answer.next_after
