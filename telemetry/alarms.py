# SPDX-License-Identifier: Apache-2.0
"""Which alarms a server has, and which telemetry itself has. Pure.

An alarm lasts as long as its condition; it is cleared by nothing else. Acknowledging says that somebody knows.
"""

from __future__ import annotations

from typing import Final

from telemetry.known import Known
from telemetry.sandesh.alarms import Alarm, Severity
from telemetry.standing import Verdict

QUARANTINED: Final = "bms-server-quarantined"
OVERDUE: Final = "bms-server-overdue"
VERDICT_FAIL: Final = "bms-server-verdict-fail"
LAG: Final = "bms-telemetry-lag"
TYPES: Final = (QUARANTINED, OVERDUE, VERDICT_FAIL, LAG)

LAG_SECONDS: Final = 120
"""How old an event may be that analytics was not sent."""
MAX_DESCRIPTION: Final = 1000


def server_alarms(known: Known) -> tuple[Alarm, ...]:
    """Those of one server; none of one that is gone."""
    if not known.present:
        return ()
    found = []
    if known.standing.verdict is Verdict.FAIL:
        cause = known.standing.cause
        said = f"An invariant of isolation is broken ({cause.kind}): {cause.text}"
        verdict = (VERDICT_FAIL, Severity.CRITICAL, known.standing.since, said)
        found.append(_alarm(*verdict, "BmsServerVerdict.verdict", Verdict.FAIL.value))
    if known.state == "quarantined":
        said = f"The server was set aside into quarantine and waits for somebody ({known.provision_state})."
        found.append(
            _alarm(
                QUARANTINED, Severity.MAJOR, known.state_time, said, "IronicNode.provision_state", known.provision_state
            )
        )
    if known.overdue is not None:
        said = f"The server is longer in state {known.state} than it may be: {known.overdue.text}"
        found.append(
            _alarm(
                OVERDUE, Severity.MAJOR, known.overdue.time, said, "IronicNode.provision_state", known.provision_state
            )
        )
    return tuple(found)


def own_alarms(oldest: int | None, now: int, since: int = 0) -> tuple[Alarm, ...]:
    """Those of telemetry itself.

    Args:
        oldest: when the oldest event was recorded that was not sent yet (microseconds); None if all were.
        since: when it was raised, if it is raised already; it stays the same one while other events become the oldest.
    """
    if oldest is None or now - oldest <= LAG_SECONDS * 1_000_000:
        return ()
    said = (
        f"Events older than {LAG_SECONDS} seconds were not sent to analytics yet: what it shows is not how things are."
    )
    since = since or oldest + LAG_SECONDS * 1_000_000
    seconds = (now - oldest) // 1_000_000
    return (Alarm(LAG, Severity.MAJOR, since, said, "BmsTelemetry.lag_seconds", ">", LAG_SECONDS, seconds),)


def _alarm(type_: str, severity: Severity, since: int, said: str, operand: str, value: str) -> Alarm:
    return Alarm(type_, severity, since, said[:MAX_DESCRIPTION], operand, "==", value, value)
