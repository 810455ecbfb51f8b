# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from services.kernel.errors import WrongState
from services.lifecycle.domain.instance import Instance, NetworkWish, lay_out, mac_address_on
from services.lifecycle.domain.server import Port, Tag


def port(index: int, *, linked: bool = True, pxe: bool = False, group: str = "") -> Port:
    name = f"servers/s/ports/{index:02d}"
    return Port(name, "", "leaf1" if linked else "", f"xe-{index}" if linked else "", pxe, group)


ports = st.lists(st.tuples(st.booleans(), st.booleans(), st.sampled_from(["", "", "bond0", "bond1"])), max_size=5).map(
    lambda given: tuple(port(index, linked=one[0], pxe=one[1], group=one[2]) for index, one in enumerate(given))
)
wishes = st.lists(st.sampled_from([0, 0, 100, 100, 200]), min_size=1, max_size=6).map(
    lambda tags: tuple(NetworkWish(f"projects/demo/networks/n{index}", (), tag) for index, tag in enumerate(tags))
)


def laid(networks: tuple[NetworkWish, ...], given: tuple[Port, ...]) -> dict[str, tuple[Tag, ...]] | None:
    try:
        return lay_out(networks, given)
    except WrongState:
        return None


@given(networks=wishes, given_ports=ports)
def test_every_network_lies_on_one_port_that_is_plugged_in(
    networks: tuple[NetworkWish, ...], given_ports: tuple[Port, ...]
) -> None:
    """
    Each network once; at most one untagged network and no tag twice on a port; only plugged ports, one of each group.
    """
    found = laid(networks, given_ports)
    assume(found is not None)
    assert found is not None
    by_name = {one.name: one for one in given_ports}

    assert sorted(tag.network for tags in found.values() for tag in tags) == sorted(one.network for one in networks)
    for name, tags in found.items():
        assert by_name[name].linked
        numbers = [tag.vlan_tag for tag in tags]
        assert len(set(numbers)) == len(numbers)
    groups = [by_name[name].port_group for name in found if by_name[name].port_group]
    assert len(set(groups)) == len(groups)


@given(networks=wishes, given_ports=ports)
def test_what_does_not_fit_is_refused_and_what_fits_is_not(
    networks: tuple[NetworkWish, ...], given_ports: tuple[Port, ...]
) -> None:
    """
    It fits exactly if no number, 0 among them, is asked for more often than there are ports or groups.
    """
    linked = [one for one in given_ports if one.linked]
    slots = len({one.port_group for one in linked if one.port_group}) + sum(not one.port_group for one in linked)
    numbers = [one.vlan_tag for one in networks]
    fits = all(numbers.count(number) <= slots for number in numbers)

    assert (laid(networks, given_ports) is not None) is fits


@given(networks=wishes, given_ports=ports, count=st.integers(0, 5))
def test_networks_that_lie_already_stay(
    networks: tuple[NetworkWish, ...], given_ports: tuple[Port, ...], count: int
) -> None:
    """
    Adding networks moves none that is laid already.
    """
    first = laid(networks[:count], given_ports)
    assume(first is not None)
    assert first is not None
    where = {tag.network: name for name, tags in first.items() for tag in tags}
    try:
        both = lay_out(networks, given_ports, where)
    except WrongState:
        return

    assert where.items() <= {tag.network: name for name, tags in both.items() for tag in tags}.items()


def test_boot_ports_come_first() -> None:
    """
    The first untagged network goes to the port it boots from.
    """
    found = lay_out((NetworkWish("a"), NetworkWish("b")), (port(0), port(1, pxe=True)))

    assert found == {"servers/s/ports/01": (Tag("a"),), "servers/s/ports/00": (Tag("b"),)}


def test_a_tag_that_is_taken_goes_to_the_next_port() -> None:
    """
    Two networks of one tag need two ports; without a second one the refusal names both numbers and the way out.
    """
    wanted = (NetworkWish("a", (), 7), NetworkWish("b", (), 7))
    assert len(lay_out(wanted, (port(0), port(1)))) == 2

    with pytest.raises(WrongState) as caught:
        lay_out(wanted, (port(0),))

    assert caught.value.facts == {"networks": "2", "ports": "1"}
    assert "vlan_tag" in caught.value.remedy


def test_an_address_is_leased_for_the_port_it_will_be_on() -> None:
    """
    The MAC address is that of the port, or of the group's first member, that the network is laid on; none if it does
    not fit.
    """
    ports = tuple(replace(port(index, group="bond0" if index else ""), mac_address=f"m{index}") for index in range(3))
    networks = tuple(NetworkWish(f"projects/demo/networks/{name}") for name in "abc")
    now = datetime(2026, 1, 1, tzinfo=UTC)
    instance = Instance("projects/demo/instances/web", "demo", "flavors/any", "images/i", networks[:2], now, now)

    assert mac_address_on(instance, networks[0].network, ports) == "m0"
    assert mac_address_on(instance, networks[1].network, ports) == "m1"
    assert mac_address_on(instance, networks[2].network, ports) == ""
    assert mac_address_on(replace(instance, networks=networks), networks[0].network, ports) == ""
