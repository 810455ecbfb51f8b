# SPDX-License-Identifier: Apache-2.0
"""What audits ask of the other services, and what they make of the answers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from bms.inventory.v1 import server_pb2
from bms.ipam.v1 import lease_pb2
from bms.ipam.v1 import leftover_pb2 as left_in_ipam
from bms.ipam.v1.lease_pb2 import AddressLease, Owner
from bms.network.v1 import attachment_pb2, network_pb2
from bms.network.v1 import leftover_pb2 as left_at_fabric
from services.kernel.errors import NotFound, PeerUnavailable
from services.lifecycle.audits.seen import AttachmentSeen, LeaseSeen, LeftoverSeen, PoolSeen
from services.lifecycle.audits.stores import StoreClients
from services.lifecycle.domain.server import PortClass, Tag
from tests.lifecycle.test_clients import BLUE, LEASE, SERVER, UUID, WEB, Other
from tests.support.clocks import START

PORT = f"{SERVER}/ports/0c0000000001"

AnyLeftover = left_at_fabric.Leftover | left_in_ipam.Leftover
PAGES: dict[type[AnyLeftover], Any] = {
    left_at_fabric.Leftover: left_at_fabric.ListLeftoversResponse,
    left_in_ipam.Leftover: left_in_ipam.ListLeftoversResponse,
}


class Others:
    """The three services, and the clients that speak to them."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.inventory, self.ipam, self.network = (Other(name, pool) for name in ("inventory", "ipam", "network"))
        self.stores = StoreClients(self.inventory.peer, self.ipam.peer, self.network.peer)


@pytest.fixture
def others() -> Iterator[Others]:
    with ThreadPoolExecutor(1) as pool:
        yield Others(pool)


def start() -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(START)
    return stamp


def lease(
    kind: Owner.Kind.ValueType = Owner.KIND_BARE_METAL_INSTANCE,
    state: AddressLease.State.ValueType = AddressLease.STATE_LEASED,
) -> AddressLease:
    return AddressLease(
        name=LEASE, owner=Owner(kind=kind, resource=WEB), network=BLUE, vrf="demo.blue", address="10.1.0.7", epoch=3,
        state=state, create_time=start(),
    )  # fmt: skip


SEEN = LeaseSeen(LEASE, WEB, BLUE, "demo.blue", "10.1.0.7", 3, held=True, create_time=START)


def test_leases_of_all_projects_but_those_of_virtual_machines(others: Others) -> None:
    """
    Page by page; a virtual machine's lease is read and passed over.
    """
    answer = lease_pb2.ListLeasesResponse(leases=[lease(), lease(Owner.KIND_VIRTUAL_MACHINE)], next_page_token="next")

    found, (request,) = others.ipam.answers(lambda: others.stores.leases("here", 7), ("ListLeases", answer))

    assert (request.parent, request.page_size, request.page_token) == ("projects/-", 7, "here")
    assert request.filter == "state = LEASED"
    assert (list(found.rows), found.read, found.token) == ([SEEN], 2, "next")


@pytest.mark.parametrize(
    ("state", "held"),
    [(AddressLease.STATE_LEASED, True), (AddressLease.STATE_COOLING, False), (AddressLease.STATE_FREED, False)],
)
def test_one_lease(others: Others, state: AddressLease.State.ValueType, held: bool) -> None:
    """
    As it stands, or None.
    """
    found, _ = others.ipam.answers(lambda: others.stores.lease(LEASE), ("GetLease", lease(state=state)))
    assert found.held is held

    gone, _ = others.ipam.answers(lambda: others.stores.lease(LEASE), ("GetLease", NotFound("it is not there")))
    assert gone is None


