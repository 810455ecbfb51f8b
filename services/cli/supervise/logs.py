# SPDX-License-Identifier: Apache-2.0
"""Shows what is added to log files, each line with its service's name before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

_AT_ONCE = 256 * 1024


class LogFollower:
    """Follows files from where they end now.

    The children write to their files themselves: a terminal that is slow, or gone, never holds a service up.
    """

    def __init__(self, files: Mapping[str, Path], say: Callable[[str], None]) -> None:
        self._files = files
        self._say = say
        self._width = max(map(len, files), default=0)
        self._offsets = {name: path.stat().st_size if path.exists() else 0 for name, path in files.items()}

    def tell(self) -> None:
        """Says the lines that were completed since the last time."""
        for name, path in self._files.items():
            try:
                with path.open("rb") as file:
                    if file.seek(0, 2) < self._offsets[name]:
                        self._offsets[name] = 0  # it was moved away and begun anew
                    file.seek(self._offsets[name])
                    new = file.read(_AT_ONCE)
            except FileNotFoundError:
                continue  # its process has written nothing yet
            whole = new[: new.rfind(b"\n") + 1]
            self._offsets[name] += len(whole)
            for line in whole.decode(errors="replace").splitlines():
                self._say(f"{name:<{self._width}} | {line}")
