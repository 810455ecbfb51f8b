# SPDX-License-Identifier: Apache-2.0
"""Whole lives of servers, through the verbs, the worker and the log."""

from __future__ import annotations

from copy import deepcopy

import grpc
import pytest

from bms.lifecycle.v1 import instance_pb2, server_status_pb2
from services.kernel.chain import body_digest, digest
from services.lifecycle.domain.instance import InstanceState
from services.lifecycle.domain.server import PortClass, Power
from services.lifecycle.domain.states import State
from services.lifecycle.ports import JobKind
from tests.lifecycle.rig import BLUE, GREEN, WEB, Rig
from tests.support.wire import admin, member


def in_order(types: list[str], *wanted: str) -> bool:
    """Whether *wanted* stand in *types* in this order."""
    rest = iter(types)
    return all(any(one == found for found in rest) for one in wanted)


def delete(rig: Rig) -> str:
    return rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB))


def test_a_provided_server_was_cleaned_in_private_before_it_is_available(rig: Rig) -> None:
    """
    Registered is not available: verify, quarantine, inspect and a clean pass over every disk come first.
    """
    uuid = rig.available()

    assert in_order(
        rig.types(uuid),
        "server.enrolled", "bmc.verified", "port.detach_observed", "disks.inspected", "power.observed",
        "port.attach_requested", "port.attach_observed", "clean.requested", "clean.passed", "power.observed",
        "port.detach_requested", "port.detach_observed", "server.state_changed",
    )  # fmt: skip
    server = rig.server(uuid)
    assert server.isolated
    assert server.power is Power.OFF
    assert rig.inventory.pool[uuid].available
    assert rig.inventory.facts[uuid].cpus == 16


def test_a_deploy_goes_from_private_to_the_tenant_in_the_promised_order(rig: Rig) -> None:
    """
    Provisioning observed, image verified, power off observed, detach observed, tenant attached and observed, power on.
    """
    uuid = rig.available()
    before = len(rig.types(uuid))
    operation = rig.create(BLUE)
    rig.settle()

    assert in_order(
        rig.types(uuid)[before:],
        "server.state_changed", "address.leased", "port.attach_requested", "port.attach_observed",
        "image.write_requested",
        "image.verified", "power.observed", "port.detach_requested", "port.detach_observed", "port.attach_requested",
        "port.attach_observed", "power.requested", "power.observed", "server.state_changed",
    )  # fmt: skip
    done, metadata = rig.operation(operation)
    instance = instance_pb2.Instance()
    done.response.Unpack(instance)
    assert done.done
    assert metadata.percent == 100
    assert instance.login_address == "10.0.0.1"
    assert instance.interfaces[0].connected
    assert rig.inventory.pool[uuid].held_by == WEB


def test_a_release_gives_addresses_back_only_behind_power_off_and_detach(rig: Rig) -> None:
    """
    Power off observed, all ports detached and observed, cool-down, cleaning, clean passed, available.
    """
    uuid = rig.active(BLUE)
    before = len(rig.types(uuid))
    operation = delete(rig)
    rig.settle()

    assert in_order(
        rig.types(uuid)[before:],
        "instance.delete_requested", "power.observed", "port.detach_requested", "port.detach_observed",
        "address.cooling",
        "instance.ended", "port.attach_requested", "port.attach_observed", "clean.requested", "clean.passed",
    )  # fmt: skip
    assert rig.operation(operation)[0].done
    assert rig.instance() is None
    assert rig.server(uuid).state is State.AVAILABLE
    assert {state for _, _, state in rig.addresses.leases.values()} == {"cooling"}
    assert set(rig.hardware.machine(uuid).disks.values()) == {""}
    assert rig.inventory.pool[uuid].available


def test_every_servers_log_is_a_gapless_chain(rig: Rig) -> None:
    """
    Sequences run from 1 without a gap, each event's digest follows from its bytes and the digest before it.
    """
    uuid = rig.active(BLUE)
    delete(rig)
    rig.settle()

    previous = b""
    rows = rig.log.list(after=0, limit=1000, wait=0, stream=f"servers/{uuid}").events
    rig.events()
    rows = rig.log.list(after=0, limit=1000, wait=0, stream=f"servers/{uuid}").events
    assert [event.header.sequence for event in rig.events(f"servers/{uuid}")] == list(range(1, len(rows) + 1))
    for row in rows:
        assert row.previous == previous
        assert row.body_digest == body_digest(row.body)
        assert row.digest == digest(previous, row.header, row.body_digest)
        previous = row.digest


