# SPDX-License-Identifier: Apache-2.0
"""Servers in use are taken over as they are, or left as they were."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms.lifecycle.v1 import instance_pb2, server_status_pb2
from services.lifecycle.domain.adoption import disagreement
from services.lifecycle.domain.instance import InstanceState, NetworkWish
from services.lifecycle.domain.server import Port, PortClass, Tag
from services.lifecycle.domain.states import State
from tests.lifecycle.rig import BLUE, GREEN, WEB, Rig
from tests.support.judging import judged, stored_events
from tests.support.wire import admin, auditor, fields, member, reason, remedy

BROWN = (PortClass.TENANT, (Tag(BLUE),))


def in_use(rig: Rig, *found: tuple[PortClass, tuple[Tag, ...]], on: bool = True) -> str:
    """A server that runs somebody's system before anybody provided it; its ports are as *found*, blue if none is."""
    uuid = rig.register()
    names = [port.name for port in rig.server(uuid).ports]
    quiet = (PortClass.QUARANTINE, ())
    rig.networks.found = dict(zip(names, (*(found or (BROWN,)), quiet, quiet), strict=False))
    machine = rig.hardware.machine(uuid)
    machine.on = on
    machine.disks["disk-1"] = "somebody's system"
    return uuid


def request(uuid: str, *networks: tuple[str, str, int], **more: Any) -> instance_pb2.AdoptServerRequest:
    """A request to adopt a server, on blue with its address if no network is named."""
    return instance_pb2.AdoptServerRequest(
        name=f"servers/{uuid}",
        parent="projects/demo",
        instance_id="web",
        instance=instance_pb2.Instance(
            flavor="flavors/any",
            image="images/debian",
            networks=[
                instance_pb2.InstanceNetwork(
                    network=network, fixed_addresses=[address] if address else [], vlan_tag=tag
                )
                for network, address, tag in networks or ((BLUE, "10.0.0.77", 0),)
            ],
        ),
        **more,
    )


def adopt(rig: Rig, uuid: str, *networks: tuple[str, str, int]) -> str:
    """Adopts and waits for the end."""
    name = rig.ok("AdoptServer", request(uuid, *networks), admin())
    rig.settle()
    return name


@pytest.mark.parametrize("on", [True, False])
def test_a_server_in_use_is_taken_over_without_a_touch(rig: Rig, *, on: bool) -> None:
    """
    No power change, no job, no wish to the fabric; the instance holds it with the address it has, by its power.
    """
    uuid = in_use(rig, on=on)

    done, _ = rig.operation(adopt(rig, uuid))

    made = instance_pb2.Instance()
    assert done.response.Unpack(made)
    assert (made.login_address, made.interfaces[0].connected) == ("10.0.0.77", True)
    assert made.interfaces[0].mac_address == "0c:c4:7a:00:00:00"
    instance = rig.instance()
    assert instance is not None
    assert instance.state is (InstanceState.ACTIVE if on else InstanceState.STOPPED)
    assert (instance.operation, instance.server) == ("", uuid)
    assert rig.server(uuid).state is State.ACTIVE
    assert (rig.hardware.history, rig.networks.history) == ([], [])
    assert rig.hardware.machine(uuid).disks["disk-1"] == "somebody's system"
    assert rig.inventory.pool[uuid].held_by == WEB


def test_what_was_before_an_adoption_is_unknown(rig: Rig) -> None:
    """
    While it is being taken over nobody knows what came before; from its adoption on the log proves what it says.
    """
    adopt(rig, uuid := in_use(rig))

    intervals = judged("lifecycle", stored_events(rig.database, rig.log))[f"servers/{uuid}"].intervals

    assert [interval.verdict for interval in intervals] == ["PASS", "UNKNOWN", "PASS"]
    assert "in use" in intervals[1].reason


