# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from services.kernel.errors import WrongState
from services.lifecycle import wire
from services.lifecycle.domain.drawing import page
from services.lifecycle.domain.states import IN_MOTION, LIMITS, TRANSITIONS, State, Trigger, after

_ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("state", "trigger"), list(product(State, Trigger)))
def test_only_what_the_table_allows(state: State, trigger: Trigger) -> None:
    """
    Any trigger outside the row of its state is refused, and the refusal says what is possible instead.
    """
    if trigger in TRANSITIONS[state]:
        assert after(state, trigger) is TRANSITIONS[state][trigger]
    else:
        with pytest.raises(WrongState) as caught:
            after(state, trigger)

        assert caught.value.facts == {"state": state.value, "trigger": trigger.value}
        assert all(possible in caught.value.remedy for possible in TRANSITIONS[state])


@pytest.mark.parametrize("state", State)
def test_every_state_has_an_abort_edge_and_a_way_back(state: State) -> None:
    """
    From every state quarantine leads to quarantined, and recover leads out of it towards a first clean pass.
    """
    assert after(after(state, Trigger.QUARANTINE), Trigger.RECOVER) is State.VERIFYING


def test_nothing_becomes_available_but_by_a_clean_pass_or_untouched() -> None:
    """
    Into available leads only the end of cleaning, or the return of what was reserved and never touched; and what two
    administrators answer for.
    """
    ways = {(state, trigger) for state in State for trigger, to in TRANSITIONS[state].items() if to is State.AVAILABLE}

    assert ways == {
        (State.CLEANING, Trigger.CLEANED),
        (State.RESERVED, Trigger.UNRESERVE),
        (State.QUARANTINED, Trigger.FORCE),
    }


def test_every_state_can_be_reached() -> None:
    """
    From enrolled and unexpected, where servers come from, every other state can be reached.
    """
    reached = {State.ENROLLED, State.UNEXPECTED}
    for _ in State:
        reached |= {to for state in reached for to in TRANSITIONS[state].values()}

    assert reached == set(State)


def test_states_in_motion_have_limits() -> None:
    """
    Whatever passes by itself may last only so long; a tenant's use, a reserve and a quarantine last as they like.
    """
    resting = {State.ENROLLED, State.UNEXPECTED, State.AVAILABLE, State.ACTIVE, State.RESCUED, State.QUARANTINED}

    assert set(State) - IN_MOTION == resting
    assert all(limit.total_seconds() > 0 for limit in LIMITS.values())


def test_every_state_has_its_number_in_the_contract() -> None:
    """
    The contract knows each state, and no other.
    """
    numbers = [number for number in wire.STATES.values() if number]

    assert len(set(numbers)) == len(State)


def test_the_drawing_is_drawn_from_the_table() -> None:
    """
    docs/states.md is what the table says today: python -m services.lifecycle.domain.drawing > docs/states.md
    """
    assert (_ROOT / "docs" / "states.md").read_text(encoding="utf-8") == page()
