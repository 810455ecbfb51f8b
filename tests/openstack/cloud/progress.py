# SPDX-License-Identifier: Apache-2.0
"""Lines that say what goes on, and how long it took."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def step(what: str) -> Iterator[None]:
    """Says *what* begins, and when it ended how many seconds it took."""
    began = time.monotonic()
    say(f"  {what} ...")
    yield
    say(f"  {what}: {time.monotonic() - began:.1f} s")


def say(line: str) -> None:
    """Writes a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