def test_a_stopped_server_is_in_quarantine_and_keeps_its_address_and_disk(rig: Rig) -> None:
    """
    Tenant power-off is not release: ports to quarantine, lease and data stay; starting brings the ports back first.
    """
    uuid = rig.active(BLUE)
    rig.ok("StopInstance", instance_pb2.StopInstanceRequest(name=WEB))
    rig.settle()
    stopped = rig.instance()

    assert stopped is not None
    assert stopped.state is InstanceState.STOPPED
    assert rig.server(uuid).isolated
    assert not rig.hardware.machine(uuid).on
    assert {state for _, _, state in rig.addresses.leases.values()} == {"leased"}
    assert "images/debian" in rig.hardware.machine(uuid).disks.values()

    rig.ok("StartInstance", instance_pb2.StartInstanceRequest(name=WEB))
    rig.settle()
    started = rig.instance()
    assert started is not None
    assert started.state is InstanceState.ACTIVE
    assert started.login_address == stopped.login_address
    assert started.interfaces[0].connected
    assert rig.hardware.machine(uuid).on


def test_a_reboot_does_not_flip_the_ports(rig: Rig) -> None:
    """
    A power cycle leaves the ports where they are.
    """
    uuid = rig.active(BLUE)
    moves = len(rig.networks.history)
    rig.ok("RebootInstance", instance_pb2.RebootInstanceRequest(name=WEB))
    rig.settle()

    assert len(rig.networks.history) == moves
    assert (uuid, "reboot") in rig.hardware.history


def test_rescue_and_back_and_rebuild(rig: Rig) -> None:
    """
    Rescue boots on the rescue network, unrescue brings the tenant's networks back, rebuild writes anew at the same
    address.
    """
    uuid = rig.active(BLUE)
    rig.ok("RescueInstance", instance_pb2.RescueInstanceRequest(name=WEB))
    rig.settle()
    assert rig.server(uuid).state is State.RESCUED
    assert rig.server(uuid).ports[0].observed is PortClass.RESCUE

    rig.ok("UnrescueInstance", instance_pb2.UnrescueInstanceRequest(name=WEB))
    rig.settle()
    assert rig.server(uuid).state is State.ACTIVE

    rig.ok("RebuildInstance", instance_pb2.RebuildInstanceRequest(name=WEB, image="images/other"))
    rig.settle()
    rebuilt = rig.instance()
    assert rebuilt is not None
    assert (rebuilt.state, rebuilt.image, rebuilt.login_address) == (InstanceState.ACTIVE, "images/other", "10.0.0.1")
    assert "images/other" in rig.hardware.machine(uuid).disks.values()


def test_networks_come_and_go_even_the_only_one(rig: Rig) -> None:
    """
    A second network takes a port of its own; a detached network's address rests; the only network may go and come back.
    """
    uuid = rig.active(BLUE)
    rig.ok(
        "AttachNetwork",
        instance_pb2.AttachNetworkRequest(name=WEB, network=instance_pb2.InstanceNetwork(network=GREEN)),
    )
    rig.settle()
    both = rig.instance()
    assert both is not None
    assert [(face.network, face.connected) for face in both.interfaces] == [(BLUE, True), (GREEN, True)]

    for network in (BLUE, GREEN):
        rig.ok("DetachNetwork", instance_pb2.DetachNetworkRequest(name=WEB, network=network))
        rig.settle()
    alone = rig.instance()
    assert alone is not None
    assert alone.networks == ()
    assert alone.state is InstanceState.ACTIVE
    assert rig.server(uuid).isolated
    assert {state for _, _, state in rig.addresses.leases.values()} == {"cooling"}
    before = len(rig.types(uuid))

    rig.ok(
        "AttachNetwork",
        instance_pb2.AttachNetworkRequest(name=WEB, network=instance_pb2.InstanceNetwork(network=GREEN)),
    )
    rig.settle()
    back = rig.instance()
    assert back is not None
    assert [face.connected for face in back.interfaces] == [True]
    assert back.state is InstanceState.ACTIVE
    # It ran in quarantine: its ports return only while it is off.
    assert rig.types(uuid)[before:] == [
        "instance.attach_requested", "address.leased", "power.requested", "power.observed",
        "port.attach_requested", "port.attach_observed", "power.requested", "power.observed",
    ]  # fmt: skip


