# SPDX-License-Identifier: Apache-2.0
"""What the product's own audit finds leaked, and repairs."""

from __future__ import annotations

from typing import Any

from bms.lifecycle.v1 import audit_service_pb2
from tests.simulation.people import Person, Refused

_KINDS = audit_service_pb2.Leak.Kind


def find(admin: Person) -> list[str]:
    """Every leak, as a line."""
    return [_line(leak) for leak in _leaks(admin)]


def repair(admin: Person) -> tuple[str, ...]:
    """Repairs what may be repaired; answers it as lines."""
    repaired = []
    for leak in _leaks(admin):
        if leak.repairable:
            request = audit_service_pb2.RepairLeakRequest(kind=leak.kind, resource=leak.resource, etag=leak.etag)
            try:
                admin.call("audit", "RepairLeak", request)
            except Refused as refused:
                # It has gone or changed meanwhile: the next look tells.
                repaired.append(f"{_line(leak)}: {refused.reason}")
            else:
                repaired.append(_line(leak))
    return tuple(repaired)


def _leaks(admin: Person) -> list[Any]:
    return admin.pages("audit", "AuditLeaks", audit_service_pb2.AuditLeaksRequest(), "leaks")


def _line(leak: Any) -> str:
    return f"{_KINDS.Name(leak.kind)} {leak.resource}"
