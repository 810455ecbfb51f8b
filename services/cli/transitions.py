# SPDX-License-Identifier: Apache-2.0
"""Each server's transitions between tenancies, in the neutral form of NVIDIA's ai-cloud-validation suite.

The suite asks that a host which has served a tenant passes through a stage called sanitizing before it is available
again. It reads a history of states; here `sanitizing` stands only where the log shows a pass that erased every disk
inspected after the server was off its tenant's networks, and only in evidence that was verified on this machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from services.cli.evidence import Tell, evidence, give
from services.cli.fleet import Machine, join, load
from services.cli.screen import short
from services.cli.selector import Selector
from services.cli.session import Session

if TYPE_CHECKING:
    from bms.event.v1.event_pb2 import StoredEvent
    from bms.inventory.v1.server_pb2 import Server
    from services.verifier.judge import Judge

IN_USE, SANITIZING, AVAILABLE = "in_use", "sanitizing", "available"
SHOWN = 20
"""How many of the last transitions are shown; what follows from them follows from all."""

# From when a tenant's network or system may be there until he gave it back.
_USED = frozenset({"switching", "active", "rescuing", "rescued", "rebuilding"})


def transitions(session: Session, record: Server | None, tell: Tell) -> dict[str, Any]:
    """The suite's step output, of one server or of all.

    Where the evidence does not verify, ``success`` is false and ``error`` says why.
    """
    from services.verifier.judge import Judge
    from services.verifier.verdict import Verdict

    stream = record.name if record else ""
    judge = Judge("lifecycle", stream=stream)
    found: dict[str, list[str]] = {}
    for message in evidence(session, "lifecycle", stream, tell):
        give(judge, message)
        _follow(judge, message, found)
    report = judge.report()
    machines = join(session, [record]) if record else load(session, Selector())
    # A gap anywhere may hide a transition, though a later clean pass makes what follows known again.
    unproven = [
        name
        for name, one in report.streams.items()
        if any(interval.verdict is Verdict.UNKNOWN for interval in one.intervals)
    ]
    problems = [problem.message for problem in report.problems]
    problems += [f"not all that happened to {name} is proven" for name in unproven if not problems]
    result: dict[str, Any] = {
        "success": bool(report.events) and not problems,
        "platform": "bms",
        "site_id": judge.keys.known[0].log if judge.keys.known else "",
        "machines_checked": len(machines),
        "machines": [_machine(each, found.get(each.name, [])) for each in machines],
    }
    if problems or not report.events:
        result["error"] = "; ".join(problems) or "the log has no proven event"
    return result


def sanitized(tokens: Sequence[str]) -> bool:
    """Whether each way from a tenant back to the pool led through a sanitizing stage."""
    used = False
    for token in tokens:
        if token == AVAILABLE and used:
            return False
        used = token == IN_USE or (used and token != SANITIZING)
    return True


def _follow(judge: Judge, message: object, found: dict[str, list[str]]) -> None:
    """Takes an event's transition in."""
    from bms.event.v1.event_pb2 import EventHeader, StoredEvent

    if not isinstance(message, StoredEvent):
        return
    header = EventHeader.FromString(message.header)
    tokens = found.setdefault(header.stream, [])
    if header.type == "clean.passed" and _is_full(judge, message, header.stream):
        tokens.append(SANITIZING)
    elif header.state_after != header.state_before:
        token = IN_USE if header.state_after in _USED else header.state_after
        if not tokens or tokens[-1] != token:
            tokens.append(token)


def _is_full(judge: Judge, event: StoredEvent, stream: str) -> bool:
    """Whether the clean pass that *event* ended is one that the verifier counts."""
    track = judge.tracks.get(stream)
    clean = track.trial.picture.clean if track is not None and track.trial.picture is not None else None
    return clean is not None and clean.witness.position == event.position


def _machine(machine: Machine, tokens: Sequence[str]) -> dict[str, Any]:
    hardware, pool = machine.server.properties, machine.server.pool
    held = (machine.status.instance if machine.status else "") or (
        pool.reserved_by if pool.reserved_by.startswith("projects/") else ""
    )
    state = machine.state
    offered = state == AVAILABLE and pool.available
    return {
        "machine_id": short(machine.name),
        "status": IN_USE if state in _USED else state,
        "available": offered and not held,
        "in_use": state in _USED,
        "has_gpu": any("gpu" in key.lower() for key in hardware.capabilities),
        "served_tenant": IN_USE in tokens,
        "sanitized": sanitized(tokens),
        # A server that is set aside for repair goes to quarantine, and comes back to nobody but through a clean pass.
        "breakfix_skip_observed": False,
        "tenancy_preserved": True,
        "stale_tenant_binding": offered and bool(held),
        "vendor": hardware.manufacturer,
        "product_name": hardware.model,
        "bios_version": hardware.capabilities.get("bios_version", ""),
        "transitions": list(tokens[-SHOWN:]),
    }