def test_a_network_that_a_server_does_not_come_onto_keeps_no_address(rig: Rig) -> None:
    """
    It runs on no network and cannot be powered off for one: the verb fails, and what was leased for it goes to rest.
    """
    uuid = rig.active(BLUE)
    rig.ok("DetachNetwork", instance_pb2.DetachNetworkRequest(name=WEB, network=BLUE))
    rig.settle()
    rig.hardware.machine(uuid).stuck_on = True
    network = instance_pb2.InstanceNetwork(network=GREEN)
    operation = rig.ok("AttachNetwork", instance_pb2.AttachNetworkRequest(name=WEB, network=network))
    rig.pass_time(3600, step=30)

    ended, _ = rig.operation(operation)
    instance, server = rig.instance(), rig.server(uuid)
    assert ended.done
    assert ended.HasField("error")
    assert instance is not None
    assert (instance.state, instance.networks, server.state) == (InstanceState.ACTIVE, (), State.ACTIVE)
    assert (server.leases, server.intent, server.isolated) == ((), None, True)
    assert {state for _, _, state in rig.addresses.leases.values()} == {"cooling"}


def test_a_disk_plugged_in_after_the_clean_pass_reaches_no_tenant(rig: Rig) -> None:
    """
    The deploy meets a disk that nobody inspected: quarantine; recovered, it is erased with the others.
    """
    uuid = rig.available()
    rig.hardware.machine(uuid).disks["disk-9"] = "somebody's"
    rig.create(BLUE)
    rig.settle()

    assert (rig.server(uuid).state, rig.server(uuid).fault) == (State.QUARANTINED, "DISK_APPEARED")
    assert "tenant" not in {port.port_class.value for port in rig.networks.ports.values()}
    rig.ok(
        "RecoverServer",
        server_status_pb2.RecoverServerRequest(name=f"servers/{uuid}", take_from_instance=True),
        admin(),
    )
    rig.settle()
    assert rig.server(uuid).state is State.AVAILABLE
    assert set(rig.hardware.machine(uuid).disks.values()) == {""}


def test_a_disk_that_says_it_is_another_reaches_no_tenant(rig: Rig) -> None:
    """
    The deploy meets two disks with one serial number, of which one was inspected and erased.
    """
    uuid = rig.available()
    rig.hardware.machine(uuid).twin = "disk-2"
    rig.create(BLUE)
    rig.settle()

    assert (rig.server(uuid).state, rig.server(uuid).fault) == (State.QUARANTINED, "DISK_APPEARED")


def test_a_disk_plugged_in_by_its_tenant_is_his(rig: Rig) -> None:
    """
    A rebuild for the same instance minds no disk that was added meanwhile.
    """
    uuid = rig.active(BLUE)
    rig.hardware.machine(uuid).disks["disk-9"] = "his own"
    rig.ok("RebuildInstance", instance_pb2.RebuildInstanceRequest(name=WEB))
    rig.settle()

    assert rig.server(uuid).state is State.ACTIVE


