# SPDX-License-Identifier: Apache-2.0
"""The identity of an act: the same for every repetition of one attempt of one step on one target."""

from __future__ import annotations

from services.kernel.names import stable_uuid
from services.lifecycle.domain.plans import plan_of
from services.lifecycle.domain.server import Intent
from services.lifecycle.domain.step import StepName


def request_id(intent: Intent, target: str) -> str:
    """The request id of the present step's act on *target*."""
    return stable_uuid(intent.id, str(intent.index), intent.step.name.value, str(intent.attempt), target)


def image_job(intent: Intent, target: str) -> str:
    """The request id that the plan's step WRITE_IMAGE will have on *target*, for the step that books its job."""
    steps = plan_of(intent.kind)
    index = next(index for index, step in enumerate(steps) if step.name is StepName.WRITE_IMAGE)
    return stable_uuid(intent.id, str(index), StepName.WRITE_IMAGE.value, "1", target)


def call_id(intent: Intent, fence: int, *target: str) -> str:
    """The request id of a call to another service under one claim.

    A call names its fence, so under the next claim it is another request; that it changes nothing twice is then the
    receiver's own promise: a wish is a wish, an owner has one lease, an epoch ends once.
    """
    return stable_uuid(intent.id, str(intent.index), intent.step.name.value, str(intent.attempt), str(fence), *target)