def test_its_evidence_begins_with_what_was_read(rig: Rig) -> None:
    """
    One event has ports and power with their digests and the instance, the next its first attachment, as adopted.
    """
    uuid = in_use(rig)
    adopt(rig, uuid)

    by_type = {event.header.type: event.body for event in rig.events(f"servers/{uuid}")}
    types = rig.types(uuid)
    assert types.index("server.adopt_requested") < types.index("server.adopted") < types.index("port.adopted")
    adopted, attached = by_type["server.adopted"], by_type["port.adopted"]
    assert (adopted.instance, adopted.facts["instance"], adopted.evidence.power.power) == (WEB, WEB, "on")
    assert len(adopted.evidence.power.reading_digest) == 32
    for body in (adopted, attached):
        assert [(port.port_class, list(port.networks)) for port in body.evidence.ports] == [
            ("tenant", [BLUE]),
            ("quarantine", []),
        ]
        assert all(len(port.reading_digest) == 32 for port in body.evidence.ports)
    assert not [type_ for type_ in types if type_.startswith(("port.attach", "port.detach", "power.requested"))]


def test_given_back_it_is_inspected_and_cleaned_like_any_other(rig: Rig) -> None:
    """
    Its deletion powers off, detaches, cools the address down, inspects, since nobody knows its disks, and erases all.
    """
    uuid = in_use(rig)
    adopt(rig, uuid)
    before = len(rig.types(uuid))

    name = rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB))
    rig.settle()

    done, metadata = rig.operation(name)
    assert (done.done, done.HasField("error"), metadata.verb) == (True, False, "delete")
    assert rig.server(uuid).state is State.AVAILABLE
    assert set(rig.hardware.machine(uuid).disks.values()) == {""}
    assert {state for _, _, state in rig.addresses.leases.values()} == {"cooling"}
    assert rig.addresses.unproven == []
    types = rig.types(uuid)[before:]
    order = ["power.observed", "port.detach_observed", "address.cooling", "instance.ended", "disks.inspected"]
    assert [types.index(one) for one in order] == sorted(types.index(one) for one in order)
    assert types.index("disks.inspected") < types.index("clean.passed")


def test_a_tenant_uses_it_like_any_other(rig: Rig) -> None:
    """
    Stopped and started, an adopted instance comes back to its network with its address.
    """
    uuid = in_use(rig)
    adopt(rig, uuid)
    rig.ok("StopInstance", instance_pb2.StopInstanceRequest(name=WEB))
    rig.settle()
    assert rig.server(uuid).isolated
    rig.ok("StartInstance", instance_pb2.StartInstanceRequest(name=WEB))
    rig.settle()

    instance = rig.instance()
    assert instance is not None
    assert (instance.state, instance.login_address) == (InstanceState.ACTIVE, "10.0.0.77")
    assert rig.networks.ports[rig.server(uuid).ports[0].name].networks == (Tag(BLUE),)


@pytest.mark.parametrize(
    ("found", "named", "said"),
    [
        ((BROWN,), ((GREEN, "10.0.0.7", 0),), f"reads on {BLUE}, which was not named"),
        ((BROWN,), ((BLUE, "10.0.0.7", 0), (GREEN, "10.0.0.8", 0)), f"no port reads on {GREEN}"),
        ((BROWN,), ((BLUE, "10.0.0.7", 100),), f"reads on {BLUE}, which was not named"),
        ((BROWN, BROWN), ((BLUE, "10.0.0.7", 0),), "both read on"),
        (((PortClass.CLEANING, ()),), ((BLUE, "10.0.0.7", 0),), "reads cleaning"),
        (((PortClass.QUARANTINE, ()),), ((BLUE, "10.0.0.7", 0),), f"no port reads on {BLUE}"),
        (((PortClass.UNKNOWN, ()),), ((BLUE, "10.0.0.7", 0),), "reads unknown"),
    ],
)
def test_what_reads_otherwise_than_named_is_left_as_it_was(rig: Rig, found: Any, named: Any, said: str) -> None:
    """
    The operation fails with what was read; the server is enrolled, untouched, forgotten by network and held by nobody.
    """
    uuid = in_use(rig, *found)

    done, _ = rig.operation(adopt(rig, uuid, *named))

    assert done.error.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
    assert said in done.error.message
    assert_left(rig, uuid)


def assert_left(rig: Rig, uuid: str) -> None:
    """Nothing shows that the server was nearly adopted, but its log."""
    server = rig.server(uuid)
    assert (server.state, server.intent, server.instance, server.leases) == (State.ENROLLED, None, "", ())
    assert {port.observed for port in server.ports} == {PortClass.UNKNOWN}
    assert rig.instance() is None
    assert (rig.hardware.history, rig.networks.history, rig.networks.ports) == ([], [], {})
    assert (rig.inventory.pool[uuid].held_by, rig.inventory.reserved) == ("", {})
    assert {state for _, _, state in rig.addresses.leases.values()} <= {"cooling"}
    assert "server.adopted" not in rig.types(uuid)
    assert rig.hardware.machine(uuid).on


