# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import uuid
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc import error_details_pb2

from bms.inventory.v1 import pool_pb2, server_pb2
from tests.inventory.rig import HOLDER, LIFECYCLE, PASSWORD, USERNAME, Rig, port, server
from tests.support.wire import detail, fields, reason, remedy


def update(**said: Any) -> server_pb2.UpdateServerRequest:
    mask = said.pop("mask", ())
    return server_pb2.UpdateServerRequest(server=server_pb2.Server(**said), update_mask=FieldMask(paths=mask))


def test_created_is_what_was_said_and_enrolled(rig: Rig) -> None:
    """
    A new server is what was said, in canonical form, and may not be taken: it is enrolled.
    """
    made = rig.create(1, ports=[port(1, mac_address="52-54-00-AA-BB-CC")])

    assert made.name.startswith("servers/")
    assert "52:54:00:aa:bb:cc" == made.ports[0].mac_address
    assert f"{made.name}/ports/525400aabbcc" == made.ports[0].name
    assert (False, "ENROLLED", "") == (made.pool.available, made.pool.unavailable_reason, made.pool.reserved_by)
    assert made.bmc.has_credentials
    assert rig.get(made.name) == made


def test_a_given_uuid_is_kept_and_taken_once(rig: Rig) -> None:
    """
    The UUID is the caller's if he gives one; a second server with it is refused.
    """
    identity = str(uuid.uuid4())

    assert f"servers/{identity}" == rig.create(1, server_id=identity).name

    request = server_pb2.CreateServerRequest(server=server(2), server_id=identity)
    assert grpc.StatusCode.ALREADY_EXISTS is rig.refused("CreateServer", request).code
    request.server_id = "Not-A-UUID"
    assert ["server_id"] == fields(rig.refused("CreateServer", request).status)


