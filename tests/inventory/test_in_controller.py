# SPDX-License-Identifier: Apache-2.0
"""Servers whose controller knows more than we do: logins it keeps, UUIDs it gave, its words for disks and networks."""

from __future__ import annotations

import json

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from bms.inventory.v1 import pool_pb2, server_pb2
from tests.inventory.rig import LIFECYCLE, PASSWORD, USERNAME, Rig
from tests.support.wire import fields, reason

UUID = "0000000a-0000-4000-8000-000000000000"
KEPT = server_pb2.Bmc(kept_by_controller=True, driver="redfish")


def credentials(name: str) -> pool_pb2.GetServerCredentialsRequest:
    return pool_pb2.GetServerCredentialsRequest(server=name)


def test_a_login_that_the_controller_keeps_needs_no_address(rig: Rig) -> None:
    """
    Nothing is stored, lifecycle is told so; two such servers share no address that is none.
    """
    made = [rig.create(number, bmc=KEPT) for number in (1, 2)]
    told = rig.ok("GetServerCredentials", credentials(made[0].name), LIFECYCLE)

    assert [(each.bmc.kept_by_controller, each.bmc.has_credentials) for each in made] == [(True, False)] * 2
    assert (told.kept_by_controller, told.address, told.username, told.password) == (True, "", "", "")


def test_a_login_is_not_given_to_who_keeps_his_own(rig: Rig) -> None:
    """
    It would reach nobody: refused, without repeating it; without the mark the address is required as ever.
    """
    both = server_pb2.Bmc(kept_by_controller=True, username=USERNAME, password=PASSWORD)
    for bmc, field in ((both, "server.bmc.kept_by_controller"), (server_pb2.Bmc(), "server.bmc.address")):
        record = server_pb2.Server(display_name="n", bmc=bmc)
        refused = rig.refused("CreateServer", server_pb2.CreateServerRequest(server=record))
        assert grpc.StatusCode.INVALID_ARGUMENT.value[0] == refused.status.code
        assert fields(refused.status) == [field]
        assert PASSWORD not in str(refused.status)


def test_it_can_be_taken_back(rig: Rig) -> None:
    """
    Once address and login are stored here, lifecycle is given them.
    """
    made = rig.create(1, bmc=KEPT)
    bmc = server_pb2.Bmc(address="10.0.0.9", username=USERNAME, password=PASSWORD)
    paths = [f"bmc.{each}" for each in ("address", "username", "password", "kept_by_controller")]
    request = server_pb2.UpdateServerRequest(
        server=server_pb2.Server(name=made.name, bmc=bmc), update_mask=FieldMask(paths=paths)
    )
    changed = rig.ok("UpdateServer", request)
    told = rig.ok("GetServerCredentials", credentials(made.name), LIFECYCLE)

    assert (changed.bmc.kept_by_controller, changed.bmc.has_credentials) == (False, True)
    assert (told.address, told.password, told.kept_by_controller) == ("10.0.0.9", PASSWORD, False)


def test_root_disks_and_physical_networks(rig: Rig) -> None:
    """
    Kept as they are said; a hint that Ironic does not know is refused.
    """
    plugged = server_pb2.Port(mac_address="52:54:00:00:00:01", physical_network="phys")
    made = rig.create(1, root_device_hints={"serial": "S1", "size": ">= 400"}, ports=[plugged])
    found = rig.get(made.name)
    wrong = server_pb2.Server(display_name="n", bmc=KEPT, root_device_hints={"colour": "red"})
    refused = rig.refused("CreateServer", server_pb2.CreateServerRequest(server=wrong))

    assert dict(found.root_device_hints) == {"serial": "S1", "size": ">= 400"}
    assert found.ports[0].physical_network == "phys"
    assert fields(refused.status) == ["server.root_device_hints"]


NODE = {
    "name": "n1", "uuid": UUID, "driver": "redfish", "bmc_kept_by_controller": "true",
    "properties": {"root_device": {"wwn": "0x5"}},
    "ports": [{"mac_address": "52:54:00:00:00:01", "physical_network": "phys"}],
}  # fmt: skip
CSV = (
    "name,uuid,bmc_driver,bmc_kept_by_controller,root_device,mac_address,physical_network\n"
    f"n1,{UUID},redfish,yes,wwn=0x5,52:54:00:00:00:01,phys\n"
)


@pytest.mark.parametrize("content", [json.dumps({"nodes": [NODE]}), CSV])
def test_files_say_the_same(rig: Rig, content: str) -> None:
    """
    Both forms have words for all of it; the server gets the file's UUID, and the same file again changes nothing.
    """
    first, again = rig.load(content), rig.load(content)
    found = rig.get(f"servers/{UUID}")

    assert (first.created_count, again.unchanged_count) == (1, 1)
    assert (found.bmc.kept_by_controller, found.bmc.address) == (True, "")
    assert dict(found.root_device_hints) == {"wwn": "0x5"}
    assert found.ports[0].physical_network == "phys"


@pytest.mark.parametrize("uuid", ["0000000b-0000-4000-8000-000000000000", "no-uuid"])
def test_a_uuid_is_not_changed(rig: Rig, uuid: str) -> None:
    """
    A server on record keeps its own, and what is none is told with its row.
    """
    rig.load(json.dumps({"nodes": [NODE]}))
    other = json.dumps({"nodes": [{**NODE, "uuid": uuid}]})
    refused = rig.refused("ImportServers", server_pb2.ImportServersRequest(content=other.encode()))

    assert reason(refused.status) == "INVALID_FIELDS"
    assert fields(refused.status) == ["rows[1].uuid"]