def test_an_address_of_somebody_else_ends_it_and_withdraws_the_others(rig: Rig) -> None:
    """
    The refusal is ipam's, and what was leased already rests, because of the adoption that failed.
    """
    rig.addresses.lease("demo", "projects/demo/instances/other", GREEN, "10.0.0.9", "", 1, "")
    uuid = in_use(rig, BROWN, (PortClass.TENANT, (Tag(GREEN),)))

    done, _ = rig.operation(adopt(rig, uuid, (BLUE, "10.0.0.8", 0), (GREEN, "10.0.0.9", 0)))

    assert done.error.code == grpc.StatusCode.ALREADY_EXISTS.value[0]
    assert rig.addresses.unproven == [("10.0.0.8", f"servers/{uuid}")]
    assert rig.types(uuid)[-3:] == ["address.withdrawn", "adoption.undone", "server.state_changed"]
    assert rig.server(uuid).state is State.ENROLLED
    assert rig.instance() is None
    assert {owner for _, owner, state in rig.addresses.leases.values() if state == "leased"} == {
        "projects/demo/instances/other"
    }


@pytest.mark.parametrize("what", ["login", "silent", "unreadable", "deleting"])
def test_what_cannot_be_read_is_left_as_it_was(rig: Rig, what: str) -> None:
    """
    A BMC that refuses or stays silent, a switch that does not answer, a server that is being deleted: left in time.
    """
    uuid = in_use(rig)
    rig.hardware.machine(uuid).login_refused = what == "login"
    rig.hardware.machine(uuid).silent = what == "silent"
    rig.networks.unreadable = {port.name for port in rig.server(uuid).ports} if what == "unreadable" else set()
    if what == "deleting":
        rig.inventory.servers[uuid] = replace(rig.inventory.servers[uuid], deleting=True)

    name = adopt(rig, uuid)
    rig.pass_time(1500, 10)
    rig.settle()

    assert rig.operation(name)[0].HasField("error")
    assert_left(rig, uuid)


def test_an_adoption_that_failed_may_be_tried_again(rig: Rig) -> None:
    """
    With the right networks named, under the same name of the instance.
    """
    uuid = in_use(rig)
    adopt(rig, uuid, (GREEN, "10.0.0.7", 0))
    adopt(rig, uuid)

    assert rig.server(uuid).state is State.ACTIVE


def test_deleted_while_it_is_being_adopted_it_is_left_as_it_was(rig: Rig) -> None:
    """
    A deletion that comes before the end touches nothing either.
    """
    uuid = in_use(rig)
    name = rig.ok("AdoptServer", request(uuid), admin())
    rig.networks.silent = True
    rig.pass_time(5, 0.5)
    rig.networks.silent = False
    deletion = rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB))
    rig.settle()

    assert rig.operation(name)[0].HasField("error")
    done, _ = rig.operation(deletion)
    assert (done.done, done.HasField("error")) == (True, False)
    assert_left(rig, uuid)


def test_a_plan_is_shown_and_nothing_written(rig: Rig) -> None:
    """
    With validate_only the plan erases nothing and touches nothing.
    """
    uuid = in_use(rig)
    events = rig.types(uuid)

    operation = rig.wire.ok("AdoptServer", request(uuid, validate_only=True), caller=admin())

    from bms.lifecycle.v1 import operation_pb2

    metadata = operation_pb2.OperationMetadata()
    operation.metadata.Unpack(metadata)
    assert metadata.verb == "adopt"
    assert not any(step.erases for step in metadata.plan)
    assert rig.types(uuid) == events
    assert rig.instance() is None


