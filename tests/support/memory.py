# SPDX-License-Identifier: Apache-2.0
"""Where to keep files that may be lost."""

from __future__ import annotations

import os
from typing import Final

IN_MEMORY: Final = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""A folder in the machine's memory, as `tempfile` takes it; None for the usual one, on machines without.

Whoever commits by the thousand waits there for no disk, which others may keep busy.
"""
