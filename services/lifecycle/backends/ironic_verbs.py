# SPDX-License-Identifier: Apache-2.0
"""What operators have Ironic do beside a server's way through the pool: clean steps by hand."""

from __future__ import annotations

import json

from services.lifecycle.ports import JobOrder


def clean_steps(order: JobOrder) -> dict[str, object]:
    """What Ironic is told with the verb ``clean``; it may name arguments that are nobody else's business."""
    return {
        "clean_steps": [
            {"interface": step.interface, "step": step.step, "args": json.loads(step.args)} for step in order.steps
        ]
    }
