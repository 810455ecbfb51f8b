# SPDX-License-Identifier: Apache-2.0
"""Ports by a Contrail: what is attached, what is cut, and what is read of it, over the whole service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from bms.network.v1 import attachment_pb2 as at
from bms.network.v1 import network_pb2 as net
from services.kernel.effect import observed
from services.kernel.errors import Corrupt
from services.runtime.contrail import network_uuid, pairs_of
from services.runtime.database import Database
from tests.network.conftest import OTHER, SERVER, link, wish
from tests.network.contrail_rig import BLUE, CLEANING, DEMO, GREEN, PROVISIONING, Cloud, furnished, ids_of, ok
from tests.support.wire import service

BINDINGS = "virtual_machine_interface_bindings"


@pytest.fixture
def cloud(database: Database, tmp_path: Path) -> Iterator[Cloud]:
    made = Cloud(database, tmp_path, furnished())
    for name in (PROVISIONING, CLEANING):
        made.network(name, name.rsplit("/", 1)[1])
    for name in (BLUE, GREEN):
        made.network(name)
    made.subnet(BLUE, "10.2.0.0")
    ok(made.register(link(0), link(1)))
    ok(made.read())
    yield made
    made.close()


def test_a_port_that_contrail_knows_nothing_of_is_in_quarantine(cloud: Cloud) -> None:
    """
    A switch port in no port group is quarantine, with a digest over what was answered.
    """
    readings = ok(cloud.read()).readings

    assert cloud.classes() == ["quarantine", "quarantine"]
    assert all(len(reading.reading_digest) == 32 for reading in readings)


def test_an_interface_is_made_and_taken_away(cloud: Cloud) -> None:
    """
    It is bound at the switch port, untagged, with the server's MAC address; quarantine deletes it, and its port group.
    """
    ok(cloud.attach(wish(0, "provisioning", PROVISIONING)))

    assert cloud.classes() == ["provisioning", "quarantine"]
    (made,) = cloud.at(0)
    keys = pairs_of(made, BINDINGS)
    assert (keys["vnic_type"], keys["host_id"], keys["tor_port_vlan_id"]) == ("baremetal", SERVER, "4094")
    assert made["virtual_machine_interface_mac_addresses"] == {"mac_address": [link(0).mac_address]}
    assert made["virtual_port_group_refs"][0]["to"][:2] == ["default-global-system-config", "fab1"]
    (machine,) = cloud.fake.every("virtual-machine")
    assert (machine["fq_name"], machine["server_type"]) == ([SERVER], "baremetal-server")
    assert ids_of(machine["virtual_machine_interface_back_refs"]) == [made["uuid"]]
    ok(cloud.attach(wish(0, "quarantine")))
    assert cloud.classes() == ["quarantine", "quarantine"]
    assert (cloud.interfaces(), cloud.groups()) == ([], [])


def test_the_flip_keeps_the_address(cloud: Cloud) -> None:
    """
    ipam's instance-ip gets a reference to the interface while that is there; it is neither made nor deleted here.
    """
    lease = cloud.lease(BLUE)
    address = cloud.fake.read("instance-ip", lease)["instance_ip_address"]
    for _ in range(2):
        ok(cloud.attach(wish(0, "provisioning", PROVISIONING)))
        assert "virtual_machine_interface_refs" not in cloud.fake.read("instance-ip", lease)
        ok(cloud.attach(wish(0, "quarantine")))
        assert cloud.classes()[0] == "quarantine"
        ok(cloud.attach(wish(0, "tenant", BLUE), project=DEMO))
        assert cloud.classes()[0] == "tenant"
        (there,) = cloud.at(0)
        found = cloud.fake.read("instance-ip", lease)
        assert ids_of(found["virtual_machine_interface_refs"]) == [there["uuid"]]
        assert found["instance_ip_address"] == address
        ok(cloud.attach(wish(0, "quarantine")))

    assert "virtual_machine_interface_refs" not in cloud.fake.read("instance-ip", lease)
    assert not [path for _, path in cloud.fake.told if "instance-ip" in path]
    assert cloud.classes()[0] == "quarantine"


def test_an_address_of_another_port_stays_where_it_is(cloud: Cloud) -> None:
    """
    Only those of the server's own MAC addresses point to its interface.
    """
    other = cloud.lease(BLUE, index=1)
    ok(cloud.attach(wish(0, "tenant", BLUE), project=DEMO))

    assert "virtual_machine_interface_refs" not in cloud.fake.read("instance-ip", other)


def test_whatever_else_is_at_the_switch_port_is_cut(cloud: Cloud) -> None:
    """
    What somebody else attached there is unbound, not deleted, and whatever else its bindings say stays.
    """
    foreign = cloud.foreign(GREEN, 0, tor_port_vlan_id="7")
    assert cloud.classes()[0] == "tenant"
    ok(cloud.attach(wish(0, "quarantine")))
    ok(cloud.attach(wish(0, "provisioning", PROVISIONING)))

    assert cloud.classes()[0] == "provisioning"
    assert pairs_of(cloud.fake.read("virtual-machine-interface", foreign), BINDINGS)["host_id"] == "another"
    assert len(cloud.at(0)) == 1


def test_a_port_group_of_somebodys_is_left_where_unbinding_does_not_help(cloud: Cloud) -> None:
    """
    An interface in it needs no place in its bindings: our switch port is taken out of the group.
    """
    group = cloud.user_group("theirs", 0)
    foreign = cloud.foreign(GREEN, vpg="theirs", tor_port_vlan_id="7")
    assert cloud.classes()[0] == "tenant"
    ok(cloud.attach(wish(0, "quarantine")))

    assert cloud.classes()[0] == "quarantine"
    assert cloud.fake.read("virtual-machine-interface", foreign)
    assert "physical_interface_refs" not in cloud.fake.read("virtual-port-group", group)


def test_another_servers_ports_in_one_group_are_not_cut(cloud: Cloud) -> None:
    """
    Where a port group reaches further than the server, only the server's own switch port leaves it.
    """
    group = cloud.user_group("both", 0, 5)
    foreign = cloud.foreign(GREEN, 0, 5, vpg="both", tor_port_vlan_id="7")
    ok(cloud.attach(wish(0, "provisioning", PROVISIONING)))

    assert cloud.classes()[0] == "provisioning"
    assert ids_of(cloud.at(5)) == [foreign]
    assert len(cloud.fake.read("virtual-port-group", group)["physical_interface_refs"]) == 1


def test_an_empty_port_group_of_somebodys_is_used_and_stays(cloud: Cloud) -> None:
    """
    A port group that was made beforehand is named to Contrail, which refuses a second one for the same switch port.
    """
    group = cloud.user_group("theirs", 0)
    assert cloud.classes()[0] == "quarantine"
    ok(cloud.attach(wish(0, "provisioning", PROVISIONING)))
    assert cloud.classes()[0] == "provisioning"
    assert ids_of(cloud.groups()) == [group]
    ok(cloud.attach(wish(0, "quarantine")))

    assert cloud.classes()[0] == "quarantine"
    assert ids_of(cloud.groups()) == [group]


def test_a_move_by_put_is_no_move(cloud: Cloud) -> None:
    """
    Contrail answers 200 to another network and moves nothing: that is UNKNOWN, and the next wish makes it anew.
    """
    ok(cloud.attach(wish(0, "tenant", BLUE), project=DEMO))
    (there,) = cloud.at(0)
    green = cloud.fake.read("virtual-network", network_uuid(GREEN))
    body = {"virtual-machine-interface": {"virtual_network_refs": [{"to": green["fq_name"]}]}}
    cloud.fake.do("PUT", f"/virtual-machine-interface/{there['uuid']}", body)

    assert cloud.classes()[0] == "unknown"
    assert "was moved, and its routing instance is that of default-domain:demo:blue still" in cloud.details()
    ok(cloud.attach(wish(0, "tenant", BLUE), project=DEMO))
    assert cloud.classes()[0] == "tenant"
    assert cloud.tags() == [(BLUE, 0)]


def test_a_vlan_that_was_changed_by_put_is_unknown(cloud: Cloud) -> None:
    """
    The interface says the new one, its port group the old: nobody knows which the switch has.
    """
    ok(cloud.attach(wish(0, "tenant", (GREEN, 55)), project=DEMO))
    (there,) = cloud.at(0)
    body = {"virtual-machine-interface": {"virtual_machine_interface_properties": {"sub_interface_vlan_tag": 56}}}
    cloud.fake.do("PUT", f"/virtual-machine-interface/{there['uuid']}", body)

    assert cloud.classes()[0] == "unknown"
    assert "says VLAN 56, and port group vpg-internal-0 has 55 for it" in cloud.details()
    assert cloud.tags() == [(GREEN, 55), (GREEN, 56)]
    ok(cloud.attach(wish(0, "tenant", (GREEN, 55)), project=DEMO))
    assert cloud.tags() == [(GREEN, 55)]
    assert cloud.attachments()[0].settled


def test_two_references_to_networks_are_unknown(cloud: Cloud) -> None:
    """
    An added reference is taken too: the port counts as in both.
    """
    ok(cloud.attach(wish(0, "tenant", BLUE), project=DEMO))
    cloud.api.add_ref("virtual-machine-interface", cloud.at(0)[0]["uuid"], "virtual-network", network_uuid(GREEN))

    assert cloud.classes()[0] == "unknown"
    assert {name for name, _ in cloud.tags()} == {BLUE, GREEN}


def test_a_switch_port_that_is_not_in_contrail_is_unknown(cloud: Cloud) -> None:
    """
    Nobody looks after it there: that is no quarantine, and an attachment says what is missing.
    """
    port = cloud.fake.named("physical-interface", "default-global-system-config", "leaf1", link(0).switch_port)
    assert port is not None
    cloud.fake.do("DELETE", f"/physical-interface/{port['uuid']}")

    assert cloud.classes() == ["unknown", "quarantine"]
    assert f"Contrail has no physical interface {link(0).switch_port} on router leaf1" in cloud.details()
    reply = cloud.attach(wish(0, "provisioning", PROVISIONING))
    assert reply.code is grpc.StatusCode.UNAVAILABLE
    assert "no physical interface" in reply.status.message
    ok(cloud.attach(wish(0, "quarantine")))


def test_a_switch_port_that_was_deleted_and_made_again_is_attached_again(cloud: Cloud) -> None:
    """
    Contrail lets one go from under its port group, and the interface stays where nobody is: it is made anew.
    """
    lease = cloud.lease(BLUE)
    ok(cloud.attach(wish(0, "tenant", BLUE), project=DEMO))
    plug = link(0)
    names = ["default-global-system-config", plug.switch_name, plug.switch_port]
    port = cloud.fake.named("physical-interface", *names)
    assert port is not None
    cloud.fake.do("DELETE", f"/physical-interface/{port['uuid']}")
    cloud.fake.add("physical-interface", names)
    assert cloud.classes()[0] == "quarantine"
    ok(cloud.attach(wish(0, "tenant", BLUE), project=DEMO))

    assert cloud.classes()[0] == "tenant"
    assert len(cloud.interfaces()) == len(cloud.groups()) == 1
    assert ids_of(cloud.fake.read("instance-ip", lease)["virtual_machine_interface_refs"]) == ids_of(cloud.at(0))


def test_an_interface_without_a_switch_port_is_removed(cloud: Cloud) -> None:
    """
    It is in no look any more, and is found by its server: quarantine takes it away, and leaves the other port's alone.
    """
    lease = cloud.lease(BLUE)
    ok(cloud.attach(wish(0, "tenant", BLUE), wish(1, "tenant", GREEN), project=DEMO))
    (group,) = (one for one in cloud.groups() if one["physical_interface_refs"][0]["to"][1] == "leaf1")
    switch_port = group["physical_interface_refs"][0]["uuid"]
    cloud.api.remove_ref("virtual-port-group", group["uuid"], "physical-interface", switch_port)
    assert cloud.classes() == ["quarantine", "tenant"]
    ok(cloud.attach(wish(0, "quarantine")))

    assert ids_of(cloud.interfaces()) == ids_of(cloud.at(1))
    assert "virtual_machine_interface_refs" not in cloud.fake.read("instance-ip", lease)
    assert cloud.classes() == ["quarantine", "tenant"]


def test_a_channel_of_a_port_is_named_as_contrail_stores_it(cloud: Cloud) -> None:
    """
    Names have no colons there.
    """
    cloud.fake.add("physical-interface", ["default-global-system-config", "leaf1", "et-0/0/48_1"])
    ok(cloud.register(link(0, OTHER, plug="et-0/0/48:1"), server=OTHER))
    ok(cloud.attach(wish(0, "cleaning", CLEANING, server=OTHER), server=OTHER))

    assert cloud.classes(OTHER) == ["cleaning"]


def test_an_interface_that_only_its_port_group_knows_of_is_unknown(cloud: Cloud) -> None:
    """
    The reference of one side went and the other's stayed: nobody knows which of them the switch follows.
    """
    ok(cloud.attach(wish(0, "tenant", BLUE), project=DEMO))
    (there,) = cloud.at(0)
    group = there["virtual_port_group_refs"][0]["uuid"]
    cloud.api.remove_ref("virtual-machine-interface", there["uuid"], "virtual-port-group", group)

    assert cloud.classes()[0] == "unknown"
    assert "only one of interface" in cloud.details()
    ok(cloud.attach(wish(0, "quarantine")))
    assert cloud.classes()[0] == "quarantine"


def test_a_network_that_is_none_of_ours_is_unknown(cloud: Cloud) -> None:
    """
    It is named by what Contrail calls it.
    """
    other = cloud.fake.add("virtual-network", ["default-domain", "demo", "other"])
    names = ["default-domain", "demo", "other"]
    ok(cloud.attach(wish(0, "tenant", BLUE), project=DEMO))
    ident = cloud.at(0)[0]["uuid"]
    thing = cloud.fake.objects.things[ident]
    routing = cloud.fake.named("routing-instance", *names, "other")
    assert routing is not None
    thing.body["virtual_network_refs"] = [{"uuid": other, "attr": None}]
    thing.body["routing_instance_refs"][0]["uuid"] = routing["uuid"]

    assert cloud.classes()[0] == "unknown"
    assert f"{other} belongs to no network" in cloud.details()


def test_a_contrail_that_is_away_is_no_quarantine(cloud: Cloud) -> None:
    """
    Neither a wish nor a reading goes through, and the same wish does later.
    """
    for silence in ("away", "initializing"):
        setattr(cloud.fake, silence, True)
        assert cloud.read().code is grpc.StatusCode.UNAVAILABLE
        assert cloud.attach(wish(0, "provisioning", PROVISIONING)).code is grpc.StatusCode.UNAVAILABLE
        setattr(cloud.fake, silence, False)
    ok(cloud.attach(wish(0, "provisioning", PROVISIONING)))
    assert cloud.classes()[0] == "provisioning"


def test_what_can_be_cut_is_cut_even_where_an_attachment_fails(cloud: Cloud) -> None:
    """
    One port's refusal keeps no other from quarantine, and a 500 is told and not tried again.
    """
    ok(cloud.attach(wish(1, "provisioning", PROVISIONING)))
    cloud.fake.told.clear()
    cloud.fake.refuses["POST", "virtual-machine-interfaces"] = (500, "KeyError: 'switch_info'")
    reply = cloud.attach(wish(0, "provisioning", PROVISIONING), wish(1, "quarantine"))

    assert reply.code is grpc.StatusCode.UNAVAILABLE
    assert "KeyError" in reply.status.message
    assert cloud.fake.told.count(("POST", "/virtual-machine-interfaces")) == 1
    assert cloud.classes() == ["quarantine", "quarantine"]


def test_an_interface_that_somebody_refers_to_is_deleted_all_the_same(cloud: Cloud) -> None:
    """
    Contrail deletes none that an address points to: ours loses the reference first, even one that comes in between.
    """
    ok(cloud.attach(wish(0, "tenant", BLUE), project=DEMO))
    (there,) = cloud.at(0)

    def late() -> None:
        lease = cloud.lease(BLUE)
        cloud.api.add_ref("instance-ip", lease, "virtual-machine-interface", there["uuid"])

    cloud.fake.before["DELETE", "virtual-machine-interface"] = late
    ok(cloud.attach(wish(0, "quarantine")))
    assert cloud.interfaces() == []
    assert cloud.fake.every("instance-ip")
    assert cloud.classes()[0] == "quarantine"


def test_what_else_a_port_has_is_set_and_shown(cloud: Cloud) -> None:
    """
    Security groups and DHCP options of the settings, on private networks; a group that is not there is told.
    """
    ok(cloud.attach(wish(0, "provisioning", PROVISIONING)))
    first = ok(cloud.read()).readings[0]
    assert (list(first.security_groups), list(first.dhcp_options)) == ([cloud.group], ["4:67=boot.img"])
    assert cloud.attachments()[0].observed == first

    ok(cloud.attach(wish(0, "quarantine")))
    cloud.fake.do("DELETE", f"/security-group/{cloud.group}")
    reply = cloud.attach(wish(0, "provisioning", PROVISIONING))
    assert f"no security group {cloud.group}" in reply.status.message
    ok(cloud.attach(wish(0, "quarantine")))
    assert cloud.classes()[0] == "quarantine"
    ok(cloud.attach(wish(0, "tenant", BLUE), project=DEMO))
    first = ok(cloud.read()).readings[0]
    assert (list(first.security_groups), list(first.dhcp_options)) == ([], [])


def test_nothing_is_attached_to_a_private_network_that_was_opened(cloud: Cloud) -> None:
    """
    Somebody shared it, or had a route lead into it, after it was made: then tenants would be beside a server's clean.
    """
    thing = cloud.fake.objects.things[network_uuid(PROVISIONING)]
    opened = ({"is_shared": True}, {"route_target_list": {"route_target": ["target:64512:7"]}})
    for more in opened:
        thing.body |= more
        reply = cloud.attach(wish(0, "provisioning", PROVISIONING))
        assert reply.code is grpc.StatusCode.UNAVAILABLE
        assert "is the site's alone, and" in reply.status.message
        assert cloud.classes()[0] == "quarantine"
        for name in more:
            del thing.body[name]
    ok(cloud.attach(wish(0, "provisioning", PROVISIONING)))
    assert cloud.classes()[0] == "provisioning"


def test_a_network_that_is_gone_is_told_and_keeps_nothing_attached(cloud: Cloud) -> None:
    """
    What was there before is cut all the same.
    """
    ok(cloud.attach(wish(0, "tenant", BLUE), project=DEMO))
    cloud.fake.do("DELETE", f"/virtual-network/{network_uuid(GREEN)}")
    reply = cloud.attach(wish(0, "tenant", GREEN), project=DEMO)

    assert "no network" in reply.status.message
    assert cloud.classes()[0] == "quarantine"


def test_a_change_by_hand_is_found_by_the_next_look(cloud: Cloud) -> None:
    """
    Lifecycle looks at all servers every so often: what somebody changed in Contrail since is recorded, and told.
    """
    ok(cloud.attach(wish(0, "tenant", BLUE), project=DEMO))
    ok(cloud.read())
    before = len(cloud.events())
    cloud.fake.do("DELETE", f"/virtual-machine-interface/{cloud.at(0)[0]['uuid']}")
    foreign = cloud.foreign(GREEN, 1, tor_port_vlan_id="7")
    requests = [at.ReadServerPortsRequest(server=f"servers/{SERVER}", fence=1)]
    cloud.clock.advance(1)
    answer = ok(
        cloud.wire.call("BatchReadServerPorts", at.BatchReadServerPortsRequest(requests=requests), caller=service())
    )

    seen = [one.port_class for one in answer.servers[0].readings]
    assert seen == [net.PORT_CLASS_QUARANTINE, net.PORT_CLASS_TENANT]
    assert [kind for kind, _ in cloud.events()][before:] == ["port.observed"]
    assert not any(one.settled for one in cloud.attachments())
    assert ids_of(cloud.at(1)) == [foreign]


def test_an_interface_that_cannot_be_deleted_is_cut_all_the_same(cloud: Cloud) -> None:
    """
    Somebody refers to it for good, or Contrail refuses for a reason of its own: its switch port leaves the port group.
    """
    ok(cloud.attach(wish(0, "tenant", BLUE), project=DEMO))
    (there,) = cloud.at(0)
    names = ["default-global-system-config", "leaf1", "xe-0/0/29"]
    refs = [{"to": there["fq_name"]}]
    holder = cloud.fake.add("logical-interface", [*names, "unit-7"], virtual_machine_interface_refs=refs)
    ok(cloud.attach(wish(0, "quarantine")))
    assert cloud.classes()[0] == "quarantine"
    assert ids_of(cloud.interfaces()) == [there["uuid"]]

    cloud.fake.do("DELETE", f"/logical-interface/{holder}")
    ok(cloud.attach(wish(0, "quarantine")))
    assert cloud.interfaces() == []


def test_an_interface_of_others_that_cannot_be_unbound_is_cut_all_the_same(cloud: Cloud) -> None:
    """
    The refusal of a change keeps the switch port of nobody.
    """
    foreign = cloud.foreign(GREEN, 0, tor_port_vlan_id="7")
    cloud.fake.refuses["PUT", "virtual-machine-interface"] = (500, "KeyError: 'x'")
    ok(cloud.attach(wish(0, "quarantine")))

    assert cloud.classes()[0] == "quarantine"
    assert cloud.fake.read("virtual-machine-interface", foreign)


def test_a_hundred_servers_are_read_by_few_requests(cloud: Cloud) -> None:
    """
    Switch ports by name, forty at once; groups, interfaces and private networks by uuid, in one request each however
    many there are.
    """
    servers = [f"00000000-0000-4000-8000-0000000001{number:02x}" for number in range(100)]
    for number, server in enumerate(servers):
        name = f"xe-1/0/{number}"
        cloud.fake.add("physical-interface", ["default-global-system-config", "leaf1", name])
        ok(cloud.register(link(0, server, plug=name), server=server))
    for server in servers[:45]:
        ok(cloud.attach(wish(0, "cleaning", CLEANING, server=server), server=server))
    cloud.fake.asked.clear()
    requests = [at.ReadServerPortsRequest(server=f"servers/{server}") for server in servers]
    request = at.BatchReadServerPortsRequest(requests=requests)
    answer = ok(cloud.wire.call("BatchReadServerPorts", request, caller=service()))

    assert [one.readings[0].port_class for one in answer.servers] == [net.PORT_CLASS_CLEANING] * 45 + [
        net.PORT_CLASS_QUARANTINE
    ] * 55
    assert len(cloud.fake.asked) == 6
    assert max(len(path) for _, path in cloud.fake.asked) < 4000


def test_many_servers_are_read_by_three_requests(cloud: Cloud) -> None:
    """
    Switch ports by name, their groups, the interfaces in those; however many there are. A fourth asks whether the
    private networks that were found there are the site's alone.
    """
    ok(cloud.attach(wish(0, "tenant", BLUE), project=DEMO))
    cloud.fake.asked.clear()
    assert cloud.classes() == ["tenant", "quarantine"]
    assert len(cloud.fake.asked) == 3
    ok(cloud.attach(wish(0, "quarantine")))
    ok(cloud.read())
    ok(cloud.register(link(0, OTHER), server=OTHER))
    ok(cloud.attach(wish(0, "cleaning", CLEANING, server=OTHER), server=OTHER))
    ok(cloud.attach(wish(0, "provisioning", PROVISIONING)))
    cloud.fake.asked.clear()

    assert cloud.classes() == ["provisioning", "quarantine"]
    assert len(cloud.fake.asked) == 4
    assert cloud.classes(OTHER) == ["cleaning"]


@pytest.mark.parametrize(
    "lost",
    [("POST", "virtual-machine-interfaces"), ("DELETE", "virtual-machine-interface"), ("POST", "ref-update")],
    ids=["made", "deleted", "referred"],
)
def test_an_answer_that_is_lost_leaves_nothing_twice(cloud: Cloud, lost: tuple[str, str]) -> None:
    """
    Whichever answer is lost, the same calls again end as if none had been.
    """
    cloud.lease(BLUE)
    for target in ("tenant", "quarantine", "tenant", "quarantine"):
        project = DEMO if target == "tenant" else ""
        asked = wish(0, target, *([BLUE] if target == "tenant" else []))
        cloud.fake.loses = lost
        cloud.attach(asked, project=project)
        cloud.fake.loses = None
        ok(cloud.attach(asked, project=project))
        assert cloud.classes()[0] == target
        assert len(cloud.interfaces()) == len(cloud.groups()) == (target == "tenant")


class _Killed(Corrupt):
    """The process ends here: nothing of ours catches it, and nobody prints where it came from."""


def test_a_death_at_any_request_is_made_good_by_the_same_calls(cloud: Cloud) -> None:
    """
    Killed before or after any request, the one who comes next ends with what was asked for, and with nothing else.
    """
    lease = cloud.lease(BLUE)
    points = 0
    for target in ("tenant", "quarantine"):
        asked = wish(0, "tenant", BLUE, (GREEN, 5)) if target == "tenant" else wish(0, "quarantine")
        at = 0
        while True:
            at += 1
            met = [0]

            def die(label: str, when: str, met: list[int] = met, at: int = at) -> None:
                met[0] += label.startswith("contrail.")
                if label.startswith("contrail.") and met[0] == at:
                    raise _Killed("killed")

            project = DEMO if target == "tenant" else ""
            with observed(die):
                reply = cloud.attach(asked, project=project)
            if reply.code is grpc.StatusCode.OK:
                break
            points += 1
            ok(cloud.attach(asked, project=project))
            assert cloud.classes()[0] == target
            assert len(cloud.interfaces()) == (2 if target == "tenant" else 0)
            refs = cloud.fake.read("instance-ip", lease).get("virtual_machine_interface_refs", ())
            assert len(refs) == (target == "tenant")
            # Back to where it began, for the next point.
            other = wish(0, "quarantine") if target == "tenant" else wish(0, "tenant", BLUE, (GREEN, 5))
            ok(cloud.attach(other, project="" if target == "tenant" else DEMO))
            assert cloud.classes()[0] == ("quarantine" if target == "tenant" else "tenant")
        ok(cloud.attach(asked, project=project))
        assert cloud.classes()[0] == target
    assert points > 30
