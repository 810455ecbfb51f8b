# SPDX-License-Identifier: Apache-2.0
"""What lifecycle says to the other services, and what it makes of their answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
import grpc_testing
import pytest
from google.protobuf.message import Message

from bms.event.v1 import event_pb2
from bms.inventory.v1 import catalogue_pb2, inventory_service_pb2, pool_pb2, server_pb2
from bms.ipam.v1 import ipam_service_pb2, lease_pb2, prefix_pb2
from bms.network.v1 import attachment_pb2, network_pb2, network_service_pb2
from services.kernel.errors import BmsError, DeadlineExceeded, Exhausted, NotFound, PeerUnavailable, Stale
from services.kernel.events import DiskSeen
from services.lifecycle.bmc import Bmc
from services.lifecycle.clients.inventory import InventoryClient
from services.lifecycle.clients.ipam import IpamClient
from services.lifecycle.clients.network import NetworkClient
from services.lifecycle.domain.server import Lease, Move, Port, PortClass, Report, Tag
from services.lifecycle.peers import DetachProof, Heard, PortWish, Purpose
from services.lifecycle.ports import HardwareFacts
from services.runtime import status as statuses
from services.runtime.outbound import Peer
from tests.support.clocks import START

UUID = "00000001-0000-4000-8000-000000000000"
SERVER = f"servers/{UUID}"
BLUE = "projects/demo/networks/blue"
WEB = "projects/demo/instances/web"
LEASE = "projects/demo/leases/00000001-0000-4000-8000-000000000000"
SERVICES = {
    "inventory": inventory_service_pb2.DESCRIPTOR.services_by_name["InventoryService"],
    "network": network_service_pb2.DESCRIPTOR.services_by_name["NetworkService"],
    "ipam": ipam_service_pb2.DESCRIPTOR.services_by_name["IpamService"],
}


@dataclass
class Other:
    """The other side of a channel: what was asked of it is seen, and what it answers is said by the test."""

    service: str
    pool: ThreadPoolExecutor

    def __post_init__(self) -> None:
        self.channel = grpc_testing.channel([SERVICES[self.service]], grpc_testing.strict_real_time())
        self.peer = Peer("", token="t", tls=None, service=self.service, channel=self.channel)

    def answers(
        self, call: Callable[[], Any], *replies: tuple[str, Message | BmsError | grpc.StatusCode]
    ) -> tuple[Any, list[Any]]:
        """What *call* answers while the other side gives *replies* in turn; and the requests that were seen."""
        running = self.pool.submit(call)
        seen = []
        for method, reply in replies:
            _, request, rpc = self.channel.take_unary_unary(SERVICES[self.service].methods_by_name[method])
            seen.append(request)
            rpc.send_initial_metadata(())
            if isinstance(reply, Message):
                rpc.terminate(reply, (), grpc.StatusCode.OK, "")
            elif isinstance(reply, BmsError):
                status = statuses.to_status(reply)
                code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
                rpc.terminate(None, (("grpc-status-details-bin", status.SerializeToString()),), code, status.message)
            else:
                rpc.terminate(None, (), reply, "told by the wire")
        return running.result(10), seen

    def refuses(self, call: Callable[[], Any], method: str, reply: BmsError | grpc.StatusCode) -> BmsError:
        """What *call* raises."""
        with pytest.raises(BmsError) as caught:
            self.answers(call, (method, reply))
        return caught.value


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


@pytest.fixture
def inventory(pool: ThreadPoolExecutor) -> Other:
    return Other("inventory", pool)


@pytest.fixture
def network(pool: ThreadPoolExecutor) -> Other:
    return Other("network", pool)


@pytest.fixture
def ipam(pool: ThreadPoolExecutor) -> Other:
    return Other("ipam", pool)


# -- inventory


def test_a_server_comes_with_its_ports_and_whether_it_may_be_provided(inventory: Other) -> None:
    """
    Baremetal and managed only; a type not said counts as baremetal.
    """
    client = InventoryClient(inventory.peer)
    told = server_pb2.Server(
        name=SERVER,
        display_name="r1",
        ports=[
            server_pb2.Port(
                name=f"{SERVER}/ports/1", mac_address="02:00:00:00:00:01", switch_name="leaf1", switch_port="xe-1",
                pxe_enabled=True, port_group="bond0",
            )
        ],
    )  # fmt: skip
    found, (request,) = inventory.answers(lambda: client.server(UUID), ("GetServer", told))

    assert request == server_pb2.GetServerRequest(name=SERVER)
    assert found.ports == (Port(f"{SERVER}/ports/1", "02:00:00:00:00:01", "leaf1", "xe-1", True, "bond0"),)
    assert (found.display_name, found.providable, found.deleting) == ("r1", True, False)
    told.unmanaged = True
    told.delete_time.FromDatetime(START)
    found, _ = inventory.answers(lambda: client.server(UUID), ("GetServer", told))
    assert (found.providable, found.deleting) == (False, True)


def test_a_login_is_asked_for_by_the_server(inventory: Other) -> None:
    """
    What the one RPC answers that gives credentials out is what the BMC is spoken to with, and it shows in no text.
    """
    client = InventoryClient(inventory.peer)
    told = pool_pb2.GetServerCredentialsResponse(
        address="10.9.0.1", port=443, driver="redfish", username="u", password="hunter2"
    )
    found, (request,) = inventory.answers(lambda: client.of(UUID), ("GetServerCredentials", told))

    assert request.server == SERVER
    assert found == Bmc("10.9.0.1", 443, "redfish", "u", "hunter2")
    assert "hunter2" not in repr(found)


def test_a_reservation_is_for_one_server_and_leaves_out_the_refused(inventory: Other) -> None:
    """
    One server for the holder; inventory's refusal comes in its own class with its facts.
    """
    client = InventoryClient(inventory.peer)
    answer = pool_pb2.ReserveServersResponse(servers=[server_pb2.Server(name=SERVER)])
    found, (request,) = inventory.answers(
        lambda: client.reserve(WEB, "flavors/f", "images/i", ("servers/x",)), ("ReserveServers", answer)
    )
    assert found == UUID
    assert (request.holder, request.count, list(request.excluded_servers)) == (WEB, 1, ["servers/x"])

    refused = inventory.refuses(
        lambda: client.reserve(WEB, "flavors/f", "images/i", ()), "ReserveServers", Exhausted("none", flavor="f")
    )
    assert isinstance(refused, Exhausted)
    assert refused.facts["flavor"] == "f"


def test_a_report_carries_facts_only_when_there_are_new_ones(inventory: Other) -> None:
    """
    The version, whether it is available and why not, who holds it; hardware only after an inspection.
    """
    client = InventoryClient(inventory.peer)
    report = Report(available=False, reason="IN_USE", held_by=WEB)
    facts = HardwareFacts(cpus=16, capabilities=(("boot_mode", "uefi"),))
    disks = (DiskSeen("d1", 10),)
    _, (with_facts,) = inventory.answers(
        lambda: client.report(UUID, 7, report, facts, disks, closed=False),
        ("ReportServer", pool_pb2.ReportServerResponse()),
    )
    _, (without,) = inventory.answers(
        lambda: client.report(UUID, 8, report, None, disks, closed=True),
        ("ReportServer", pool_pb2.ReportServerResponse()),
    )

    assert (with_facts.server, with_facts.state_version, with_facts.unavailable_reason) == (SERVER, 7, "IN_USE")
    assert with_facts.properties.capabilities["boot_mode"] == "uefi"
    assert [disk.serial for disk in with_facts.disks] == ["d1"]
    assert not without.HasField("properties")
    assert not without.disks
    assert without.closed


def test_the_log_is_read_from_a_position(inventory: Other) -> None:
    """
    Position, stream and type of each event, and where to go on.
    """
    client = InventoryClient(inventory.peer)
    answer = event_pb2.ListEventsResponse(
        events=[event_pb2.Event(position=4, header=event_pb2.EventHeader(stream=SERVER, type="server.created"))],
        next_after=4,
    )
    found, (request,) = inventory.answers(lambda: client.events(3, 10), ("ListEvents", answer))

    assert (request.after, request.wait_seconds) == (3, 10)
    assert found == ((Heard(4, SERVER, "server.created"),), 4)


def test_an_image_is_asked_for_in_the_projects_name(inventory: Other) -> None:
    """
    Whether a project may use an image is inventory's to say.
    """
    client = InventoryClient(inventory.peer)
    told = catalogue_pb2.Image(name="images/i", source_uri="https://example.org/i", checksum="sha256:aa")
    found, (request,) = inventory.answers(lambda: client.image("images/i", "demo"), ("GetImage", told))

    assert request == catalogue_pb2.GetImageRequest(name="images/i", for_project="demo")
    assert (found.image, found.checksum) == ("images/i", "sha256:aa")


# -- network


def test_only_a_projects_own_tenant_network_is_usable(network: Other) -> None:
    """
    Private networks and those of other projects are as if they were not there.
    """
    client = NetworkClient(network.peer)
    told = network_pb2.Network(name=BLUE, network_class=network_pb2.PORT_CLASS_TENANT)
    network.answers(lambda: client.usable(BLUE, "demo"), ("GetNetwork", told))

    private = network_pb2.Network(name=BLUE, network_class=network_pb2.PORT_CLASS_CLEANING)
    for project, answer in (("other", told), ("demo", private)):
        with pytest.raises(NotFound):
            network.answers(lambda project=project: client.usable(BLUE, project), ("GetNetwork", answer))  # type: ignore[misc]


def test_the_private_network_is_asked_for_once_until_it_is_refused(network: Other) -> None:
    """
    A private network that was made anew is found again after network's refusal; a silence forgets nothing.
    """
    client = NetworkClient(network.peer)
    answer = network_pb2.ListNetworksResponse(networks=[network_pb2.Network(name="projects/site/networks/cleaning")])
    empty = network_pb2.ListNetworksResponse()
    wish = (PortWish(f"{SERVER}/ports/1", PortClass.CLEANING, (Tag("projects/site/networks/cleaning"),)),)

    def attach() -> None:
        client.attach(UUID, wish, "", 5, "id")

    def private() -> str:
        return client.private(PortClass.CLEANING)

    assert network.answers(private, ("ListNetworks", empty))[0] == ""
    found, (request,) = network.answers(private, ("ListNetworks", answer))
    assert found == "projects/site/networks/cleaning"
    assert "CLEANING" in request.filter
    assert private() == found
    assert isinstance(network.refuses(attach, "AttachPorts", grpc.StatusCode.UNAVAILABLE), PeerUnavailable)
    assert private() == found
    assert isinstance(network.refuses(attach, "AttachPorts", NotFound("gone")), NotFound)
    assert network.answers(private, ("ListNetworks", empty))[0] == ""


def test_a_wish_carries_fence_project_and_networks(network: Other) -> None:
    """
    Every call to network carries the claim's fence; a stale one is refused as Stale.
    """
    client = NetworkClient(network.peer)
    wishes = (PortWish(f"{SERVER}/ports/1", PortClass.TENANT, (Tag(BLUE, 7),)),)
    _, (request,) = network.answers(
        lambda: client.attach(UUID, wishes, "demo", 5, "id"), ("AttachPorts", attachment_pb2.AttachPortsResponse())
    )
    assert (request.server, request.fence, request.project, request.request_id) == (SERVER, 5, "demo", "id")
    assert request.wishes[0].port_class == network_pb2.PORT_CLASS_TENANT
    assert request.wishes[0].networks[0].vlan_tag == 7
    assert request.wishes[0].purpose == attachment_pb2.WISH_PURPOSE_STEP
    cut = (PortWish(f"{SERVER}/ports/1", PortClass.QUARANTINE, purpose=Purpose.CUT),)
    _, (request,) = network.answers(
        lambda: client.attach(UUID, cut, "demo", 5, "id"), ("AttachPorts", attachment_pb2.AttachPortsResponse())
    )
    assert request.wishes[0].purpose == attachment_pb2.WISH_PURPOSE_CUT

    refused = network.refuses(lambda: client.attach(UUID, wishes, "demo", 4, "id"), "AttachPorts", Stale("older"))
    assert isinstance(refused, Stale)


@pytest.mark.parametrize("as_found", [True, False])
def test_ports_are_registered_as_found_only_where_that_is_said(network: Other, *, as_found: bool) -> None:
    """
    Every plug is told; whether network may move them is told with it.
    """
    client = NetworkClient(network.peer)
    port = Port(f"{SERVER}/ports/1", "0c:c4:7a:00:00:01", "leaf1", "xe-1")
    _, (request,) = network.answers(
        lambda: client.register(UUID, (port,), 5, "id", as_found=as_found),
        ("RegisterServerPorts", attachment_pb2.RegisterServerPortsResponse()),
    )

    assert (request.server, request.fence, request.as_found) == (SERVER, 5, as_found)
    assert [(link.port, link.switch_port) for link in request.links] == [(port.name, "xe-1")]


def test_a_reading_is_what_the_fabric_showed(network: Other) -> None:
    """
    Class, networks, time and digest; a class nobody knows, such as one of a newer release, reads unknown.
    """
    client = NetworkClient(network.peer)
    answer = attachment_pb2.ReadServerPortsResponse(
        readings=[
            attachment_pb2.PortReading(
                port=f"{SERVER}/ports/1",
                port_class=network_pb2.PORT_CLASS_TENANT,
                networks=[attachment_pb2.NetworkTag(network=BLUE, vlan_tag=7)],
                reading_digest=b"d",
            ),
            attachment_pb2.PortReading(port=f"{SERVER}/ports/2", port_class=99, detail="new"),  # type: ignore[arg-type]
        ]
    )
    answer.readings[0].read_time.FromDatetime(START)
    (first, second), (request,) = network.answers(lambda: client.read(UUID, 5), ("ReadServerPorts", answer))

    assert request.fence == 5
    assert (first.port_class, first.networks, first.read_time, first.digest) == (
        PortClass.TENANT,
        (Tag(BLUE, 7),),
        START,
        b"d",
    )
    assert (second.port_class, second.detail) == (PortClass.UNKNOWN, "new")


def test_the_ports_of_many_servers(network: Other) -> None:
    """
    One call with each server's fence; who is left out by network is left out here.
    """
    client, other = NetworkClient(network.peer), "00000000-0000-4000-8000-0000000000aa"
    reading = attachment_pb2.PortReading(port=f"{SERVER}/ports/1", port_class=network_pb2.PORT_CLASS_QUARANTINE)
    answer = attachment_pb2.BatchReadServerPortsResponse(
        servers=[attachment_pb2.BatchReadServerPortsResponse.Reading(server=SERVER, readings=[reading])]
    )
    found, (request,) = network.answers(lambda: client.look({UUID: 5, other: 0}), ("BatchReadServerPorts", answer))

    assert [(one.server, one.fence) for one in request.requests] == [(SERVER, 5), (f"servers/{other}", 0)]
    assert list(found) == [UUID]
    assert [(one.port, one.port_class) for one in found[UUID]] == [(f"{SERVER}/ports/1", PortClass.QUARANTINE)]


# -- ipam


def leased(**more: Any) -> lease_pb2.AddressLease:
    return lease_pb2.AddressLease(
        name=LEASE, network=BLUE, vrf="v", address="10.0.0.1", prefix_length=24, gateway="10.0.0.254", epoch=3, **more
    )


OURS = Lease(LEASE, BLUE, "v", "10.0.0.1", 24, "10.0.0.254", 3)


def test_a_lease_is_for_the_instance_and_carries_the_fence(ipam: Other) -> None:
    """
    The owner is the instance on that network; the answer is the lease as it was granted.
    """
    client = IpamClient(ipam.peer)
    found, (request,) = ipam.answers(
        lambda: client.lease("demo", WEB, BLUE, "10.0.0.1", "", 5, "id"), ("LeaseAddress", leased())
    )

    assert found == OURS
    assert (request.parent, request.owner.resource, request.owner.interface) == ("projects/demo", WEB, BLUE)
    assert (request.address, request.fence, request.request_id) == ("10.0.0.1", 5, "id")


def test_everything_an_owner_holds_is_found(ipam: Other) -> None:
    """
    All pages are read.
    """
    client = IpamClient(ipam.peer)
    found, requests = ipam.answers(
        lambda: client.held_by("demo", WEB),
        ("ListLeases", lease_pb2.ListLeasesResponse(leases=[leased()], next_page_token="more")),
        ("ListLeases", lease_pb2.ListLeasesResponse(leases=[leased()])),
    )

    assert found == (OURS, OURS)
    assert [request.page_token for request in requests] == ["", "more"]
    assert f'owner = "{WEB}"' in requests[0].filter


def test_an_address_goes_back_with_epoch_and_proof(ipam: Other) -> None:
    """
    Epoch, fence, and when and how the server was read off the networks; the answer says until when it rests.
    """
    client = IpamClient(ipam.peer)
    answer = leased()
    answer.free_time.FromDatetime(START)
    found, (request,) = ipam.answers(
        lambda: client.release(OURS, DetachProof(SERVER, START, b"digest"), 5, "id"), ("ReleaseLease", answer)
    )

    assert (request.name, request.epoch, request.fence) == (LEASE, 3, 5)
    assert (request.detach.server, request.detach.reading_digest) == (SERVER, b"digest")
    assert found.free_time == START


def test_without_proof_it_names_what_allowed_it(ipam: Other) -> None:
    """
    The forced action or server stands where the proof would, and no proof beside it.
    """
    client = IpamClient(ipam.peer)
    found, (request,) = ipam.answers(lambda: client.release_unproven(OURS, SERVER, 5, "id"), ("ReleaseLease", leased()))

    assert (request.name, request.epoch, request.fence, request.request_id) == (LEASE, 3, 5, "id")
    assert (request.without_proof, request.HasField("detach")) == (SERVER, False)
    assert found.lease == LEASE


def test_a_network_is_served_if_it_has_a_prefix(ipam: Other) -> None:
    """
    One row is enough to know.
    """
    client = IpamClient(ipam.peer)
    none = prefix_pb2.ListPrefixesResponse()
    some = prefix_pb2.ListPrefixesResponse(prefixes=[prefix_pb2.Prefix(name="projects/demo/prefixes/p")])

    assert not ipam.answers(lambda: client.serves(BLUE, "demo"), ("ListPrefixes", none))[0]
    assert ipam.answers(lambda: client.serves(BLUE, "demo"), ("ListPrefixes", some))[0]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, PeerUnavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineExceeded),
        (grpc.StatusCode.UNIMPLEMENTED, PeerUnavailable),
        (grpc.StatusCode.INTERNAL, PeerUnavailable),
    ],
)
def test_a_silence_is_told_apart_from_a_refusal(ipam: Other, code: grpc.StatusCode, kind: type[BmsError]) -> None:
    """
    No answer, a late one and nonsense all mean that it may or may not have been done.
    """
    client = IpamClient(ipam.peer)

    assert isinstance(ipam.refuses(lambda: client.held_by("demo", WEB), "ListLeases", code), kind)


def test_a_place_is_read_with_whoever_has_it(network: Other) -> None:
    """
    In order, with the port that is registered there.
    """
    client = NetworkClient(network.peer)
    port = Port(f"{SERVER}/ports/1", "0c:c4:7a:00:00:01", "leaf1", "xe-1")
    reading = attachment_pb2.PortReading(port=port.name, port_class=network_pb2.PORT_CLASS_QUARANTINE)
    answer = attachment_pb2.ReadSwitchPortsResponse(
        readings=[attachment_pb2.SwitchPortReading(holder="servers/x/ports/y", reading=reading)]
    )
    (found,), (request,) = network.answers(lambda: client.look_at(UUID, (port,)), ("ReadSwitchPorts", answer))

    assert (request.server, [(link.port, link.switch_port) for link in request.links]) == (
        SERVER,
        [(port.name, "xe-1")],
    )
    assert (found.holder, found.reading.port_class) == ("servers/x/ports/y", PortClass.QUARANTINE)


def test_a_place_that_two_ports_left_is_read_once(network: Other) -> None:
    """
    Network refuses one that is named twice; the reading is told of each of the two.
    """
    client = NetworkClient(network.peer)
    names = (f"{SERVER}/ports/1", f"{SERVER}/ports/2", f"{SERVER}/ports/1")
    ports = tuple(Port(name, "", "leaf1", at) for name, at in zip(names, ("xe-1", "xe-1", "xe-2"), strict=True))
    classes = (network_pb2.PORT_CLASS_QUARANTINE, network_pb2.PORT_CLASS_UNKNOWN)
    answer = attachment_pb2.ReadSwitchPortsResponse(
        readings=[
            attachment_pb2.SwitchPortReading(reading=attachment_pb2.PortReading(port="any", port_class=kind))
            for kind in classes
        ]
    )
    found, (request,) = network.answers(lambda: client.look_at(UUID, ports), ("ReadSwitchPorts", answer))

    assert [(link.switch_name, link.switch_port) for link in request.links] == [("leaf1", "xe-1"), ("leaf1", "xe-2")]
    read = [(one.reading.port, one.reading.port_class) for one in found]
    cut, unknown = PortClass.QUARANTINE, PortClass.UNKNOWN
    assert read == [(names[0], cut), (names[1], cut), (names[2], unknown)]


def test_links_are_changed_by_the_etag_that_was_read(inventory: Other) -> None:
    """
    With its request id; a mere check writes nothing.
    """
    client = InventoryClient(inventory.peer)
    move = Move(f"{SERVER}/ports/1", "leaf2", "xe-2", "00:1b:21:00:00:01", (("leaf1", "xe-1"),))
    _, (request,) = inventory.answers(
        lambda: client.relink(UUID, (move,), '"7"', "id", check=True), ("RelinkServer", server_pb2.Server())
    )

    assert (request.server, request.etag, request.request_id, request.validate_only) == (SERVER, '"7"', "id", True)
    assert [(one.port, one.switch_name, one.switch_port, one.switch_id) for one in request.links] == [
        (move.port, "leaf2", "xe-2", "00:1b:21:00:00:01")
    ]
