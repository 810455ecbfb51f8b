# SPDX-License-Identifier: Apache-2.0
"""What telemetry shows Prometheus of itself, beside its calls: is analytics told, and which alarms are raised."""

from __future__ import annotations

from collections.abc import Iterator

from telemetry.audit import Audit
from telemetry.desk import Desk
from telemetry.lag import Lag
from telemetry.lease import Lease
from telemetry.sandesh.session import ClientSession
from telemetry.sandesh.states import State
from telemetry.underway import Underway


class Gauges:
    """Reads what is there when it is asked, from any thread.

    Attributes:
        audit: what reads back; None where nothing does.
    """

    def __init__(self, session: ClientSession, underway: Underway, lag: Lag, desk: Desk, lease: Lease) -> None:
        self._session = session
        self._underway = underway
        self._lag = lag
        self._desk = desk
        self._lease = lease
        self.audit: Audit | None = None

    def lines(self) -> Iterator[str]:
        """Lines in Prometheus' text format."""
        ledger = self._session.ledger
        yield from _one("bms_telemetry_generating", "Whether this replica tells analytics.", bool(self._lease.fence))
        established = self._session.state is State.ESTABLISHED
        yield from _one("bms_telemetry_session_established", "Whether a collector takes what is told.", established)
        yield from _one(
            "bms_telemetry_lag_seconds", "Age of the oldest event not sent to analytics.", self._lag.seconds
        )
        yield from _one("bms_telemetry_underway", "Object logs sent and not confirmed.", len(self._underway))
        yield from _head("bms_sandesh_sent_total", "counter", "Messages sent.")
        yield from (f'bms_sandesh_sent_total{{type="{name}"}} {count}' for name, count in sorted(ledger.sent.items()))
        yield from _head("bms_sandesh_dropped_total", "counter", "Messages not sent when they should have been.")
        for (name, fate), count in sorted(ledger.dropped.items(), key=lambda item: (item[0][0], item[0][1].value)):
            yield f'bms_sandesh_dropped_total{{type="{name}",reason="{fate.value}"}} {count}'
        if self.audit is not None:
            tally = self.audit.tally
            yield from _head("bms_telemetry_audit_total", "counter", "Object logs read back, by what was found.")
            for what in ("found", "duplicates", "holes", "lost"):
                yield f'bms_telemetry_audit_total{{outcome="{what}"}} {getattr(tally, what)}'
        yield from _head("bms_alarms", "gauge", "Alarms that are raised.")
        for type_, severity, known, count in self._desk.count():
            labels = f'alarm="{type_}",severity="{severity.name.lower()}",acknowledged="{str(known).lower()}"'
            yield f"bms_alarms{{{labels}}} {count}"


def _head(name: str, kind: str, said: str) -> Iterator[str]:
    yield f"# HELP {name} {said}"
    yield f"# TYPE {name} {kind}"


def _one(name: str, said: str, value: float) -> Iterator[str]:
    yield from _head(name, "gauge", said)
    yield f"{name} {value:g}"