def test_an_image_write_that_fails_is_tried_again(rig: Rig) -> None:
    """
    A failed write is retried on the same server, each failure an event, up to the number its plan allows.
    """
    uuid = rig.available()
    rig.hardware.machine(uuid).fail_jobs[JobKind.DEPLOY] = 2
    rig.create(BLUE)
    rig.settle()

    assert rig.server(uuid).state is State.ACTIVE
    assert rig.types(uuid).count("step.failed") == 2


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"fail_jobs": {JobKind.DEPLOY: 9}}, "IMAGE_WRITE_FAILED"),
        ({"corrupt": True}, "IMAGE_CORRUPT"),
    ],
)
def test_a_deploy_that_fails_ends_in_quarantine_and_recovers(rig: Rig, fault: dict[str, object], reason: str) -> None:
    """
    Failed: all ports to quarantine first, the operation tells why, the tenant deletes, an administrator leads out, it
    is clean.
    """
    uuid = rig.available()
    for key, value in fault.items():
        setattr(rig.hardware.machine(uuid), key, deepcopy(value))
    operation = rig.create(BLUE)
    rig.settle()

    server, instance = rig.server(uuid), rig.instance()
    assert (server.state, server.fault, server.isolated) == (State.QUARANTINED, reason, True)
    assert instance is not None
    assert instance.state is InstanceState.ERROR
    assert rig.operation(operation)[0].error.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
    diagnosis = rig.wire.ok(
        "DiagnoseServer", server_status_pb2.DiagnoseServerRequest(name=f"servers/{uuid}"), caller=admin()
    )
    assert diagnosis.blocked_on == "INSTANCE_FAILED"
    assert diagnosis.commands

    rig.hardware.machine(uuid).corrupt = False
    rig.hardware.machine(uuid).fail_jobs = {}
    delete(rig)
    rig.settle()
    assert rig.instance() is None
    assert {state for _, _, state in rig.addresses.leases.values()} == {"cooling"}
    rig.ok("RecoverServer", server_status_pb2.RecoverServerRequest(name=f"servers/{uuid}"), admin())
    rig.settle()
    assert rig.server(uuid).state is State.AVAILABLE
    assert set(rig.hardware.machine(uuid).disks.values()) == {""}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"fail_jobs": {JobKind.CLEAN: 1}}, "DISK_ERASE_FAILED"),
        ({"left_disk": "disk-2"}, "CLEAN_INCOMPLETE"),
        ({"extra_disk": "disk-9"}, "DISK_APPEARED"),
        ({"twin": "disk-2"}, "DISK_APPEARED"),
        ({"fail_jobs": {JobKind.INSPECT: 1}}, "INSPECTION_FAILED"),
        ({"disks": {}}, "NO_DISKS"),
        ({"login_refused": True}, "BMC_LOGIN_REFUSED"),
    ],
)
def test_a_server_that_cannot_be_made_clean_is_never_available(rig: Rig, fault: dict[str, object], reason: str) -> None:
    """
    Whatever goes wrong while providing ends in quarantine with its own reason.
    """
    uuid = rig.register()
    for key, value in fault.items():
        setattr(rig.hardware.machine(uuid), key, deepcopy(value))
    rig.ok("ProvideServer", server_status_pb2.ProvideServerRequest(name=f"servers/{uuid}"), admin())
    rig.settle()

    server = rig.server(uuid)
    assert (server.state, server.fault) == (State.QUARANTINED, reason)
    assert "server.failed" in rig.types(uuid)
    assert not rig.inventory.pool[uuid].available


def test_a_silent_bmc_at_release_cuts_ports_first_and_keeps_addresses(rig: Rig) -> None:
    """
    Power unknown: detach observed, then quarantined; the tenant's deletion ends with a warning; addresses are kept
    until power off was read.
    """
    uuid = rig.active(BLUE)
    rig.hardware.machine(uuid).silent = True
    operation = delete(rig)
    rig.pass_time(400)

    done, metadata = rig.operation(operation)
    assert done.done
    assert not done.HasField("error")
    assert "BMC did not answer" in metadata.warnings[0]
    assert rig.instance() is None
    assert rig.server(uuid).state is State.QUARANTINED
    assert rig.server(uuid).isolated
    assert {state for _, _, state in rig.addresses.leases.values()} == {"leased"}

    rig.hardware.machine(uuid).silent = False
    rig.pass_time(30)
    assert {state for _, _, state in rig.addresses.leases.values()} == {"cooling"}
    assert not rig.hardware.machine(uuid).on


def test_a_switch_that_does_not_do_as_told_holds_everything_back(rig: Rig) -> None:
    """
    Nothing goes on before the port was read back as asked for; then the step fails into quarantine.
    """
    uuid = rig.available()
    rig.networks.deaf = {rig.server(uuid).ports[0].name}
    rig.create(BLUE)
    rig.settle(rounds=20)
    assert rig.server(uuid).wait is not None
    assert ("deploy") not in [act for _, act in rig.hardware.history]

    rig.pass_time(400)
    server = rig.server(uuid)
    assert (server.state, server.fault) == (State.QUARANTINED, "PORTS_NOT_SETTLED")


def test_a_release_waits_for_an_unreadable_switch_for_ever(rig: Rig) -> None:
    """
    Taking a server off its networks is never given up, and nothing after it happens before it was read.
    """
    uuid = rig.active(BLUE)
    rig.networks.unreadable = {rig.server(uuid).ports[0].name}
    operation = delete(rig)
    rig.pass_time(3600, step=30)
    server = rig.server(uuid)
    assert server.state is State.DETACHING
    assert server.wait is not None
    assert server.wait.code == "FABRIC_SILENT"
    assert {state for _, _, state in rig.addresses.leases.values()} == {"leased"}
    assert not rig.operation(operation)[0].done

    rig.networks.unreadable = set()
    rig.settle()
    assert rig.server(uuid).state is State.AVAILABLE


