# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.errors import InvalidField, WrongState
from services.network.domain.attachments import Attachment, Link, Reading, check_change, spread
from services.network.domain.networks import Network, PortClass, Segment
from services.network.domain.switch_ports import PortConfig, SwitchPort, class_of, config_of
from services.network.domain.wishes import QUARANTINE, Tag, Wish, check_wish

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def network(name: str, vlan: int, port_class: PortClass = PortClass.TENANT) -> Network:
    return Network(name, "", port_class, Segment.of_vlan(vlan), NOW, NOW)


RED = network("projects/red/networks/a", 200)
RED_TOO = network("projects/red/networks/b", 201)
BLUE = network("projects/blue/networks/a", 300)
PRIVATE = {
    port_class: network(f"projects/site/networks/{port_class}", vlan, port_class)
    for vlan, port_class in enumerate((PortClass.PROVISIONING, PortClass.CLEANING, PortClass.RESCUE), start=11)
}
NETWORKS = {one.segment.fabric_id: one for one in (RED, RED_TOO, BLUE, *PRIVATE.values())}
KNOWN = {one.name: one.segment.fabric_id for one in NETWORKS.values()}
LINK = Link("servers/s/ports/1", "m", SwitchPort("leaf", "1"))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (PortConfig(), PortClass.QUARANTINE),
        (PortConfig("11"), PortClass.PROVISIONING),
        (PortConfig("12"), PortClass.CLEANING),
        (PortConfig("13"), PortClass.RESCUE),
        (PortConfig("200"), PortClass.TENANT),
        (PortConfig("", frozenset({(5, "200")})), PortClass.TENANT),
        (PortConfig("200", frozenset({(5, "201")})), PortClass.TENANT),
        (PortConfig("200", frozenset({(5, "300")})), PortClass.UNKNOWN),
        (PortConfig("11", frozenset({(5, "200")})), PortClass.UNKNOWN),
        (PortConfig("11", frozenset({(5, "12")})), PortClass.UNKNOWN),
        (PortConfig("200", frozenset({(0, "201")})), PortClass.UNKNOWN),
        (PortConfig("999"), PortClass.UNKNOWN),
        (PortConfig("200", frozenset({(5, "999")})), PortClass.UNKNOWN),
    ],
)
def test_the_class_follows_from_what_is_configured(config: PortConfig, expected: PortClass) -> None:
    """
    Nothing configured is quarantine; a network's VLAN is its class; a foreign VLAN, two classes or two projects at once
    are UNKNOWN, with words that say why.
    """
    port_class, tags, detail = class_of(config, NETWORKS)
    assert port_class is expected
    assert bool(detail) is (expected is PortClass.UNKNOWN)
    assert {tag.network for tag in tags} == {NETWORKS[one].name for one in config.networks if one in NETWORKS}


@given(st.sets(st.sampled_from([RED, RED_TOO]), min_size=1), st.booleans())
def test_what_is_written_is_read(networks: set[Network], untagged: bool) -> None:
    """
    A port configured as a wish says is read as that wish, tags and all.
    """
    chosen = sorted(networks, key=lambda one: one.name)
    tags = [Tag(one.name, 0 if untagged and not at else 100 + at) for at, one in enumerate(chosen)]
    wish = Wish(PortClass.TENANT, tuple(sorted(tags)))
    assert class_of(config_of(wish, KNOWN), NETWORKS) == (wish.port_class, wish.tags, "")


