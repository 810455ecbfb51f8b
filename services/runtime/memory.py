# SPDX-License-Identifier: Apache-2.0
"""How often Python looks for garbage in cycles: seldom, where every call makes thousands of small objects."""

from __future__ import annotations

import gc

_YOUNG, _MIDDLE, _OLD = 20_000, 20, 50
"""A few megabytes may wait to be found. The default, after every 700 objects, cost a twentieth of telemetry's time."""


def settle() -> None:
    """Called once when everything is built: what is there by now stays, and is never looked at again."""
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