@pytest.mark.parametrize(("reserved_by", "holder"), [(WEB, WEB), ("operations/inventory-x", ""), ("", "")])
def test_pool_rows(others: Others, reserved_by: str, holder: str) -> None:
    """
    Who a server is reserved for: an instance, not the operation that deletes it.
    """
    server = server_pb2.Server(name=SERVER, create_time=start())
    server.pool.available, server.pool.reserved_by, server.pool.state_version = True, reserved_by, 5
    expected = PoolSeen(UUID, available=True, holder=holder, state_version=5, deleting=False, since=START)

    answer = server_pb2.ListServersResponse(servers=[server])
    found, _ = others.inventory.answers(lambda: others.stores.pools("", 9), ("ListServers", answer))
    assert (list(found.rows), found.read, found.token) == ([expected], 1, "")
    server.delete_time.CopyFrom(start())
    one, _ = others.inventory.answers(lambda: others.stores.pool(UUID), ("GetServer", server))
    assert one.deleting
    gone, _ = others.inventory.answers(lambda: others.stores.pool(UUID), ("GetServer", NotFound("it is gone")))
    assert gone is None


def test_ports(others: Others) -> None:
    """
    What was last asked of each, and whether it came true.
    """
    attachment = attachment_pb2.PortAttachment(name=PORT, request_time=start(), settled=True)
    attachment.requested.port_class = network_pb2.PORT_CLASS_TENANT
    attachment.requested.networks.add(network=BLUE, vlan_tag=7)
    expected = AttachmentSeen(PORT, UUID, PortClass.TENANT, (Tag(BLUE, 7),), settled=True, since=START)
    answer = attachment_pb2.ListPortAttachmentsResponse(attachments=[attachment], next_page_token="next")

    found, _ = others.network.answers(lambda: others.stores.attachments("", 9), ("ListPortAttachments", answer))
    assert (list(found.rows), found.read, found.token) == ([expected], 1, "next")
    of_one, (request,) = others.network.answers(
        lambda: others.stores.attachments_of(UUID), ("ListPortAttachments", answer)
    )
    assert (list(of_one), request.filter) == ([expected], f"server = {SERVER}")


def test_a_service_that_does_not_answer_is_no_empty_book(others: Others) -> None:
    """
    That nothing answers is not taken for that nothing is there.
    """
    error = others.ipam.refuses(lambda: others.stores.lease(LEASE), "GetLease", grpc.StatusCode.UNAVAILABLE)

    assert isinstance(error, PeerUnavailable)


LEFT = f"leftovers/{UUID}"
LEFT_IN = f"projects/demo/prefixes/p1/leftovers/{UUID}"


@pytest.mark.parametrize(
    ("service", "book", "left", "expected"),
    [
        (
            "network",
            "fabric",
            left_at_fabric.Leftover(
                name=LEFT, server=SERVER, why="at nothing", create_time=start(), removable=True, etag='"1"'
            ),
            LeftoverSeen(LEFT, UUID, "at nothing", START, removable=True, etag='"1"'),
        ),
        (
            "ipam",
            "addresses",
            left_in_ipam.Leftover(name=LEFT_IN, lease=LEASE, why="nothing uses it", removable=True, etag='"1"'),
            LeftoverSeen(LEFT_IN, "", "nothing uses it", None, removable=True, etag='"1"'),
        ),
    ],
    ids=["fabric", "addresses, of no server, and nobody says since when"],
)
def test_what_is_left_at_a_controller(
    others: Others, service: str, book: str, left: AnyLeftover, expected: LeftoverSeen
) -> None:
    """
    A page of it, one of it, and its removal; nothing is made of what is not there.
    """
    asks, books = getattr(others, service), getattr(others.stores, book)
    page = PAGES[type(left)](leftovers=[left], examined_count=4, next_page_token="next")

    found, (request,) = asks.answers(lambda: books.page("here", 7), ("ListLeftovers", page))
    assert (request.page_size, request.page_token) == (7, "here")
    assert (list(found.rows), found.read, found.token) == ([expected], 4, "next")
    one, _ = asks.answers(lambda: books.one(left.name), ("GetLeftover", left))
    assert one == expected
    gone, _ = asks.answers(lambda: books.one(left.name), ("GetLeftover", NotFound("gone")))
    assert gone is None
    for check in (True, False):
        remove = partial(books.remove, left.name, '"1"', UUID, check=check)
        _, (asked,) = asks.answers(remove, ("RemoveLeftover", left))
        assert (asked.name, asked.etag, asked.request_id, asked.validate_only) == (left.name, '"1"', UUID, check)
