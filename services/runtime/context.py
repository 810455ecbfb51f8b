# SPDX-License-Identifier: Apache-2.0
"""The request being served, for whoever stands between the interceptors and the verbs."""

from __future__ import annotations

from contextvars import ContextVar

from services.kernel.calls import Call

current: ContextVar[Call] = ContextVar("bms_call")
"""Set by the interceptors for the time of one request."""


def current_call() -> Call:
    """The request being served by this thread or task.

    Raises:
        LookupError: none is; a servicer was called past its interceptors.
    """
    return current.get()
