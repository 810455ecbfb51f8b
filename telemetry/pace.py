# SPDX-License-Identifier: Apache-2.0
"""How long to rest between two answers: in a burst events come by the dozen meanwhile and share one (decision 0066)."""

from __future__ import annotations

from typing import Final

SHORTEST_REST: Final = 0.03
LONGEST_REST: Final = 0.2
REST: Final = 3.0
"""How much longer it rests than it worked, within the two bounds above (seconds)."""


class Pace:
    """The rests of one who works again and again; remembers what it cost the time before.

    Once may be chance: a machine that has too much to do is slow each time. So the lesser of the last two counts.
    """

    def __init__(self) -> None:
        self._before = 0.0

    def rest(self, worked: float) -> float:
        """How long to rest after *worked*; both in seconds."""
        least, self._before = min(worked, self._before), worked
        return min(LONGEST_REST, max(SHORTEST_REST, REST * least))
