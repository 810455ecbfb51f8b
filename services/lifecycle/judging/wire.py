# SPDX-License-Identifier: Apache-2.0
"""Verdicts as the contract answers them."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from bms.lifecycle.v1 import audit_service_pb2
from services.verifier.verdict import Finding, Interval, Verdict, Witness, worst

VERDICTS = {verdict: audit_service_pb2.Verdict.Value(f"VERDICT_{verdict.name}") for verdict in Verdict}


def stream_verdict(stream: str, intervals: Sequence[Interval]) -> audit_service_pb2.StreamVerdict:
    """The verdicts over one stream."""
    return audit_service_pb2.StreamVerdict(
        stream=stream,
        verdict=VERDICTS[worst(*(interval.verdict for interval in intervals))],
        intervals=[
            audit_service_pb2.VerdictInterval(
                verdict=VERDICTS[one.verdict],
                first_sequence=one.first,
                last_sequence=one.last,
                start_time=_stamp(one.begin),
                end_time=_stamp(one.end),
                reason=one.reason,
                findings=[_finding(finding) for finding in one.findings],
            )
            for one in intervals
        ],
    )


def _finding(finding: Finding) -> audit_service_pb2.VerdictFinding:
    return audit_service_pb2.VerdictFinding(
        invariant=finding.invariant,
        message=finding.message,
        witnesses=[_witness(witness) for witness in finding.witnesses],
    )


def _witness(witness: Witness) -> audit_service_pb2.WitnessEvent:
    return audit_service_pb2.WitnessEvent(
        event=witness.event,
        position=witness.position,
        sequence=witness.sequence,
        type=witness.type,
        time=_stamp(witness.time),
    )


def _stamp(micros: int) -> Timestamp | None:
    return Timestamp(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1000) if micros else None
