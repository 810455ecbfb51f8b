# SPDX-License-Identifier: Apache-2.0
"""How long is rested between two answers."""

from __future__ import annotations

import pytest

from telemetry.pace import LONGEST_REST, SHORTEST_REST, Pace


@pytest.mark.parametrize("worked", [-3600.0, 0.0, 0.005, 0.02, 0.05, 3600.0])
def test_rests_are_bounded_whatever_the_clock_says(worked: float) -> None:
    """
    Works a quarter of the time at most, and never rests for long, even if the clock was set meanwhile.
    """
    pace = Pace()
    pace.rest(worked)

    assert pace.rest(worked) == min(LONGEST_REST, max(SHORTEST_REST, 3 * worked))


def test_what_was_slow_once_is_no_reason_to_rest_longer() -> None:
    """
    A stall may be chance. What is slow each time has its reason in a machine that has too much to do.
    """
    pace = Pace()

    assert [pace.rest(worked) for worked in (0.002, 0.06, 0.002)] == [SHORTEST_REST] * 3
    assert [pace.rest(worked) for worked in (0.04, 0.02, 0.05)] == pytest.approx([SHORTEST_REST, 0.06, 0.06])
