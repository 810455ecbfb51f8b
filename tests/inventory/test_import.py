# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import grpc
import pytest

from bms.inventory.v1 import pool_pb2, server_pb2
from tests.inventory.rig import HOLDER, LIFECYCLE, Rig, port
from tests.support.wire import fields, reason, remedy

CREATE, UPDATE, UNCHANGED = (
    server_pb2.ImportedServer.ACTION_CREATE,
    server_pb2.ImportedServer.ACTION_UPDATE,
    server_pb2.ImportedServer.ACTION_UNCHANGED,
)


def row(number: int, **said: str) -> str:
    """A node with one port, unlike every other *number*."""
    more = "".join(f", {key}: {value}" for key, value in said.items() if key not in {"mac", "address", "link"})
    mac = said.get("mac", f"52:54:00:00:01:{number:02x}")
    address = said.get("address", f"10.0.0.{number}")
    link = said.get("link", f"xe-{number}")
    return (
        f"- {{name: n{number},"
        f" driver_info: {{ipmi_address: {address}, ipmi_username: ADMIN, ipmi_password: pw{number}}},"
        f" ports: [{{mac_address: '{mac}', switch_name: leaf, port_name: {link}, pxe_enabled: true}}]{more}}}\n"
    )


def one_of_many(at: int) -> str:
    """Node *at* of up to 65,536."""
    high, low = at >> 8, at & 255
    said = {"mac": f"52:54:00:01:{high:02x}:{low:02x}", "address": f"10.1.{high}.{low}", "link": f"p{at}"}
    return row(1, **said).replace("name: n1,", f"name: n{at},")


def file(*rows: str) -> str:
    """A file of these nodes."""
    return "nodes:\n" + "".join(rows)


def importing(content: str) -> server_pb2.ImportServersRequest:
    """The request to import *content*."""
    return server_pb2.ImportServersRequest(content=content.encode())


def test_imported_servers_are_enrolled(rig: Rig) -> None:
    """
    Importing registers what the file says and touches no hardware: nobody may take the servers yet.
    """
    answer = rig.load(file(row(1), row(2, node_type="esxi"), row(3, unmanaged="true")))

    assert [(each.row, each.display_name, each.action, each.can_be_provided) for each in answer.servers] == [
        (1, "n1", CREATE, True),
        (2, "n2", CREATE, False),
        (3, "n3", CREATE, False),
    ]
    assert answer.created_count == 3
    found = rig.get(answer.servers[0].server)
    assert found.pool.unavailable_reason == "ENROLLED"
    assert found.bmc.has_credentials
    assert rig.types() == ["server.created"] * 3


def test_the_same_file_twice_changes_nothing(rig: Rig) -> None:
    """
    A second import of a file leaves every server alone, secrets too, and no event.
    """
    rig.load(file(row(1), row(2)))

    answer = rig.load(file(row(1), row(2)))

    assert [each.action for each in answer.servers] == [UNCHANGED, UNCHANGED]
    assert answer.unchanged_count == 2
    assert len(rig.events()) == 2


def test_inspection_does_not_make_a_file_differ(rig: Rig) -> None:
    """
    What inspection found is not what somebody declared: the same file again is still the same.
    """
    content = file(row(1, properties="{cpus: 16}"))
    name = rig.load(content).servers[0].server
    rig.report(name, 1, properties=server_pb2.HardwareProperties(cpus=32, model="R650"))

    assert rig.load(content).servers[0].action == UNCHANGED
    assert (rig.get(name).properties.cpus, rig.get(name).properties.model) == (32, "R650")


def test_what_differs_is_changed_and_told(rig: Rig) -> None:
    """
    A server that differs becomes what the file says; what the file does not mention stays; a new password counts.
    """
    name = rig.load(file(row(1, labels="{a: b}", location="{rack: R1}"))).servers[0].server

    changed = file(row(1, location="{rack: R2}").replace("pw1", "new"))
    answer = rig.load(changed)

    assert answer.servers[0].action == UPDATE
    assert list(answer.servers[0].changed_fields) == ["location.rack", "bmc.credentials"]
    found = rig.get(name)
    assert (found.location.rack, dict(found.labels)) == ("R2", {"a": "b"})
    login = rig.ok("GetServerCredentials", pool_pb2.GetServerCredentialsRequest(server=name), LIFECYCLE)
    assert (login.username, login.password) == ("ADMIN", "new")
    assert rig.load(changed).unchanged_count == 1


def test_a_plan_writes_nothing(rig: Rig) -> None:
    """
    The dry run answers what would happen, with no name for servers that are not there yet.
    """
    rig.load(file(row(1)))

    plan = rig.load(file(row(1, description="x"), row(2)), validate_only=True)

    assert [(each.action, bool(each.server)) for each in plan.servers] == [(UPDATE, True), (CREATE, False)]
    assert len(rig.ok("ListServers", server_pb2.ListServersRequest()).servers) == 1
    assert len(rig.events()) == 1


