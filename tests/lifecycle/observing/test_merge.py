# SPDX-License-Identifier: Apache-2.0
"""Readings in any order, twice, or lost but for the last: the record is the same, and so is what is said."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.lifecycle.domain.nodes import NodeSeen
from services.lifecycle.observing import records
from services.lifecycle.observing.merge import merged, same
from tests.lifecycle.observing.fake_nodes import watched
from tests.lifecycle.rig import Rig
from tests.support.clocks import START

STATES = ["available", "manageable", "active", "cleaning", "deleting", "clean failed"]

readings = st.lists(
    st.builds(
        NodeSeen,
        uuid=st.just("n"),
        read_time=st.integers(0, 20).map(lambda seconds: START + timedelta(seconds=seconds)),
        state=st.sampled_from(STATES),
        moved=st.sampled_from(["", "1", "2"]),
        power=st.sampled_from(["on", "off", "unknown"]),
        maintenance=st.booleans(),
        fault=st.sampled_from(["", "power failure"]),
        gone=st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


def record(given_readings: list[NodeSeen]) -> NodeSeen:
    found: NodeSeen | None = None
    for one in given_readings:
        found = merged(found, one)
    assert found is not None
    return found


@given(readings, st.randoms(), st.data())
def test_any_order_and_any_loss_but_of_the_last_end_in_the_same_record(
    given_readings: list[NodeSeen], chance: st.DrawFn, data: st.DataObject
) -> None:
    """
    What counts is the latest reading, however it came.
    """
    last = record(given_readings)
    some = data.draw(st.lists(st.sampled_from(given_readings), max_size=12))
    shuffled = data.draw(st.permutations([*some, last]))

    assert record(list(shuffled)) == last
    assert last.read_time == max(one.read_time for one in given_readings)


@given(readings)
def test_who_read_it_and_when_makes_no_difference(given_readings: list[NodeSeen]) -> None:
    """
    Two readings are the same if they say the same.
    """
    for one in given_readings:
        assert same(one, replace(one, read_time=START, last_error="again"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["maintenance", "retired"]), st.booleans(), st.sampled_from(["", "hint", "twice", "list"])
        ),
        max_size=8,
    )
)
def test_hints_lost_and_repeated_end_in_the_same_record_and_never_tell_twice(
    rig: Rig, plays: list[tuple[str, bool, str]]
) -> None:
    """
    A play changes a node; a hint of it is lost, comes, comes twice, or a listing finds it. In the end a listing does.
    """
    uuid = rig.database.read(lambda tx: [row["uuid"] for row in tx.all("SELECT uuid FROM servers")]) or [
        rig.available()
    ]
    # Whoever had the turn to list is gone.
    rig.clock.advance(120)
    site, server = watched(rig), uuid[0]
    site.nodes.lead(server, "available", power="off", job="clean", maintenance=False, retired=False)
    site.see()
    rig.settle()
    told = len(site.told(server))
    changes = 0
    for mark, value, comes in plays:
        changes += getattr(site.nodes.nodes[server], mark) is not value
        changed: dict[str, Any] = {mark: value}
        site.nodes.lead(server, **changed)
        for _ in range({"hint": 1, "twice": 2}.get(comes, 0)):
            rig.clock.advance(1)
            site.observer.look([server])
            site.observer.judge()
        if comes == "list":
            site.see()
    site.see()

    truth = replace(site.nodes.nodes[server], read_time=START)
    kept = rig.database.read(lambda tx: records.find(tx, server))
    assert kept is not None
    assert same(kept.seen, truth)
    assert kept.told is not None
    assert same(kept.told, truth)
    assert len(site.told(server)) - told <= changes
    last = len(site.told(server))
    site.observer.look([server, server])
    site.see()
    assert len(site.told(server)) == last
