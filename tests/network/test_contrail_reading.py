# SPDX-License-Identifier: Apache-2.0
"""What documents of Contrail's say of a switch port."""

from __future__ import annotations

from typing import Any

import pytest

from services.network.backends.contrail_reading import digest_of, judged, setup_of
from services.network.domain.switch_ports import PortConfig, PortSetup

NET = ["default-domain", "demo", "blue"]
PORT = {"uuid": "p1", "fq_name": ["default-global-system-config", "leaf1", "xe-0/0/1"]}


def group(*members: str) -> dict[str, Any]:
    refs = [{"uuid": one, "attr": None} for one in members]
    return {"uuid": "g1", "fq_name": ["c", "fab1", "vpg-internal-0"], "virtual_machine_interface_refs": refs}


def interface(ident: str = "i1", **more: Any) -> dict[str, Any]:
    return {
        "uuid": ident,
        "fq_name": ["default-domain", "demo", ident],
        "virtual_network_refs": [{"uuid": "n1", "to": NET}],
        "routing_instance_refs": [{"uuid": "r1", "to": [*NET, "blue"]}],
        "virtual_port_group_refs": [{"uuid": "g1", "attr": {"native_vlan_tag": "4094"}}],
        "virtual_machine_interface_bindings": {"key_value_pair": [{"key": "tor_port_vlan_id", "value": "4094"}]},
        **more,
    }


def read(*interfaces: dict[str, Any]) -> tuple[PortConfig, str, str]:
    groups = [group(*(one["uuid"] for one in interfaces))]
    return judged(groups, {one["uuid"]: one for one in interfaces}, {"d:p:old": "n0"})


def test_an_untagged_network_and_tagged_ones() -> None:
    """
    Both sides say the same, so nothing is in doubt.
    """
    tagged = interface(
        "i2",
        virtual_network_refs=[{"uuid": "n2", "to": NET}],
        virtual_port_group_refs=[{"uuid": "g1", "attr": {"vlan_tag": 7}}],
        virtual_machine_interface_bindings={},
        virtual_machine_interface_properties={"sub_interface_vlan_tag": 7},
    )

    assert read(interface(), tagged) == (PortConfig("n1", frozenset({(7, "n2")})), "", "")
    assert judged([], {}, {}) == judged([group()], {}, {}) == (PortConfig(), "", "")


def test_two_untagged_networks_are_both_told() -> None:
    """
    The second one has tag 0, which makes the port UNKNOWN.
    """
    other = interface("i2", virtual_network_refs=[{"uuid": "n2", "to": NET}])

    assert read(interface(), other)[0] == PortConfig("n1", frozenset({(0, "n2")}))


@pytest.mark.parametrize(
    ("more", "doubt"),
    [
        ({"virtual_port_group_refs": []}, "only one of interface i1"),
        ({"virtual_port_group_refs": [{"uuid": "g1", "attr": None}]}, "without a VLAN"),
        ({"virtual_port_group_refs": [{"uuid": "g1", "attr": {"native_vlan_tag": "7"}}]}, "has 7 for it"),
        ({"virtual_port_group_refs": [{"uuid": "g1", "attr": {"vlan_tag": 4094}}]}, "says VLAN 4094"),
        ({"virtual_network_refs": []}, "is in 0 networks"),
        ({"routing_instance_refs": [{"uuid": "r", "to": ["d", "p", "old", "old"]}]}, "that of d:p:old still"),
        ({"id_perms": {"enable": False}}, "switched off, and attached still"),
    ],
    ids=["one side", "no vlan", "another vlan", "tagged there", "no network", "moved", "disabled"],
)
def test_what_is_not_certain(more: dict[str, Any], doubt: str) -> None:
    """
    Whatever two sides do not agree on is in doubt, and never quarantine.
    """
    assert doubt in read(interface(**more))[1]


def test_an_interface_that_is_not_shown_is_in_doubt() -> None:
    """
    Somebody is in the port group whom our login may not see.
    """
    assert judged([group("i9")], {}, {}) == (
        PortConfig(), "interface i9 of port group vpg-internal-0 is in no list of Contrail's", "",
    )  # fmt: skip


def test_of_what_was_moved_both_networks_count() -> None:
    """
    Where it was moved from it may still be; a network that is there no more may be anybody's by now.
    """
    config, doubt, breach = read(interface(routing_instance_refs=[{"uuid": "r", "to": ["d", "p", "old", "old"]}]))
    assert (config.networks, bool(doubt), breach) == (frozenset({"n0", "n1"}), True, "")
    gone = interface(routing_instance_refs=[{"uuid": "r", "to": ["d", "p", "gone", "gone"]}])

    assert read(gone)[2] == "d:p:gone is no network any more"


def test_a_vlan_in_doubt_may_be_anybodys() -> None:
    """
    Which of the two the switch has, nobody can tell.
    """
    attr = {"native_vlan_tag": "7"}
    config, doubt, breach = read(interface(virtual_port_group_refs=[{"uuid": "g1", "attr": attr}]))

    assert config.networks == frozenset({"n1"})
    assert breach == doubt == "interface i1 says VLAN 4094, and port group vpg-internal-0 has 7 for it"


def test_the_digest_is_over_what_was_said() -> None:
    """
    The order of references says nothing; another network, or one interface more, is another answer.
    """
    two = interface(security_group_refs=[{"uuid": "a", "to": ["a"], "href": "x"}, {"uuid": "b", "to": ["b"]}])
    turned = interface(security_group_refs=[{"uuid": "b", "to": ["b"]}, {"uuid": "a", "to": ["a"], "href": "y"}])
    first = digest_of(PORT, [group("i1")], [two])

    assert first == digest_of(PORT, [group("i1")], [turned])
    others = [digest_of(PORT, [group("i1")], [interface()]), digest_of(PORT, [group("i1", "i2")], [two])]
    assert len({first, *others, digest_of(PORT, [], [])}) == 4


def test_what_else_is_set_is_shown() -> None:
    """
    Security groups by id, DHCP options as they are written in the settings.
    """
    options = {"dhcp_option": [{"dhcp_option_name": "67", "dhcp_option_value": "boot.img"}]}
    one = interface(security_group_refs=[{"uuid": "s1"}], virtual_machine_interface_dhcp_option_list=options)

    assert setup_of([one, interface("i2")]) == PortSetup(("s1",), ("4:67=boot.img",))
