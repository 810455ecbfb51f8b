# SPDX-License-Identifier: Apache-2.0
"""The identity of an act: the same for every repetition of one attempt of one step on one target."""

from __future__ import annotations

from services.kernel.names import stable_uuid
from services.lifecycle.domain.server import Intent


def request_id(intent: Intent, target: str) -> str:
    """The request id of the present step's act on *target*."""
    return stable_uuid(intent.id, str(intent.index), intent.step.name.value, str(intent.attempt), target)