def test_all_or_nothing(rig: Rig) -> None:
    """
    One fault in one row, and no row is taken; the refusal names row and column, and how to see every fault.
    """
    reply = rig.refused("ImportServers", importing(file(row(1), row(2, mac="zz"), row(3))))

    assert (reply.code, reason(reply.status)) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELDS")
    assert fields(reply.status) == ["rows[2].ports[0].mac_address"]
    assert "row 2, column mac_address" in reply.status.message
    assert "report_faults" in remedy(reply.status)
    assert rig.events() == []
    rig.load(file(row(1), row(2), row(3)))


def test_every_fault_can_be_had(rig: Rig) -> None:
    """
    With report_faults the response lists all faults, more than a refusal has room for, and nothing is written.
    """
    content = file(*(row(number, mac="zz") for number in range(1, 201)))

    answer = rig.load(content, report_faults=True)

    assert (answer.fault_count, len(answer.faults)) == (200, 200)
    assert [fault.row for fault in answer.faults] == list(range(1, 201))
    assert (answer.faults[0].column, answer.faults[0].field) == ("mac_address", "rows[1].ports[0].mac_address")
    assert rig.events() == []


@pytest.mark.parametrize(
    ("said", "path"),
    [
        ({"mac": "52:54:00:00:01:01"}, "rows[1].ports[0].mac_address"),
        ({"address": "10.0.0.1"}, "rows[1].bmc.address"),
        ({"link": "xe-1"}, "rows[1].ports[0].switch_port"),
    ],
)
def test_clashes_with_servers_on_record(rig: Rig, said: dict[str, str], path: str) -> None:
    """
    What belongs to a server on record is refused to a new row, which is told whose it is.
    """
    name = rig.load(file(row(1))).servers[0].server

    reply = rig.refused("ImportServers", importing(file(row(2, **said))))

    assert fields(reply.status) == [path]
    assert name in reply.status.message
    assert "n1" in reply.status.message


def test_two_servers_may_swap_a_cable(rig: Rig) -> None:
    """
    What one server of the file gives up another may take, in the same import.
    """
    rig.load(file(row(1), row(2)))

    answer = rig.load(file(row(1, link="xe-2"), row(2, link="xe-1")))

    assert answer.updated_count == 2
    found = rig.ok("ListServers", server_pb2.ListServersRequest()).servers
    assert [each.ports[0].switch_port for each in found] == ["xe-2", "xe-1"]
    rig.refused("CreateServer", server_pb2.CreateServerRequest(server=server_pb2.Server(ports=[port()])))


def test_a_held_server_keeps_its_ports(rig: Rig) -> None:
    """
    A file that moves the ports of a server in use is refused with the row and the instance; its labels may change.
    """
    name = rig.load(file(row(1))).servers[0].server
    rig.report(name, 1, available=True)
    rig.flavor()
    rig.reserve()

    reply = rig.refused("ImportServers", importing(file(row(1, link="xe-9"))))

    assert fields(reply.status) == ["rows[1].ports"]
    assert HOLDER in reply.status.message
    assert rig.load(file(row(1, labels="{a: b}"))).updated_count == 1


def test_a_server_on_its_way_out_is_not_imported(rig: Rig) -> None:
    """
    A row that names a server being deleted is refused until it is gone.
    """
    name = rig.load(file(row(1))).servers[0].server
    rig.ok("DeleteServer", server_pb2.DeleteServerRequest(name=name))

    assert "being deleted" in rig.refused("ImportServers", importing(file(row(1)))).status.message
    rig.report(name, 1, closed=True)
    assert rig.load(file(row(1))).created_count == 1


def test_a_large_file_says_the_limit(rig: Rig) -> None:
    """
    A 50 MB file is refused with the limit, before anything is read.
    """
    reply = rig.refused("ImportServers", server_pb2.ImportServersRequest(content=b"x" * 50_000_000))

    assert (reply.code, reason(reply.status)) == (grpc.StatusCode.INVALID_ARGUMENT, "TOO_LARGE")
    assert "16 MiB" in reply.status.message


@pytest.mark.slow
def test_ten_thousand_servers_in_one_import(rig: Rig) -> None:
    """
    The largest file there may be is one transaction, and its servers are found again by pages.
    """
    content = file(*(one_of_many(at) for at in range(10_000)))

    assert rig.load(content).created_count == 10_000
    token, count = "", 0
    while True:
        page = rig.ok("ListServers", server_pb2.ListServersRequest(page_size=1000, page_token=token))
        count, token = count + len(page.servers), page.next_page_token
        if not token:
            break
    assert count == 10_000