def test_only_an_enrolled_managed_server_at_rest_is_adopted(rig: Rig) -> None:
    """
    Every refusal has its status and a remedy: provided, unmanaged, in maintenance, a name that is taken.
    """
    provided = rig.available(2)
    for refused in (request(provided), request(provided, validate_only=True)):
        reply = rig.wire.call("AdoptServer", refused, caller=admin())
        assert (reply.code, reason(reply.status)) == (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")
    uuid = in_use(rig)
    rig.ok("CreateInstance", instance_pb2.CreateInstanceRequest(
        parent="projects/demo", instance_id="web", instance=request(uuid).instance
    ))  # fmt: skip
    reply = rig.wire.call("AdoptServer", request(uuid), caller=admin())
    assert reply.code is grpc.StatusCode.ALREADY_EXISTS

    maintenance = server_status_pb2.SetMaintenanceRequest(name=f"servers/{uuid}", reason="dust")
    rig.wire.ok("SetMaintenance", maintenance, caller=admin())
    reply = rig.wire.call("AdoptServer", request(uuid), caller=admin())
    assert "maintenance unset" in remedy(reply.status)
    rig.inventory.servers[uuid] = replace(rig.inventory.servers[uuid], providable=False)
    rig.inventory.tell(uuid, "server.updated")
    rig.hear()
    reply = rig.wire.call("AdoptServer", request(uuid), caller=admin())
    assert "--managed" in remedy(reply.status)


def test_every_network_needs_its_address(rig: Rig) -> None:
    """
    A server that keeps its address needs it named.
    """
    uuid = in_use(rig)
    reply = rig.wire.call("AdoptServer", request(uuid, (BLUE, "", 0)), caller=admin())

    assert reply.code is grpc.StatusCode.INVALID_ARGUMENT
    assert fields(reply.status) == ["instance.networks[0].fixed_addresses"]


@pytest.mark.parametrize("caller", [member("demo"), auditor()])
def test_only_administrators_adopt(rig: Rig, caller: Any) -> None:
    """
    Neither the project's members nor auditors.
    """
    uuid = in_use(rig)
    assert rig.wire.call("AdoptServer", request(uuid), caller=caller).code is grpc.StatusCode.PERMISSION_DENIED


def test_set_aside_while_it_is_being_adopted_it_is_cut(rig: Rig) -> None:
    """
    What an administrator asks for in so many words is done: quarantine.
    """
    uuid = in_use(rig)
    rig.ok("AdoptServer", request(uuid), admin())
    quarantine = server_status_pb2.QuarantineServerRequest(name=f"servers/{uuid}", reason="smoke")
    rig.ok("QuarantineServer", quarantine, admin())
    rig.settle()

    server = rig.server(uuid)
    assert (server.state, server.isolated) == (State.QUARANTINED, True)
    assert not rig.hardware.machine(uuid).on


_TAGS = (Tag(BLUE), Tag(GREEN), Tag(BLUE, 7), Tag(GREEN, 7))


@given(
    read=st.lists(st.lists(st.sampled_from(_TAGS), max_size=3, unique=True), max_size=4),
    named=st.lists(st.sampled_from(_TAGS), min_size=1, max_size=3, unique=True),
)
def test_agreement_is_exactly_one_port_for_each_network_and_nothing_else(
    read: list[list[Tag]], named: list[Tag]
) -> None:
    """
    Without groups: the networks read are those named, each on one port.
    """
    ports = [
        Port(
            f"servers/s/ports/{index:02x}", "", "leaf", f"xe{index}",
            observed=PortClass.TENANT if tags else PortClass.QUARANTINE, networks=tuple(tags),
        )
        for index, tags in enumerate(read)
    ]  # fmt: skip
    seen = sorted(tag for tags in read for tag in tags)
    wishes = [NetworkWish(tag.network, ("10.0.0.1",), tag.vlan_tag) for tag in named]

    assert (disagreement(ports, wishes, {}) == "") is (seen == sorted(named))


def test_members_of_a_group_agree_with_each_other() -> None:
    """
    A bond counts as one port, if both its members read alike.
    """

    def member_of(index: int, *tags: Tag) -> Port:
        return Port(
            f"servers/s/ports/{index:02x}", "", "leaf", f"xe{index}", port_group="bond0",
            observed=PortClass.TENANT if tags else PortClass.QUARANTINE, networks=tags,
        )  # fmt: skip

    wishes = [NetworkWish(BLUE, ("10.0.0.1",))]
    assert disagreement([member_of(0, Tag(BLUE)), member_of(1, Tag(BLUE))], wishes, {}) == ""
    assert "different networks" in disagreement([member_of(0, Tag(BLUE)), member_of(1)], wishes, {})
