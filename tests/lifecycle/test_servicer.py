# SPDX-License-Identifier: Apache-2.0
"""What the verbs refuse, and how; what they write nothing for; what they answer again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest

from bms.lifecycle.v1 import instance_pb2 as ins
from bms.lifecycle.v1 import operation_pb2
from bms.lifecycle.v1 import server_status_pb2 as srv
from services.kernel.errors import NotFound
from services.lifecycle.domain.instance import InstanceState
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.plans import plan_of
from services.lifecycle.domain.states import State
from services.lifecycle.operations.instances import ALLOWED
from tests.lifecycle.rig import BLUE, GREEN, WEB, Rig, create_request
from tests.support.wire import Reply, admin, fields, member, reader, reason, remedy

Make = Callable[..., Any]
ID = "6f1c2a52-9a2f-4b6e-8f6e-1f2d3c4b5a69"
UUID = "00000001-0000-4000-8000-000000000000"
SERVER = f"servers/{UUID}"
GONE = "servers/00000009-0000-4000-8000-000000000000"


def attach_request(**more: Any) -> ins.AttachNetworkRequest:
    return ins.AttachNetworkRequest(**{"name": WEB, "network": ins.InstanceNetwork(network=GREEN), **more})


VERBS: dict[IntentKind, tuple[str, Make]] = {
    IntentKind.START: ("StartInstance", lambda **more: ins.StartInstanceRequest(name=WEB, **more)),
    IntentKind.STOP: ("StopInstance", lambda **more: ins.StopInstanceRequest(name=WEB, **more)),
    IntentKind.REBOOT: ("RebootInstance", lambda **more: ins.RebootInstanceRequest(name=WEB, **more)),
    IntentKind.REBUILD: ("RebuildInstance", lambda **more: ins.RebuildInstanceRequest(name=WEB, **more)),
    IntentKind.RESCUE: ("RescueInstance", lambda **more: ins.RescueInstanceRequest(name=WEB, **more)),
    IntentKind.UNRESCUE: ("UnrescueInstance", lambda **more: ins.UnrescueInstanceRequest(name=WEB, **more)),
    IntentKind.ATTACH: ("AttachNetwork", attach_request),
    IntentKind.DETACH: ("DetachNetwork", lambda **more: ins.DetachNetworkRequest(name=WEB, network=BLUE, **more)),
}
DELETE: tuple[str, Make] = ("DeleteInstance", lambda **more: ins.DeleteInstanceRequest(name=WEB, **more))


def pending(rig: Rig) -> None:
    rig.create(BLUE)


def failed(rig: Rig) -> None:
    rig.create(BLUE)
    rig.settle()


def active(rig: Rig) -> None:
    rig.active(BLUE)


def stopped(rig: Rig) -> None:
    rig.active(BLUE)
    rig.ok("StopInstance", ins.StopInstanceRequest(name=WEB))
    rig.settle()


def rescued(rig: Rig) -> None:
    rig.active(BLUE)
    rig.ok("RescueInstance", ins.RescueInstanceRequest(name=WEB))
    rig.settle()


def deploying(rig: Rig) -> None:
    rig.hardware.machine(rig.available()).slow = True
    rig.create(BLUE)
    rig.settle(rounds=20)


def deleting(rig: Rig) -> None:
    rig.active(BLUE)
    rig.hardware.machine(UUID).stuck_on = True
    rig.ok("DeleteInstance", ins.DeleteInstanceRequest(name=WEB))
    rig.settle(rounds=5)


STATES: dict[InstanceState, Callable[[Rig], None]] = {
    InstanceState.PENDING: pending,
    InstanceState.DEPLOYING: deploying,
    InstanceState.ACTIVE: active,
    InstanceState.STOPPED: stopped,
    InstanceState.RESCUED: rescued,
    InstanceState.ERROR: failed,
    InstanceState.DELETING: deleting,
}


def rows(rig: Rig) -> dict[str, object]:
    """Everything lifecycle holds."""
    tables = ("servers", "instances", "operations", "events", "replies", "followed")
    return {name: rig.database.read(lambda tx, name=name: tx.all(f"SELECT * FROM {name}")) for name in tables}  # type: ignore[misc]


@pytest.mark.parametrize("state", STATES)
def test_each_verb_in_each_state_of_its_instance(rig: Rig, state: InstanceState) -> None:
    """
    In the wrong state a verb is refused with FAILED_PRECONDITION and the way out, at work with ABORTED and the
    operation's name; either way nothing is written. In the right state it would begin.
    """
    STATES[state](rig)
    found = rig.instance()
    assert found is not None
    assert found.state is state
    before = rows(rig)
    for verb, (method, make) in VERBS.items():
        reply = rig.wire.call(method, make(validate_only=state in ALLOWED[verb][0]))
        if state in ALLOWED[verb][0]:
            assert reply.code is grpc.StatusCode.OK, (method, reply.status)
        elif found.operation:
            assert reply.code is grpc.StatusCode.ABORTED, method
            assert reason(reply.status) == "BUSY"
            assert found.operation in remedy(reply.status)
        else:
            assert reply.code is grpc.StatusCode.FAILED_PRECONDITION, method
            assert reason(reply.status) == "WRONG_STATE"
            assert remedy(reply.status)
    assert rows(rig) == before


def test_a_deletion_is_possible_in_every_state_but_once(rig: Rig) -> None:
    """
    A second deletion is told which operation deletes already.
    """
    deleting(rig)
    reply = rig.wire.call(DELETE[0], DELETE[1]())

    found = rig.instance()
    assert found is not None
    assert reply.code is grpc.StatusCode.ABORTED
    assert found.operation in remedy(reply.status)


@pytest.mark.parametrize("state", [state for state in STATES if state is not InstanceState.DELETING])
def test_a_deletion_leads_out_of_every_state(rig: Rig, state: InstanceState) -> None:
    """
    Whatever an instance is in, deleting it ends with neither instance nor lease, and its server clean or in quarantine.
    """
    STATES[state](rig)
    rig.hardware.machine(UUID).slow = False
    operation = rig.ok(DELETE[0], DELETE[1]())
    rig.settle()

    assert rig.instance() is None
    assert rig.operation(operation)[0].done
    assert not rig.operation(operation)[0].HasField("error")
    assert {now for _, _, now in rig.addresses.leases.values()} <= {"cooling"}
    assert rig.inventory.reserved == {}


def instance(**more: Any) -> ins.CreateInstanceRequest:
    request = create_request(BLUE)
    networks = more.pop("networks", None)
    for key, value in more.items():
        if key in ("parent", "instance_id", "request_id"):
            setattr(request, key, value)
        elif key == "ssh_public_keys":
            request.instance.ssh_public_keys.extend(value)
        elif key == "labels":
            request.instance.labels.update(value)
        else:
            setattr(request.instance, key, value)
    if networks is not None:
        del request.instance.networks[:]
        request.instance.networks.extend(ins.InstanceNetwork(**one) for one in networks)
    return request


MALFORMED: list[tuple[str, Any, str]] = [
    ("CreateInstance", instance(parent="projects/"), "parent"),
    ("CreateInstance", instance(parent="projects/demo/x"), "parent"),
    ("CreateInstance", instance(instance_id="Web Server"), "instance_id"),
    ("CreateInstance", instance(instance_id="x" * 64), "instance_id"),
    ("CreateInstance", instance(instance_id=""), "instance_id"),
    ("CreateInstance", instance(flavor="any"), "instance.flavor"),
    ("CreateInstance", instance(flavor=""), "instance.flavor"),
    ("CreateInstance", instance(image="images/a/b"), "instance.image"),
    ("CreateInstance", instance(networks=[]), "instance.networks"),
    ("CreateInstance", instance(networks=[{"network": "blue"}]), "instance.networks[0].network"),
    ("CreateInstance", instance(networks=[{"network": BLUE}] * 2), "instance.networks[1].network"),
    (
        "CreateInstance",
        instance(networks=[{"network": f"projects/demo/networks/n{n}"} for n in range(17)]),
        "instance.networks",
    ),
    ("CreateInstance", instance(networks=[{"network": BLUE, "vlan_tag": 1}]), "instance.networks[0].vlan_tag"),
    ("CreateInstance", instance(networks=[{"network": BLUE, "vlan_tag": 4095}]), "instance.networks[0].vlan_tag"),
    ("CreateInstance", instance(networks=[{"network": BLUE, "vlan_tag": -5}]), "instance.networks[0].vlan_tag"),
    (
        "CreateInstance",
        instance(networks=[{"network": BLUE, "fixed_addresses": ["10.0.0.300"]}]),
        "instance.networks[0].fixed_addresses[0]",
    ),
    (
        "CreateInstance",
        instance(networks=[{"network": BLUE, "fixed_addresses": ["10.0.0.3", "2001:db8::3", "10.0.0.4"]}]),
        "instance.networks[0].fixed_addresses[2]",
    ),
    (
        "CreateInstance",
        instance(networks=[{"network": BLUE, "fixed_addresses": ["10.0.0.1/24"]}]),
        "instance.networks[0].fixed_addresses[0]",
    ),
    ("CreateInstance", instance(hostname="-web"), "instance.hostname"),
    ("CreateInstance", instance(hostname="web\n"), "instance.hostname"),
    ("CreateInstance", instance(hostname="w" * 64), "instance.hostname"),
    ("CreateInstance", instance(ssh_public_keys=["-----BEGIN KEY-----"]), "instance.ssh_public_keys[0]"),
    (
        "CreateInstance",
        instance(ssh_public_keys=["ssh-ed25519 AAAA a", "ssh-rsa AAAA\nssh-rsa BBBB"]),
        "instance.ssh_public_keys[1]",
    ),
    ("CreateInstance", instance(ssh_public_keys=["ssh-ed25519 AAAA"] * 65), "instance.ssh_public_keys"),
    ("CreateInstance", instance(user_data=b"x" * 65537), "instance.user_data"),
    ("CreateInstance", instance(labels={str(n): "" for n in range(65)}), "instance.labels"),
    ("CreateInstance", instance(labels={"k" * 64: ""}), "instance.labels"),
    ("CreateInstance", instance(labels={"k": "v" * 257}), "instance.labels"),
    ("CreateInstance", instance(request_id="no"), "request_id"),
    ("GetInstance", ins.GetInstanceRequest(name="web"), "name"),
    ("GetInstance", ins.GetInstanceRequest(name="projects/demo/instances/../x"), "name"),
    ("DeleteInstance", ins.DeleteInstanceRequest(name=""), "name"),
    ("StopInstance", ins.StopInstanceRequest(name="projects/demo"), "name"),
    ("StopInstance", ins.StopInstanceRequest(name=WEB, request_id="1"), "request_id"),
    ("RebuildInstance", ins.RebuildInstanceRequest(name="projects/demo/instances/UPPER"), "name"),
    ("RebuildInstance", ins.RebuildInstanceRequest(name=WEB, image="debian"), "image"),
    ("RebuildInstance", ins.RebuildInstanceRequest(name=WEB, user_data=b"x" * 65537), "user_data"),
    ("AttachNetwork", ins.AttachNetworkRequest(name=WEB), "network"),
    ("AttachNetwork", attach_request(network=ins.InstanceNetwork(network="x")), "network.network"),
    ("AttachNetwork", attach_request(network=ins.InstanceNetwork(network=GREEN, vlan_tag=5000)), "network.vlan_tag"),
    ("DetachNetwork", ins.DetachNetworkRequest(name=WEB, network="x"), "network"),
    ("ListInstances", ins.ListInstancesRequest(parent="projects/demo", page_size=-1), "page_size"),
    ("ListInstances", ins.ListInstancesRequest(parent="projects/demo", page_token="x"), "page_token"),
    ("ListInstances", ins.ListInstancesRequest(parent="projects/demo", filter="color = red"), "filter"),
    ("ListInstances", ins.ListInstancesRequest(parent="demo"), "parent"),
    ("GetServerStatus", srv.GetServerStatusRequest(name=SERVER), "name"),
    ("ListServerStatuses", srv.ListServerStatusesRequest(filter="state ="), "filter"),
    ("ListServerStatuses", srv.ListServerStatusesRequest(filter='state = "a\0b"'), "filter"),
    ("DiagnoseServer", srv.DiagnoseServerRequest(name="servers/1"), "name"),
    ("ProvideServer", srv.ProvideServerRequest(name="1"), "name"),
    ("RecoverServer", srv.RecoverServerRequest(name="servers/"), "name"),
    ("QuarantineServer", srv.QuarantineServerRequest(name=SERVER, reason="x" * 1001), "reason"),
    ("QuarantineServer", srv.QuarantineServerRequest(name=SERVER), "reason"),
    ("SetMaintenance", srv.SetMaintenanceRequest(name=SERVER, reason="x" * 1001), "reason"),
]


def test_whatever_is_malformed_is_refused_by_the_name_of_its_field(rig: Rig) -> None:
    """
    INVALID_ARGUMENT, the field, and nothing written.
    """
    rig.active(BLUE)
    before = rows(rig)
    for method, request, field in MALFORMED:
        reply = rig.wire.call(method, request, caller=admin())
        assert (reply.code, fields(reply.status)) == (grpc.StatusCode.INVALID_ARGUMENT, [field]), (method, request)
    assert rows(rig) == before


def test_what_is_not_there_is_not_found(rig: Rig) -> None:
    """
    Servers and instances that do not exist, and other services' things, are NOT_FOUND before anything is written.
    """
    rig.active(BLUE)
    other = "projects/demo/instances/other"
    for method, request in (
        ("GetInstance", ins.GetInstanceRequest(name=other)),
        ("DeleteInstance", ins.DeleteInstanceRequest(name=other)),
        ("StopInstance", ins.StopInstanceRequest(name=other)),
        ("RebuildInstance", ins.RebuildInstanceRequest(name=WEB, image="images/none")),
        ("AttachNetwork", attach_request(network=ins.InstanceNetwork(network="projects/demo/networks/none"))),
        ("CreateInstance", instance(flavor="flavors/none", instance_id="two")),
        ("CreateInstance", instance(image="images/none", instance_id="two")),
        ("CreateInstance", instance(networks=[{"network": "projects/other/networks/blue"}], instance_id="two")),
        ("GetServerStatus", srv.GetServerStatusRequest(name=f"{GONE}/status")),
        ("DiagnoseServer", srv.DiagnoseServerRequest(name=GONE)),
        ("ProvideServer", srv.ProvideServerRequest(name=GONE)),
        ("RecoverServer", srv.RecoverServerRequest(name=GONE)),
        ("QuarantineServer", srv.QuarantineServerRequest(name=GONE, reason="x")),
        ("SetMaintenance", srv.SetMaintenanceRequest(name=GONE, reason="x")),
        ("ClearMaintenance", srv.ClearMaintenanceRequest(name=GONE)),
    ):
        reply = rig.wire.call(method, request, caller=admin())
        assert reply.code is grpc.StatusCode.NOT_FOUND, (method, reply.status)


def test_verbs_on_servers_in_the_wrong_state_say_what_leads_there(rig: Rig) -> None:
    """
    Provide only what is enrolled and managed and not in maintenance; recover only from quarantine, from an instance
    only when told so; set aside only once.
    """
    refused: list[tuple[str, Any]] = []

    def refuses(method: str, request: Any) -> None:
        reply: Reply = rig.wire.call(method, request, caller=admin())
        assert reply.code is grpc.StatusCode.FAILED_PRECONDITION, (method, reply.status)
        assert remedy(reply.status)
        refused.append((method, request))

    rig.register()
    refuses("RecoverServer", srv.RecoverServerRequest(name=SERVER))
    rig.wire.ok("SetMaintenance", srv.SetMaintenanceRequest(name=SERVER, reason="fan"), caller=admin())
    refuses("ProvideServer", srv.ProvideServerRequest(name=SERVER))
    rig.wire.ok("ClearMaintenance", srv.ClearMaintenanceRequest(name=SERVER), caller=admin())
    rig.ok("ProvideServer", srv.ProvideServerRequest(name=SERVER), admin())
    rig.settle()
    refuses("ProvideServer", srv.ProvideServerRequest(name=SERVER))
    rig.create(BLUE)
    rig.settle()
    rig.ok("QuarantineServer", srv.QuarantineServerRequest(name=SERVER, reason="smoke"), admin())
    refuses("QuarantineServer", srv.QuarantineServerRequest(name=SERVER, reason="smoke"))
    rig.settle()
    refuses("QuarantineServer", srv.QuarantineServerRequest(name=SERVER, reason="smoke"))
    refuses("RecoverServer", srv.RecoverServerRequest(name=SERVER))
    rig.ok("RecoverServer", srv.RecoverServerRequest(name=SERVER, take_from_instance=True), admin())
    rig.settle()
    left = rig.instance()

    assert rig.server(UUID).state is State.AVAILABLE
    assert left is not None
    assert (left.state, left.server, left.operation) == (InstanceState.ERROR, "", "")
    assert len(refused) == 6


def test_what_is_only_on_record_is_never_provided(rig: Rig) -> None:
    """
    A server that is unmanaged, or of another type, can be neither cleaned nor taken.
    """
    uuid = rig.register()
    registered = rig.inventory.servers[uuid]
    rig.inventory.servers[uuid] = type(registered)(
        uuid, registered.display_name, registered.ports, providable=False, deleting=False
    )
    rig.inventory.tell(uuid, "server.updated")
    rig.hear()
    reply = rig.wire.call("ProvideServer", srv.ProvideServerRequest(name=SERVER), caller=admin())

    assert reply.code is grpc.StatusCode.FAILED_PRECONDITION
    assert (
        rig.wire.ok("DiagnoseServer", srv.DiagnoseServerRequest(name=SERVER), caller=admin()).blocked_on == "UNMANAGED"
    )


def test_a_server_at_work_takes_no_second_verb(rig: Rig) -> None:
    """
    ABORTED, with the operation at work.
    """
    rig.register()
    rig.hardware.machine(UUID).slow = True
    rig.ok("ProvideServer", srv.ProvideServerRequest(name=SERVER), admin())
    rig.ok("QuarantineServer", srv.QuarantineServerRequest(name=SERVER, reason="smoke"), admin())
    rig.settle(rounds=5)
    rig.networks.silent = True
    recovery = rig.ok("RecoverServer", srv.RecoverServerRequest(name=SERVER), admin())
    rig.settle(rounds=5)
    again = rig.wire.call("ProvideServer", srv.ProvideServerRequest(name=SERVER), caller=admin())

    assert again.code is grpc.StatusCode.ABORTED
    assert recovery in remedy(again.status)


def second_request(**more: Any) -> ins.CreateInstanceRequest:
    request = create_request(BLUE, name="two")
    for key, value in more.items():
        setattr(request, key, value)
    return request


CHECKED: list[tuple[str, Make, IntentKind]] = [
    *((method, make, kind) for kind, (method, make) in VERBS.items() if kind in (IntentKind.STOP, IntentKind.ATTACH)),
    (*DELETE, IntentKind.RELEASE),
    (
        "QuarantineServer",
        lambda **more: srv.QuarantineServerRequest(name=SERVER, reason="x", **more),
        IntentKind.QUARANTINE,
    ),
    ("CreateInstance", second_request, IntentKind.DEPLOY),
]


@pytest.mark.parametrize(("method", "make", "kind"), CHECKED, ids=[method for method, _, _ in CHECKED])
def test_a_check_writes_nothing_and_answers_the_plan(rig: Rig, method: str, make: Make, kind: IntentKind) -> None:
    """
    validate_only: the plan with its steps, no operation by name, nothing written.
    """
    rig.active(BLUE)
    before = rows(rig)
    operation = rig.wire.ok(method, make(validate_only=True, request_id=ID), caller=admin())
    metadata = operation_pb2.OperationMetadata()
    operation.metadata.Unpack(metadata)

    assert operation.name == ""
    assert operation.done
    assert [step.step for step in metadata.plan] == [step.name.value for step in plan_of(kind)]
    assert rows(rig) == before


@pytest.mark.parametrize(("method", "make", "kind"), CHECKED, ids=[method for method, _, _ in CHECKED])
def test_a_repeated_request_gets_its_first_answer(rig: Rig, method: str, make: Make, kind: IntentKind) -> None:
    """
    The same operation again, done once, though the same verb would be refused by now; another body is refused.
    """
    rig.active(BLUE)
    first = rig.wire.ok(method, make(request_id=ID), caller=admin())
    rig.inventory.silent = rig.networks.silent = True
    again = rig.wire.call(method, make(request_id=ID), caller=admin())

    assert again.code is grpc.StatusCode.OK, again.status
    assert again.message == first
    events = [event.header.type for event in rig.events(SERVER)]
    assert events.count(f"instance.{kind.value}_requested") + events.count(f"server.{kind.value}_requested") <= 2


def test_creating_is_answered_again_when_the_flavor_is_gone(rig: Rig) -> None:
    """
    What other services say by now does not matter to a request that was answered.
    """
    request = create_request(BLUE)
    request.request_id = ID
    first = rig.wire.ok("CreateInstance", request)

    def gone(flavor: str) -> None:
        raise NotFound(flavor)

    rig.inventory.flavor_exists = gone  # type: ignore[method-assign]
    assert rig.wire.ok("CreateInstance", request) == first
    request.instance.hostname = "another"
    assert fields(rig.wire.call("CreateInstance", request).status) == ["request_id"]


def test_a_stale_etag_deletes_nothing(rig: Rig) -> None:
    """
    An instance that changed since it was read is not deleted by what was read.
    """
    rig.active(BLUE)
    fresh = rig.wire.ok("GetInstance", ins.GetInstanceRequest(name=WEB)).etag
    stale = rig.wire.call("DeleteInstance", ins.DeleteInstanceRequest(name=WEB, etag='"1"'))

    assert (stale.code, reason(stale.status)) == (grpc.StatusCode.ABORTED, "STALE")
    rig.ok("DeleteInstance", ins.DeleteInstanceRequest(name=WEB, etag=fresh))


def test_networks_that_do_not_fit_are_refused_at_once(rig: Rig) -> None:
    """
    Attaching twice, more networks than ports, and detaching what is not there: refused before anything is done.
    """
    rig.active(BLUE, GREEN)
    rig.networks.tenant_networks.add("projects/demo/networks/third")
    for method, request in (
        ("AttachNetwork", attach_request()),
        ("AttachNetwork", attach_request(network=ins.InstanceNetwork(network="projects/demo/networks/third"))),
        ("DetachNetwork", ins.DetachNetworkRequest(name=WEB, network="projects/demo/networks/third")),
    ):
        reply = rig.wire.call(method, request)
        assert reply.code is grpc.StatusCode.FAILED_PRECONDITION
        assert remedy(reply.status)


def test_a_name_is_given_once(rig: Rig) -> None:
    """
    A second instance of the same name is ALREADY_EXISTS.
    """
    rig.create(BLUE)

    assert rig.wire.call("CreateInstance", create_request(BLUE)).code is grpc.StatusCode.ALREADY_EXISTS


def test_lists_and_counts_are_what_is_there(rig: Rig) -> None:
    """
    Instances page by page; the fleet by state, with who is overdue.
    """
    rig.register(1)
    rig.register(2)
    for name in ("a", "b", "c"):
        rig.create(BLUE, name=name)
    first = rig.wire.ok("ListInstances", ins.ListInstancesRequest(parent="projects/demo", page_size=2))
    rest = rig.wire.ok(
        "ListInstances",
        ins.ListInstancesRequest(parent="projects/demo", page_size=2, page_token=first.next_page_token),
    )
    fleet = rig.wire.ok("SummarizeFleet", srv.SummarizeFleetRequest(), caller=admin())

    assert [one.name[-1] for one in (*first.instances, *rest.instances)] == ["a", "b", "c"]
    assert rest.next_page_token == ""
    assert (fleet.total_count, [(one.state, one.count) for one in fleet.states]) == (
        2,
        [(srv.ServerStatus.STATE_ENROLLED, 2)],
    )
    assert [
        one.name
        for one in rig.wire.ok("ListInstances", ins.ListInstancesRequest(parent="projects/-"), caller=admin()).instances
    ]


def test_a_reader_changes_nothing_and_a_member_no_servers(rig: Rig) -> None:
    """
    Roles: a reader reads; servers are the administrator's.
    """
    rig.active(BLUE)
    rig.wire.ok("GetInstance", ins.GetInstanceRequest(name=WEB), caller=reader())

    assert rig.wire.call("StopInstance", ins.StopInstanceRequest(name=WEB), caller=reader()).code is (
        grpc.StatusCode.PERMISSION_DENIED
    )
    for method, request in (
        ("ProvideServer", srv.ProvideServerRequest(name=SERVER)),
        ("QuarantineServer", srv.QuarantineServerRequest(name=SERVER, reason="x")),
        ("DiagnoseServer", srv.DiagnoseServerRequest(name=SERVER)),
    ):
        assert rig.wire.call(method, request, caller=member()).code is grpc.StatusCode.PERMISSION_DENIED


def test_secrets_do_not_come_back(rig: Rig) -> None:
    """
    User data goes in and is in no answer, no event and no operation.
    """
    rig.available()
    request = create_request(BLUE)
    request.instance.user_data = b"#cloud-config hunter2"
    operation = rig.ok("CreateInstance", request)
    rig.settle()

    assert b"hunter2" not in rig.wire.ok("GetInstance", ins.GetInstanceRequest(name=WEB)).SerializeToString()
    assert b"hunter2" not in rig.operation(operation)[0].SerializeToString()
    assert all(b"hunter2" not in event.SerializeToString() for event in rig.events())
    stored = rig.database.read(lambda tx: tx.one("SELECT user_data FROM instances"))
    assert stored is not None
    assert b"hunter2" not in bytes(stored["user_data"])
