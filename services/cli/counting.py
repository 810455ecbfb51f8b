# SPDX-License-Identifier: Apache-2.0
"""How far something is that takes long, on one line of standard error; nothing where nobody looks on."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

_EVERY = 0.1


class Counter:
    """Counts things as they are looked at."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._counts: dict[str, int] = {}
        self._shown = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live and self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def add(self, count: int, what: str) -> None:
        """*count* more of *what* were looked at."""
        self._counts[what] = self._counts.get(what, 0) + count
        now = time.monotonic()
        if self._live and now - self._shown > _EVERY:
            self._shown = now
            told = ", ".join(f"{number:,} {name}" for name, number in self._counts.items())
            sys.stderr.write(f"\r\x1b[K{told}")
            sys.stderr.flush()
