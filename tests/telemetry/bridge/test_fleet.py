# SPDX-License-Identifier: Apache-2.0
"""The newest word wins, whichever way and in whatever order words come; what is gone stays gone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.bridge.notifications import parse
from telemetry.bridge.register import Age, Register
from telemetry.sandesh.messages import IRONIC_NODE_INFO
from telemetry.sandesh.uve import UveCache
from tests.telemetry.bridge.notes import (
    NODE,
    OTHER,
    PORT,
    SECOND_PORT,
    Site,
    golden,
    node,
    on_the_wire,
    port,
    wrapped,
)

BEGIN = datetime(2026, 11, 22, 9, tzinfo=UTC)


def at(second: int, **more: Any) -> dict[str, Any]:
    """The node as it was saved at a second."""
    return node(updated_at=f"2026-11-22T09:00:{second:02}Z", **more)


def test_a_genuine_life_ends_as_it_ended() -> None:
    """
    What a genuine Ironic told of its nodes, from their creation on: with ports, and gone at the end.
    """
    site = Site()
    site.lists([], [])
    seen, gone = set(), set()
    for message in golden():
        told = parse(wrapped(message))
        site.fleet.hear(told)
        uve = site.fleet.uve(told.node)
        if uve is not None:
            seen.add((uve["provision_state"], uve["power_state"], len(uve["port_info"])))
            on_the_wire(uve)
        elif message["event_type"] == "baremetal.node.delete.end":
            gone.add(told.uuid)
    assert {("enroll", "", 2), ("deploying", "power off", 2), ("active", "power on", 2)} <= seen
    assert gone
    assert not gone & set(site.fleet.nodes)
    assert not site.spoiled
    assert not list(site.fleet.ports), "they went with their node"


@given(st.permutations(range(6)), st.integers(0, 5))
def test_any_order_and_repetition_of_notifications_end_the_same(order: list[int], twice: int) -> None:
    """
    The one saved last counts; of those of one second, the one said last.
    """
    said = [(number // 2, f"2026-11-22 09:00:0{number // 2}.{number % 2}00000") for number in range(6)]
    site = Site()
    site.lists([at(0, provision_state="before")], [])
    for number in (*order, twice):
        second, when = said[number]
        site.hear("node.provision_set.end", at(second, provision_state=f"state {number}"), when)
    assert site.uve()["provision_state"] == "state 5"
    assert site.fleet.nodes.late == sum(
        number < max(order[: place + 1], default=0) for place, number in enumerate(order)
    ) + (twice < 5)


def test_fields_that_a_notification_does_not_have_stay() -> None:
    """
    Only those of a creation, an update and a listing have ``driver_info``.
    """
    site = Site()
    site.lists([node(driver_info={"ipmi_address": "10.0.0.1"})], [port()])
    site.hear("node.power_set.end", at(1, power_state="power on"))
    assert site.uve()["driver_info"] == {"ipmi_address": "10.0.0.1"}
    assert site.uve()["power_state"] == "power on"
    assert site.uve()["event_type"] == "baremetal.node.power_set.end"
    assert site.ports() == [PORT]


def test_a_listing_asked_for_before_a_notification_came_does_not_undo_it() -> None:
    """
    Its page may have been read in Ironic's database before; unless it has the later ``updated_at``.
    """
    site = Site()
    site.lists([at(0)], [])
    asked = site.fleet.ask()
    site.hear("node.power_set.end", at(5, power_state="power on"))
    site.fleet.read_nodes([at(5, power_state="power off")], asked)
    assert site.uve()["power_state"] == "power on"
    site.fleet.read_nodes([at(6, power_state="error")], asked)
    assert site.uve()["power_state"] == "error"


def test_a_listing_asked_for_later_is_right_whatever_the_clocks_say() -> None:
    """
    Two conductors' clocks differ: the later save may have the earlier time.
    """
    site = Site()
    site.lists([at(0)], [])
    site.hear("node.provision_set.end", at(50, provision_state="active"))
    site.hear("node.provision_set.start", at(20, provision_state="deleting"))
    assert site.uve()["provision_state"] == "active"
    site.lists([at(20, provision_state="deleting")], [])
    assert site.uve()["provision_state"] == "deleting"


def test_a_word_that_was_late_before_a_listing_is_late_after_it() -> None:
    """
    Of two saves of one second, told in the wrong order with a listing in between.
    """
    site = Site()
    site.lists([at(0)], [])
    site.hear("node.power_set.end", at(5, power_state="power on"), "2026-11-22 09:00:05.700000")
    site.lists([at(5, power_state="power on")], [])
    site.hear("node.power_set.start", at(5, power_state="power off"), "2026-11-22 09:00:05.300000")
    assert site.uve()["power_state"] == "power on"
    site.hear("node.power_set.end", at(5, power_state="error"), "2026-11-22 09:00:05.900000")
    assert site.uve()["power_state"] == "error"


def test_who_is_gone_stays_gone() -> None:
    """
    A late update, a page that was asked for before, or a creation told again do not bring a node back.
    """
    site = Site()
    site.lists([node()], [port()])
    asked = site.fleet.ask()
    site.hear("node.delete.end", at(10))
    assert site.fleet.uve(NODE) is None
    late = site.hear("node.provision_set.end", at(30, provision_state="active"))
    assert late, "Ironic is asked instead"
    site.hear("node.create.end", node(updated_at=None))
    site.fleet.read_nodes([at(40)], asked)
    assert site.fleet.uve(NODE) is None
    assert site.fleet.nodes.late == 1


def test_a_deletion_without_times_is_one() -> None:
    """
    Of a payload that lacks them; and then only a listing brings the node back.
    """
    site = Site()
    site.lists([node()], [])
    site.hear("node.delete.end", {"uuid": NODE})
    site.hear("node.delete.end", {"uuid": OTHER})
    assert site.fleet.uve(NODE) is None
    site.hear("node.create.end", node(uuid=OTHER))
    assert site.fleet.uve(OTHER) is None
    site.lists([node(uuid=OTHER)], [])
    assert site.uve(OTHER)["name"] == OTHER


def test_a_node_that_was_made_anew_with_its_uuid_is_there() -> None:
    """
    Ironic lets people choose UUIDs. Ports of the first life are not the second's; its late deletion is not either.
    """
    site = Site()
    site.lists([node()], [port()])
    site.hear("node.delete.end", at(10))
    site.hear("node.create.end", node(created_at="2026-11-23T00:00:00Z", updated_at=None))
    assert site.ports() == []
    site.hear("node.delete.end", at(10))
    assert site.uve()["create_timestamp"] == "2026-11-23T00:00:00+00:00"
    site.hear("node.delete.end", node(created_at="2026-11-23T00:00:00Z", updated_at=None))
    assert site.fleet.uve(NODE) is None
    site.lists([node()], [])
    assert site.uve()["name"] == NODE, "what Ironic shows when asked after that is there"


def test_who_vanished_unheard_goes_with_the_next_listing() -> None:
    """
    But not one that came while the listing was under way.
    """
    site = Site()
    site.lists([node(), node(uuid=OTHER)], [port()])
    asked = site.fleet.ask()
    site.hear("node.create.end", node(uuid=SECOND_PORT, updated_at=None))
    site.fleet.take_changed()
    assert site.lists([node()], [], asked) == [OTHER]
    assert site.fleet.take_changed() == [NODE, OTHER], "it is to be told that it is gone"
    assert sorted(site.fleet.nodes) == [NODE, SECOND_PORT]
    assert site.ports() == []


def test_who_was_heard_of_after_a_listing_was_asked_for_is_not_missed_by_it() -> None:
    """
    Not even if another page showed more of him meanwhile.
    """
    register = Register()
    first = Age(updated=BEGIN, born=BEGIN)
    register.hear("a", first, 5, "a", {})
    assert register.read("a", replace(first, updated=BEGIN + timedelta(seconds=1)), 4, "a", {})
    assert register.missing(set(), 4, 6) == []
    assert register.missing(set(), 5, 6) == ["a"]


def test_a_node_that_is_not_known_is_asked_for_and_not_made_up() -> None:
    """
    Once all was listed: before that, what is told is better than nothing.
    """
    site = Site()
    assert site.hear("node.power_set.end", node())
    assert site.uve()["name"] == NODE
    site.lists([], [])
    assert site.fleet.uve(NODE) is None
    assert site.hear("node.power_set.end", node(uuid=OTHER))
    assert site.fleet.uve(OTHER) is None
    assert not site.hear("node.create.end", node(uuid=OTHER))
    assert site.uve(OTHER)["name"] == OTHER


def test_ports_change_the_list_of_ports_and_nothing_else() -> None:
    """
    One by one; and one that is moved to another node leaves the first.
    """
    site = Site()
    site.lists([node(), node(uuid=OTHER)], [port()])
    before = site.uve()
    site.fleet.take_changed()
    site.hear("port.create.end", port(uuid=SECOND_PORT, updated_at=None))
    assert site.ports() == [PORT, SECOND_PORT]
    site.hear("port.update.end", port(address="52:54:00:00:00:99", updated_at="2026-11-22T09:30:00Z"))
    assert site.uve()["port_info"][0]["mac_address"] == "52:54:00:00:00:99"
    site.hear("port.delete.end", port(uuid=SECOND_PORT))
    assert site.ports() == [PORT]
    site.hear("port.update.end", port(uuid=SECOND_PORT, updated_at="2026-11-22T09:30:00Z"))
    assert site.ports() == [PORT], "it is gone"
    assert {**site.uve(), "port_info": None} == {**before, "port_info": None}
    site.hear("port.update.end", port(node_uuid=OTHER, updated_at="2026-11-22T09:31:00Z"))
    assert (site.ports(), site.ports(OTHER)) == ([], [PORT])
    assert site.fleet.take_changed() == [NODE, OTHER]


def test_a_port_before_its_node_waits_for_it() -> None:
    """
    Ironic is asked; the port is there when the node is.
    """
    site = Site()
    site.lists([], [])
    assert site.hear("port.create.end", port())
    assert site.hear("port.create.end", port(uuid=SECOND_PORT, node_uuid=None))
    assert not site.hear("node.create.end", node())
    assert site.ports() == [PORT]


@pytest.mark.parametrize("row", [None, 7, "x", [], {}, {"uuid": None}, {"uuid": "x"}, {"uuid": NODE}], ids=repr)
def test_rows_of_a_listing_that_are_none_are_passed_over(row: object) -> None:
    """
    Of a proxy in between, or of a driver nobody thought of.
    """
    site = Site()
    asked = site.fleet.ask()
    assert site.fleet.read_nodes([row], asked) == ({NODE} if row == {"uuid": NODE} else set())
    assert site.fleet.read_ports([row], asked) == set()


def test_what_is_told_twice_is_sent_once() -> None:
    """
    The generator's cache compares: a listing of what is known sends nothing.
    """
    site, cache = Site(), UveCache()
    site.lists([node()], [port()])
    assert len(cache.replace(IRONIC_NODE_INFO, site.uve())) == 1
    site.lists([node(updated_at="2026-11-22T09:00:00+00:00")], [port()])
    assert cache.replace(IRONIC_NODE_INFO, site.uve()) == ()