def test_no_server_no_instance(rig: Rig) -> None:
    """
    With nothing to take, the operation fails with RESOURCE_EXHAUSTED and the instance can be deleted.
    """
    operation = rig.create(BLUE)
    rig.settle()
    instance = rig.instance()
    assert rig.operation(operation)[0].error.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert instance is not None
    assert instance.state is InstanceState.ERROR

    delete(rig)
    rig.settle()
    assert rig.instance() is None


def test_exhausted_addresses_undo_the_reservation(rig: Rig) -> None:
    """
    What was taken before the failure is given back: leases into cool-down, the server into the pool, untouched.
    """
    uuid = rig.available()
    rig.addresses.exhausted = {GREEN}
    operation = rig.create(BLUE, GREEN)
    rig.settle()

    assert rig.operation(operation)[0].error.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert rig.server(uuid).state is State.AVAILABLE
    assert rig.inventory.pool[uuid].available
    assert rig.inventory.reserved == {}
    assert {state for _, _, state in rig.addresses.leases.values()} == {"cooling"}
    assert "deploy" not in [act for _, act in rig.hardware.history]


def test_a_deletion_takes_over_a_deploy(rig: Rig) -> None:
    """
    Deleting an instance while its image is being written ends the deploy's operation and gives the server back,
    cleaned.
    """
    uuid = rig.available()
    rig.hardware.machine(uuid).slow = True
    creating = rig.create(BLUE)
    rig.settle(rounds=20)
    assert rig.server(uuid).state is State.PROVISIONING
    rig.hardware.machine(uuid).slow = False
    delete(rig)
    rig.settle()

    assert rig.operation(creating)[0].error.message.startswith("create was ended")
    assert rig.server(uuid).state is State.AVAILABLE
    assert rig.instance() is None


def test_a_server_that_is_deleted_closes_its_log_and_may_come_back(rig: Rig) -> None:
    """
    Inventory's deletion closes the stream and lets the row go; the same server registered again continues the chain.
    """
    uuid = rig.available()
    rig.inventory.tell(uuid, "server.deleting")
    rig.hear()
    rig.settle()
    assert rig.inventory.closed == {uuid}
    assert rig.types(uuid)[-1] == "server.closed"
    assert rig.networks.ports == {}
    gone = rig.wire.call(
        "GetServerStatus", server_status_pb2.GetServerStatusRequest(name=f"servers/{uuid}/status"), caller=admin()
    )
    assert gone.code is grpc.StatusCode.NOT_FOUND

    rig.inventory.versions = {}
    rig.register()
    assert rig.types(uuid)[-1] == "server.enrolled"
    assert rig.server(uuid).state is State.ENROLLED


def test_maintenance_is_not_offered(rig: Rig) -> None:
    """
    A server in maintenance is unavailable to inventory, and available again when maintenance ends.
    """
    uuid = rig.available()
    request = server_status_pb2.SetMaintenanceRequest(name=f"servers/{uuid}", reason="new fan")
    rig.wire.ok("SetMaintenance", request, caller=admin())
    rig.settle()
    assert rig.inventory.pool[uuid].reason == "MAINTENANCE"

    rig.wire.ok("ClearMaintenance", server_status_pb2.ClearMaintenanceRequest(name=f"servers/{uuid}"), caller=admin())
    rig.settle()
    assert rig.inventory.pool[uuid].available


def test_a_free_server_found_powered_on_is_set_aside(rig: Rig) -> None:
    """
    Power seen on outside any plan voids the clean pass: quarantine, with an event that says so.
    """
    uuid = rig.available()
    rig.hardware.machine(uuid).on = True
    rig.clock.advance(1000)
    rig.settle()
    server = rig.server(uuid)
    assert (server.state, server.fault, server.clean_time) == (State.QUARANTINED, "POWER_ON_UNPLANNED", None)
    assert not rig.inventory.pool[uuid].available


def test_another_project_sees_none_of_it(rig: Rig) -> None:
    """
    An instance of another project does not exist: not to read, not to change, not to list.
    """
    rig.active(BLUE)
    stranger = member("other")
    for method, request in (
        ("GetInstance", instance_pb2.GetInstanceRequest(name=WEB)),
        ("StopInstance", instance_pb2.StopInstanceRequest(name=WEB)),
        ("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB)),
        ("ListInstances", instance_pb2.ListInstancesRequest(parent="projects/demo")),
    ):
        assert rig.wire.call(method, request, caller=stranger).code is grpc.StatusCode.NOT_FOUND
