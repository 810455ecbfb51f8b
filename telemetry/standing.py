# SPDX-License-Identifier: Apache-2.0
"""What a server's isolation is worth, as far as the events of its stream in lifecycle's log say it. Pure.

The verifier judges; here its word (`server.violated`) and the administrators' (`forced.approved`) are only repeated,
and missing events are noticed. From best to worst, a worse verdict stays until the next full clean pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from telemetry.events import Followed


class Verdict(StrEnum):
    """The verifier's words, from best to worst."""

    PASS = "pass"  # noqa: S105 -- a verdict, not a password
    """Nothing speaks against it."""
    TAINTED = "tainted"
    """Two administrators forced something aside."""
    UNKNOWN = "unknown"
    """Events are missing, none were heard, or others used it."""
    FAIL = "fail"
    """The verifier found an invariant broken."""


_RANK: Final = {verdict: rank for rank, verdict in enumerate(Verdict)}

_SOUND: Final = frozenset({"clean.passed", "server.adopted"})
"""From here on nothing that was before counts, as for the verifier."""
_FORCED: Final = frozenset({"power.attested", "clean.skipped", "address.forced_free"})
"""What a forced action leads to; the action itself was `forced.approved`."""
_TELLING: Final = _FORCED | {"forced.approved", "server.violated", "guest.observed"}


@dataclass(frozen=True, slots=True)
class Cause:
    """The event a verdict rests on.

    Attributes:
        event, type: its id and type.
        kind: of a forced action its kind, of a violation the invariant, of missing events ``gap`` or ``log_restored``,
            of others' use ``guest``.
        text: a sentence: the administrator's reason, or what was found.
        requester, approver: logins of the two administrators, "" where nobody asked.
        action: the forced action's resource name.
    """

    event: str = ""
    type: str = ""
    kind: str = ""
    text: str = ""
    requester: str = ""
    approver: str = ""
    action: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """A server's verdict; *since* is in microseconds, 0 for as long as anything is known.

    Attributes:
        since: when it came to the verdict; the cause is the newest event that says so.
        sequence, digest: where the stream was read to; the digest in hexadecimal digits.
    """

    verdict: Verdict = Verdict.UNKNOWN
    since: int = 0
    cause: Cause = field(default_factory=Cause)
    sequence: int = 0
    digest: str = ""

    @classmethod
    def of_json(cls, values: dict[str, Any]) -> Standing:
        """Of what orjson made of one."""
        return cls(**{**values, "verdict": Verdict(values["verdict"]), "cause": Cause(**values["cause"])})


def judge(standing: Standing, event: Followed) -> Standing:
    """What is said after *event*, the next that was heard of the server's stream in lifecycle's log."""
    header = event.header
    missing = _missing(standing, event)
    first = header.sequence == 1 and not standing.sequence
    # Not by `replace`, which costs more than all the rest: this runs for every event.
    standing = Standing(standing.verdict, standing.since, standing.cause, header.sequence, event.digest.hex())
    if missing:
        standing = worsened(standing, Verdict.UNKNOWN, event.time, Cause(header.id, header.type, "gap", missing))
    if first or header.type in _SOUND:
        standing = replace(standing, verdict=Verdict.PASS, since=event.time, cause=Cause(header.id, header.type))
    return _told(standing, event) if header.type in _TELLING else standing


def _told(standing: Standing, event: Followed) -> Standing:
    header, facts = event.header, dict(event.body.facts)
    if header.type == "forced.approved":
        cause = Cause(
            *(header.id, header.type, facts.get("kind", ""), event.body.message),
            requester=facts.get("requested_by", ""),
            approver=facts.get("approved_by", ""),
            action=facts.get("action", ""),
        )
        return worsened(standing, Verdict.TAINTED, event.time, cause)
    if header.type in _FORCED and standing.verdict is Verdict.PASS:
        cause = Cause(header.id, header.type, "", event.body.message, action=facts.get("action", ""))
        return worsened(standing, Verdict.TAINTED, event.time, cause)
    if header.type == "guest.observed" and facts.get("state") != "deploying":
        cause = Cause(header.id, header.type, "guest", event.body.message)
        return worsened(standing, Verdict.UNKNOWN, event.time, cause)
    if header.type == "server.violated":
        cause = Cause(header.id, header.type, facts.get("invariant", ""), event.body.message)
        return worsened(standing, Verdict.FAIL, event.time, cause)
    return standing


def worsened(standing: Standing, verdict: Verdict, time: int, cause: Cause) -> Standing:
    """*standing* with *verdict*, unless it is worse already; *time* counts only where the verdict is another."""
    if _RANK[verdict] < _RANK[standing.verdict]:
        return standing
    since = standing.since if verdict is standing.verdict and standing.since else time
    return replace(standing, verdict=verdict, since=since, cause=cause)


def _missing(standing: Standing, event: Followed) -> str:
    """What lies between what was heard before and *event*; "" if it follows."""
    sequence = event.header.sequence
    if sequence != standing.sequence + 1:
        return f"event {sequence} of its stream came after event {standing.sequence}"
    if event.previous and event.previous.hex() != standing.digest:
        return f"event {sequence} of its stream follows on another event than the one that was read"
    return ""
