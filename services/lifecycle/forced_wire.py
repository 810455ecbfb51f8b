# SPDX-License-Identifier: Apache-2.0
"""Forced actions, from the contract's messages to values and back."""

from __future__ import annotations

from datetime import datetime

from bms.lifecycle.v1 import forced_action_pb2
from services.kernel.errors import InvalidField
from services.lifecycle.domain.forced import ForcedAction, ForcedKind, ForcedState
from services.lifecycle.wire import stamp
from services.runtime.etags import etag

KINDS = {kind: forced_action_pb2.ForcedAction.Kind.Value(f"KIND_{kind.name}") for kind in ForcedKind}
STATES = {state: forced_action_pb2.ForcedAction.State.Value(f"STATE_{state.name}") for state in ForcedState}
_KIND_OF = {number: kind for kind, number in KINDS.items()}


def kind_of(asked: forced_action_pb2.ForcedAction) -> ForcedKind:
    """What is asked for.

    Raises:
        InvalidField: no kind is.
    """
    if asked.kind not in _KIND_OF:
        known = ", ".join(f"KIND_{kind.name}" for kind in ForcedKind)
        raise InvalidField("forced_action.kind", "is not given", remedy=f"Give one of {known}.")
    return _KIND_OF[asked.kind]


def message(action: ForcedAction, now: datetime) -> forced_action_pb2.ForcedAction:
    """A forced action as it stands at *now*."""
    withdrawn = action.state is ForcedState.WITHDRAWN
    return forced_action_pb2.ForcedAction(
        name=action.name,
        kind=KINDS[action.kind],
        reason=action.reason,
        state=STATES[action.state_at(now)],
        requester=action.requester,
        create_time=stamp(action.create_time),
        expire_time=stamp(action.expire_time),
        approver="" if withdrawn else action.ender,
        withdrawer=action.ender if withdrawn else "",
        end_time=stamp(action.end_time),
        operation=action.operation,
        shown=action.shown,
        etag=etag(action.version),
    )
