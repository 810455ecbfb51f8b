# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from google.protobuf.field_mask_pb2 import FieldMask

from bms.event.v1 import event_pb2
from bms.inventory.v1 import inventory_service_pb2_grpc, pool_pb2, server_pb2
from services.inventory.servicer import is_private
from services.runtime.secrets import Vault
from tests.inventory.rig import ADMIN, AUDITOR, DEMO, LIFECYCLE, PASSWORD, USERNAME, Rig, server
from tests.support.loopback import running
from tests.support.stores import MakeDatabase


def test_a_login_goes_in_and_never_comes_out(rig: Rig) -> None:
    """
    Through create, update, import, lists, events, refusals and logs: only one RPC ever answers user name or password.
    """
    said: list[bytes] = []

    def call(method: str, request: Any) -> Any:
        reply = rig.wire.call(method, request)
        said.append(reply.message.SerializeToString() if reply.message else reply.status.SerializeToString())
        return reply.message

    content = f"nodes:\n- {{name: f, driver_info: {{address: 10.9.9.9, username: {USERNAME}, password: {PASSWORD}}}}}\n"
    with structlog.testing.capture_logs() as logs:
        made = call("CreateServer", server_pb2.CreateServerRequest(server=server(1)))
        call("CreateServer", server_pb2.CreateServerRequest(server=server(1)))
        call("CreateServer", server_pb2.CreateServerRequest(server=server(2, display_name="\n")))
        changed = server_pb2.Server(name=made.name, bmc=server_pb2.Bmc(username=USERNAME, password=PASSWORD + "2"))
        call("UpdateServer", server_pb2.UpdateServerRequest(server=changed))
        changed.bmc.password = PASSWORD + "\n"
        mask = FieldMask(paths=["bmc.password"])
        assert call("UpdateServer", server_pb2.UpdateServerRequest(server=changed, update_mask=mask)) is None
        call("ImportServers", server_pb2.ImportServersRequest(content=content.encode()))
        call("ImportServers", server_pb2.ImportServersRequest(content=content.replace("f,", "g,").encode()))
        call("GetServer", server_pb2.GetServerRequest(name=made.name))
        call("ListServers", server_pb2.ListServersRequest())
        call("ListEvents", event_pb2.ListEventsRequest())
        call("DeleteServer", server_pb2.DeleteServerRequest(name=made.name))
        rig.ok("GetServerCredentials", pool_pb2.GetServerCredentialsRequest(server=made.name), LIFECYCLE)
    said += [event.SerializeToString() for event in rig.events()]

    assert len(said) > 12
    everything = b"\n".join([*said, repr(logs).encode()])
    assert USERNAME.encode() not in everything
    assert PASSWORD.encode() not in everything


def test_a_login_lies_sealed(make_database: MakeDatabase, tmp_path: Path, database_kind: str) -> None:
    """
    At rest a login is neither in clear nor of use for another server.
    """
    database = make_database("services.inventory")
    rig = Rig(database, Vault(tmp_path / "data.key"))
    rig.create(1)

    (row,) = database.read(lambda tx: tx.all("SELECT server, sealed FROM server_logins"))
    assert PASSWORD.encode() not in bytes(row["sealed"])
    assert PASSWORD.encode() in rig.vault.open(bytes(row["sealed"]), f"servers/{row['server']}/bmc")
    if database_kind == "sqlite":
        for file in tmp_path.glob("*.sqlite*"):
            assert PASSWORD.encode() not in file.read_bytes()


@pytest.mark.parametrize("caller", [ADMIN, AUDITOR, DEMO])
def test_credentials_are_for_services(rig: Rig, caller: Any) -> None:
    """
    Not even the administrator reads a BMC's login.
    """
    made = rig.create(1)
    request = pool_pb2.GetServerCredentialsRequest(server=made.name)

    assert rig.refused("GetServerCredentials", request, caller).code is grpc.StatusCode.PERMISSION_DENIED


def test_credentials_need_a_private_connection(make_database: MakeDatabase, tmp_path: Path) -> None:
    """
    Over a connection from elsewhere without certificates not even a service gets a login.
    """
    rig = Rig(make_database("services.inventory"), Vault(tmp_path / "data.key"), private=False)
    made = rig.create(1)

    reply = rig.refused("GetServerCredentials", pool_pb2.GetServerCredentialsRequest(server=made.name), LIFECYCLE)
    assert reply.code is grpc.StatusCode.PERMISSION_DENIED


def test_a_server_without_a_login_has_none_to_give(rig: Rig) -> None:
    """
    Where no login is stored the answer says how to store one.
    """
    made = rig.create(1, bmc=server_pb2.Bmc(address="10.0.0.1"))

    assert not made.bmc.has_credentials
    reply = rig.refused("GetServerCredentials", pool_pb2.GetServerCredentialsRequest(server=made.name), LIFECYCLE)
    assert reply.code is grpc.StatusCode.FAILED_PRECONDITION


class Context:
    """A call's connection, as gRPC tells it."""

    def __init__(self, peer: str, identities: list[bytes] | None = None) -> None:
        self._peer, self._identities = peer, identities

    def peer(self) -> str:
        return self._peer

    def peer_identities(self) -> list[bytes] | None:
        return self._identities


@pytest.mark.parametrize(
    ("context", "private"),
    [
        (Context("ipv4:127.0.0.1:5000"), True),
        (Context("ipv6:%5B::1%5D:5000"), True),
        (Context("ipv6:[::1]:5000"), True),
        (Context("unix:"), True),
        (Context("ipv4:10.0.0.1:5000"), False),
        (Context("ipv4:10.0.0.1:5000", [b"lifecycle"]), True),
    ],
)
def test_what_is_private(context: Any, private: bool) -> None:
    """
    This machine's loopback, or certificates on both sides.
    """
    assert is_private(context) is private


def test_over_a_genuine_loopback_connection(make_database: MakeDatabase, tmp_path: Path) -> None:
    """
    What gRPC itself says of a loopback connection is taken as one.
    """
    rig = Rig(make_database("services.inventory"), Vault(tmp_path / "data.key"))
    made = rig.create(1)
    rig.servicer._private = is_private
    add = inventory_service_pb2_grpc.add_InventoryServiceServicer_to_server

    with running([(add, rig.servicer)], LIFECYCLE) as server_, grpc.insecure_channel(server_.address) as channel:
        stub = inventory_service_pb2_grpc.InventoryServiceStub(channel)
        answer = stub.GetServerCredentials(
            pool_pb2.GetServerCredentialsRequest(server=made.name),
            metadata=(("authorization", "Bearer good"),),
            timeout=10,
        )

    assert (answer.username, answer.password) == (USERNAME, PASSWORD)