@pytest.mark.parametrize(
    "wish",
    [
        Wish(PortClass.QUARANTINE, (Tag("n"),)),
        Wish(PortClass.PROVISIONING),
        Wish(PortClass.PROVISIONING, (Tag("a"), Tag("b", 5))),
        Wish(PortClass.TENANT),
        Wish(PortClass.TENANT, (Tag("a"), Tag("b"))),
        Wish(PortClass.TENANT, (Tag("a", 5), Tag("b", 5))),
        Wish(PortClass.TENANT, (Tag("a", 5), Tag("a", 6))),
        Wish(PortClass.TENANT, (Tag("a", 1),)),
        Wish(PortClass.TENANT, (Tag("a", 4095),)),
        Wish(PortClass.TENANT, tuple(Tag(f"n{at}", at + 2) for at in range(65))),
    ],
)
def test_wishes_that_no_port_can_be(wish: Wish) -> None:
    """
    The class says how many networks there are; at most one is untagged, and no tag or network is there twice.
    """
    with pytest.raises(InvalidField) as caught:
        check_wish(wish, "wishes[3]")
    assert caught.value.facts["field"] == "wishes[3].networks"


def attachment(wish: Wish, seen: Wish | None, project: str = "") -> Attachment:
    reading = None if seen is None else Reading(seen.port_class, seen.tags, NOW, bytes(32), asked=1)
    return Attachment("s", LINK, wish, project, NOW, reading)


def wish_for(one: Network) -> Wish:
    return Wish(one.network_class, (Tag(one.name),))


ALL = {
    "quarantine": QUARANTINE,
    "red": wish_for(RED),
    "red-too": wish_for(RED_TOO),
    "blue": wish_for(BLUE),
    "unknown": Wish(PortClass.UNKNOWN),
    **{one.value: wish_for(PRIVATE[one]) for one in PRIVATE},
}
CLEAR = {"quarantine", "red", "red-too"}


@pytest.mark.parametrize("asked", sorted(set(ALL) - {"unknown"}))
@pytest.mark.parametrize("seen", [*sorted(ALL), "never"])
def test_a_tenants_network_is_entered_from_quarantine_alone(asked: str, seen: str) -> None:
    """
    Of all pairs of what a port was asked to be and what it was seen as, a tenant's wish passes where both are
    quarantine or networks of that same tenant; every other class may be asked for from anywhere.
    """
    before = attachment(ALL[asked], ALL.get(seen), "red" if asked.startswith("red") else "")
    for private in PRIVATE.values():
        check_change(before, wish_for(private), "")
    check_change(before, QUARANTINE, "")
    wanted = Wish(PortClass.TENANT, (Tag(RED.name, 7),))
    if asked in CLEAR and seen in CLEAR:
        check_change(before, wanted, "red")
    else:
        with pytest.raises(WrongState) as caught:
            check_change(before, wanted, "red")
        assert caught.value.remedy


def test_the_same_wish_may_be_repeated() -> None:
    """
    A wish asked for already is taken again whatever was seen meanwhile: a repeat asks for nothing new.
    """
    check_change(attachment(ALL["red"], ALL["unknown"], "red"), ALL["red"], "red")


def test_settled_is_about_readings_since_the_wish() -> None:
    """
    A reading settles the wish it was made after, and none that was asked later, even if they look the same.
    """
    before = attachment(ALL["red"], ALL["red"], "red")
    assert before.settled
    again = replace(before, asked=3)
    assert not again.settled
    assert again.networks == {RED.name}
    assert not attachment(QUARANTINE, None).settled
    assert attachment(QUARANTINE, QUARANTINE).isolated
    assert not before.isolated


def test_a_group_goes_together() -> None:
    """
    Naming one port of a group moves all; two members cannot be asked to be different things; others stay out of it.
    """
    links = [replace(LINK, port=name, port_group=group) for name, group in (("a", "g"), ("b", "g"), ("c", ""))]
    assert spread({"a": ALL["red"]}, links) == {"a": ALL["red"], "b": ALL["red"]}
    assert spread({"c": QUARANTINE}, links) == {"c": QUARANTINE}
    with pytest.raises(InvalidField):
        spread({"a": ALL["red"], "b": QUARANTINE}, links)


def test_names_and_numbers_of_a_network() -> None:
    """
    The VRF is project and network, joined by a dot; without a controller the VNI follows from the VLAN.
    """
    assert (RED.vrf, RED.segment.vni, RED.project) == ("red.a", 10_200, "red")