@pytest.mark.parametrize(
    ("clash", "kind"),
    [
        ({"display_name": "rack1-node1"}, "name"),
        ({"ports": [port(1)]}, "mac"),
        ({"ports": [port(2, switch_name="leaf-1", switch_port="xe-0/0/1")]}, "link"),
        ({"bmc": server_pb2.Bmc(address="10.0.0.2", port=443)}, "bmc"),
    ],
)
def test_what_belongs_to_one_server_is_refused_to_another(rig: Rig, clash: dict[str, Any], kind: str) -> None:
    """
    Name, MAC address, switch port and BMC are one server's; the refusal names which server, and nothing is written.
    """
    first = rig.create(1)
    before = rig.types()

    reply = rig.refused("CreateServer", server_pb2.CreateServerRequest(server=server(2, **clash)))

    assert (grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS") == (reply.code, reason(reply.status))
    assert first.name in reply.status.message
    assert first.name in remedy(reply.status)
    assert before == rig.types()
    rig.create(2)


def test_all_faults_are_told_at_once(rig: Rig) -> None:
    """
    Every malformed field of a server is named in one refusal.
    """
    bad = server(
        1,
        display_name=" x",
        bmc=server_pb2.Bmc(address="300.1.2.3", port=70000, driver="No Driver"),
        ports=[port(1, mac_address="zz"), port(1, 1, switch_port=""), port(1, 2, port_group="bond9")],
        labels={"-": "x"},
        resource_class="a\nb",
        properties=server_pb2.HardwareProperties(cpus=-1),
    )

    reply = rig.refused("CreateServer", server_pb2.CreateServerRequest(server=bad))

    assert {
        "server.display_name",
        "server.bmc.address",
        "server.bmc.port",
        "server.bmc.driver",
        "server.ports[0].mac_address",
        "server.ports[1].switch_port",
        "server.ports[2].port_group",
        "server.labels",
        "server.resource_class",
        "server.properties.cpus",
    } == set(fields(reply.status))
    assert [] == rig.events()


def test_update_takes_what_the_mask_names(rig: Rig) -> None:
    """
    Fields in the mask change, also to empty; others stay, and the login that is not given stays too.
    """
    made = rig.create(1)

    changed = rig.ok("UpdateServer", update(name=made.name, labels={}, mask=["labels", "location.rack"]))

    assert {} == dict(changed.labels)
    assert "" == changed.location.rack
    assert "s1" == changed.location.site
    assert made.etag != changed.etag
    assert "compute" == changed.resource_class
    answer = rig.ok("GetServerCredentials", pool_pb2.GetServerCredentialsRequest(server=made.name), LIFECYCLE)
    assert (USERNAME, PASSWORD) == (answer.username, answer.password)


def test_update_that_changes_nothing_tells_nothing(rig: Rig) -> None:
    """
    An update to what is stored leaves etag and log as they are.
    """
    made = rig.create(1)

    same = rig.ok("UpdateServer", update(name=made.name, labels={"env": "test"}, mask=["labels"]))

    assert made == same
    assert ["server.created"] == rig.types()


def test_password_alone_can_be_rotated(rig: Rig) -> None:
    """
    A new password replaces the stored one and keeps the user name; the event says that it changed, not to what.
    """
    made = rig.create(1)

    rig.ok("UpdateServer", update(name=made.name, bmc=server_pb2.Bmc(password="n3w-one"), mask=["bmc.password"]))

    answer = rig.ok("GetServerCredentials", pool_pb2.GetServerCredentialsRequest(server=made.name), LIFECYCLE)
    assert (USERNAME, "n3w-one") == (answer.username, answer.password)
    assert {"fields": "bmc.credentials", "bmc.credentials": "changed"} == dict(rig.events()[-1].body.facts)


def test_stale_etag_is_aborted(rig: Rig) -> None:
    """
    Whoever saw an older version changes and deletes nothing.
    """
    made = rig.create(1)
    rig.report(made.name, 1, available=True)

    reply = rig.refused("UpdateServer", update(name=made.name, etag=made.etag, description="x", mask=["description"]))
    assert (grpc.StatusCode.ABORTED, "STALE") == (reply.code, reason(reply.status))
    reply = rig.refused("DeleteServer", server_pb2.DeleteServerRequest(name=made.name, etag=made.etag))
    assert grpc.StatusCode.ABORTED is reply.code


def test_ports_and_bmc_of_a_held_server_stand(rig: Rig) -> None:
    """
    While an instance holds a server its ports and BMC cannot change; its labels and its login can.
    """
    rig.flavor()
    made = rig.available(1)
    rig.reserve()

    for said in ({"ports": [port(9)], "mask": ["ports"]}, {"unmanaged": True, "mask": ["unmanaged"]}):
        reply = rig.refused("UpdateServer", update(name=made.name, **said))
        assert (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE") == (reply.code, reason(reply.status))
        assert HOLDER in remedy(reply.status)
    rig.ok("UpdateServer", update(name=made.name, labels={"a": "b"}, mask=["labels"]))
    rig.ok("UpdateServer", update(name=made.name, bmc=server_pb2.Bmc(password="x"), mask=["bmc.password"]))


def test_unknown_path_in_the_mask_is_refused(rig: Rig) -> None:
    """
    A mask that names no field changes nothing; output-only fields in it are left alone.
    """
    made = rig.create(1)

    reply = rig.refused("UpdateServer", update(name=made.name, mask=["labels", "colour", "bmc.adress"]))
    assert ["update_mask.paths[1]", "update_mask.paths[2]"] == fields(reply.status)
    assert made == rig.ok("UpdateServer", update(name=made.name, mask=["etag", "disks", "pool.available"]))


def test_held_server_cannot_be_deleted(rig: Rig) -> None:
    """
    Deleting a server that an instance holds is refused with the instance's name and what to do.
    """
    rig.flavor()
    made = rig.available(1)
    rig.reserve()
    rig.report(made.name, 2, unavailable_reason="IN_USE", held_by=HOLDER)

    reply = rig.refused("DeleteServer", server_pb2.DeleteServerRequest(name=made.name))

    assert (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE") == (reply.code, reason(reply.status))
    assert HOLDER in reply.status.message
    assert f"bms instance delete {HOLDER}" in remedy(reply.status)
    failure = detail(reply.status, error_details_pb2.PreconditionFailure)
    assert failure is not None
    assert made.name == failure.violations[0].subject


def test_a_quarantined_server_that_nobody_holds_can_be_deleted(rig: Rig) -> None:
    """
    A server whose instance is gone and that never came back to the pool is not bound to inventory for ever.
    """
    rig.flavor()
    made = rig.available(1)
    rig.reserve()
    rig.report(made.name, 2, unavailable_reason="IN_USE", held_by=HOLDER)
    rig.report(made.name, 3, unavailable_reason="QUARANTINED")
    assert rig.get(made.name).pool.reserved_by == HOLDER

    operation = rig.ok("DeleteServer", server_pb2.DeleteServerRequest(name=made.name))

    rig.report(made.name, 4, closed=True)
    assert rig.operation(operation.name).done


def test_a_deletion_ends_with_lifecycles_last_report(rig: Rig) -> None:
    """
    Deleting reserves the server; it goes, and the operation is done, when lifecycle has closed its stream.
    """
    rig.flavor()
    made = rig.available(1)

    operation = rig.ok("DeleteServer", server_pb2.DeleteServerRequest(name=made.name))

    assert not operation.done
    found = rig.get(made.name)
    assert (operation.name, "DELETING") == (found.pool.reserved_by, found.pool.unavailable_reason)
    assert found.HasField("delete_time")
    assert operation.name == rig.ok("DeleteServer", server_pb2.DeleteServerRequest(name=made.name)).name
    assert not rig.report(made.name, 2, available=True).pool.available
    assert (
        grpc.StatusCode.RESOURCE_EXHAUSTED
        is rig.refused(
            "ReserveServers", pool_pb2.ReserveServersRequest(holder=HOLDER, flavor="flavors/any"), LIFECYCLE
        ).code
    )

    answer = rig.report(made.name, 3, closed=True)

    assert answer.applied
    assert not answer.HasField("pool")
    done = rig.operation(operation.name)
    assert done.done
    metadata = server_pb2.DeleteServerMetadata()
    done.metadata.Unpack(metadata)
    assert (made.name, "done") == (metadata.server, metadata.stage)
    assert grpc.StatusCode.NOT_FOUND is rig.refused("GetServer", server_pb2.GetServerRequest(name=made.name)).code
    assert ["server.created", "server.pool_changed", "server.deleting", "server.deleted"] == rig.types(made.name)
    rig.create(1)  # its name, addresses and links are free again


def test_closing_what_nobody_deletes_is_refused(rig: Rig) -> None:
    """
    A report that closes a server counts only after somebody asked for its deletion.
    """
    made = rig.create(1)

    request = pool_pb2.ReportServerRequest(server=made.name, state_version=1, closed=True)
    assert "WRONG_STATE" == reason(rig.refused("ReportServer", request, LIFECYCLE).status)
    rig.get(made.name)


def test_a_second_life_goes_on_with_the_sequence_of_the_first(rig: Rig) -> None:
    """
    A server registered again under its old UUID continues the stream without a gap.
    """
    made = rig.create(1)
    rig.ok("DeleteServer", server_pb2.DeleteServerRequest(name=made.name))
    rig.report(made.name, 1, closed=True)

    again = rig.create(1, server_id=made.name.removeprefix("servers/"))

    assert [1, 2, 3, 4] == [event.header.sequence for event in rig.events(made.name)]
    assert made.etag != again.etag


def test_pages_go_by_name_and_end(rig: Rig) -> None:
    """
    Servers are listed by name, each once, whatever the size of the page.
    """
    for number in (3, 1, 2, 12):
        rig.create(number)
    names: list[str] = []
    token = ""
    while True:
        page = rig.ok("ListServers", server_pb2.ListServersRequest(page_size=3, page_token=token))
        names += [each.display_name for each in page.servers]
        token = page.next_page_token
        if not token:
            break

    assert ["rack1-node1", "rack1-node12", "rack1-node2", "rack1-node3"] == names


@pytest.mark.parametrize(
    ("filter_", "expected"),
    [
        ("display_name = rack1-node2", [2]),
        ("resource_class = storage", [3]),
        ("resource_class != storage", [1, 2]),
        ("node_type = ovs-compute", [2]),
        ("node_type != NODE_TYPE_BAREMETAL", [2]),
        ("rack = R7 AND site = s1", [3]),
        ('manufacturer = "ACME Inc."', [2]),
        ("bmc_address = 10.0.0.2", [1]),
        ("mac_address = 52-54-00-00-02-00", [2]),
        ('mac_address != "52:54:00:00:02:01"', [1, 3]),
        ("available = true", [1]),
        ("available = false", [2, 3]),
        ("unavailable_reason = ENROLLED", [2, 3]),
        ("labels.env = prod", [3]),
        ("labels.env != prod", [1, 2]),
        ("labels.nothing != x", [1, 2, 3]),
        ("reserved_by = nobody", []),
    ],
)
def test_filters(rig: Rig, filter_: str, expected: list[int]) -> None:
    """
    Each field of the filter lets through what it says.
    """
    rig.available(1)
    rig.create(
        2,
        node_type=server_pb2.NODE_TYPE_OVS_COMPUTE,
        properties=server_pb2.HardwareProperties(manufacturer="Acme Inc."),
    )
    rig.create(3, resource_class="storage", location=server_pb2.Location(site="s1", rack="R7"), labels={"env": "prod"})

    found = rig.ok("ListServers", server_pb2.ListServersRequest(filter=filter_))

    assert [f"rack1-node{number}" for number in expected] == [each.display_name for each in found.servers]


@pytest.mark.parametrize(
    "filter_", ["colour = red", "available = maybe", "mac_address = x", "node_type = toaster", "rack R1"]
)
def test_filters_that_make_no_sense_are_refused(rig: Rig, filter_: str) -> None:
    """
    A filter that cannot be true of anything is a fault of the filter.
    """
    assert ["filter"] == fields(rig.refused("ListServers", server_pb2.ListServersRequest(filter=filter_)).status)


def test_validate_only_writes_nothing(rig: Rig) -> None:
    """
    A rehearsal answers what would be answered, and leaves no server, key, login or event behind.
    """
    request = server_pb2.CreateServerRequest(server=server(1), validate_only=True)

    assert "rack1-node1" == rig.ok("CreateServer", request).display_name
    assert [] == rig.events()
    made = rig.create(1)
    rig.ok("DeleteServer", server_pb2.DeleteServerRequest(name=made.name, validate_only=True))
    assert made == rig.get(made.name)


def test_the_same_request_twice_registers_one_server(rig: Rig) -> None:
    """
    A repeated request_id gets the first answer; with another body it is refused.
    """
    request = server_pb2.CreateServerRequest(server=server(1), request_id=str(uuid.uuid4()))
    first = rig.ok("CreateServer", request)

    assert first == rig.ok("CreateServer", request)
    request.server.display_name = "other"
    assert ["request_id"] == fields(rig.refused("CreateServer", request).status)
