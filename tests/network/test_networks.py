# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from bms.network.v1 import network_pb2 as net
from services.kernel.clock import RandomIds
from services.network.domain.networks import CHOSEN_VLANS
from services.network.operations.networks import Networks
from tests.network.conftest import CLASSES, SERVER, Site, link, new_request, refusal, wish
from tests.support.wire import auditor, member, reader, remedy, service

NAME = "projects/red/networks/a"


def create(network_id: str = "a", parent: str = "projects/red", **network: object) -> net.CreateNetworkRequest:
    return net.CreateNetworkRequest(parent=parent, network_id=network_id, network=net.Network(**network))  # type: ignore[arg-type]  # fields as a test gives them


def test_a_network_and_its_numbers(site: Site) -> None:
    """
    A new network has a VLAN of its own, the VNI and VRF that follow, its id for a name, and an event.
    """
    made = site.network(NAME)
    assert made.vlan_id in CHOSEN_VLANS
    assert (made.vni, made.vrf, made.display_name) == (10_000 + made.vlan_id, "red.a", "a")
    assert made.network_class == CLASSES["tenant"]
    assert made.etag
    assert site.wire.ok("GetNetwork", net.GetNetworkRequest(name=NAME)) == made
    assert site.events(NAME) == [("network.created", 1)]


def test_what_is_taken(site: Site) -> None:
    """
    A name, a VLAN and the site's one network of a private class are taken once; the refusal names which.
    """
    site.network(NAME, vlan=200)
    site.network("projects/site/networks/p", "provisioning")
    for request, word in (
        (create(), NAME),
        (create("b", vlan_id=200), "VLAN 200"),
        (create("p2", network_class=CLASSES["provisioning"]), "projects/site/networks/p"),
    ):
        reply = site.wire.call("CreateNetwork", request)
        assert refusal(reply)[:2] == (grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS")
        assert word in reply.status.message


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (create("Upper"), "network_id"),
        (create(parent="red"), "parent"),
        (create(vlan_id=1), "network.vlan_id"),
        (create(vlan_id=4095), "network.vlan_id"),
        (create(vlan_id=-5), "network.vlan_id"),
        (create(network_class=CLASSES["quarantine"]), "network.network_class"),
        (create(network_class=CLASSES["unknown"]), "network.network_class"),
        (create(display_name="x" * 256), "network.display_name"),
        (create(display_name="a\nb"), "network.display_name"),
    ],
    ids=["upper", "parent", "low", "high", "negative", "quarantine", "unknown", "long", "unprintable"],
)
def test_malformed_networks(site: Site, request_: net.CreateNetworkRequest, field: str) -> None:
    """
    Each malformed field is refused by its name.
    """
    assert refusal(site.wire.call("CreateNetwork", request_)) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_FIELD",
        [field],
    )


def test_who_may_make_what(site: Site) -> None:
    """
    Members make and remove their project's networks, readers only look, strangers find nothing, and private classes are
    the administrator's.
    """
    assert site.wire.call("CreateNetwork", create(), caller=reader("red")).code is grpc.StatusCode.PERMISSION_DENIED
    assert site.wire.call("CreateNetwork", create(), caller=member("blue")).code is grpc.StatusCode.NOT_FOUND
    private = create("p", network_class=CLASSES["cleaning"])
    assert site.wire.call("CreateNetwork", private, caller=member("red")).code is grpc.StatusCode.PERMISSION_DENIED
    site.wire.ok("CreateNetwork", private)
    site.wire.ok("CreateNetwork", create(), caller=member("red"))
    get = net.GetNetworkRequest(name=NAME)
    for who in (reader("red"), auditor(), service()):
        site.wire.ok("GetNetwork", get, caller=who)
    assert site.wire.call("GetNetwork", get, caller=member("blue")).code is grpc.StatusCode.NOT_FOUND
    delete = net.DeleteNetworkRequest(name="projects/red/networks/p")
    assert site.wire.call("DeleteNetwork", delete, caller=member("red")).code is grpc.StatusCode.PERMISSION_DENIED
    site.wire.ok("DeleteNetwork", delete)


def test_repeats_and_trials(site: Site) -> None:
    """
    A repeated request answers what it answered; a trial answers the same and writes nothing, its checks included.
    """
    trial = create()
    trial.validate_only = True
    assert site.wire.ok("CreateNetwork", trial).name == NAME
    assert site.wire.call("GetNetwork", net.GetNetworkRequest(name=NAME)).code is grpc.StatusCode.NOT_FOUND
    request = create()
    request.request_id = new_request()
    first = site.wire.ok("CreateNetwork", request)
    assert site.wire.ok("CreateNetwork", request) == first
    assert site.wire.call("CreateNetwork", trial).code is grpc.StatusCode.ALREADY_EXISTS
    assert site.events(NAME) == [("network.created", 1)]


def test_listing(site: Site) -> None:
    """
    Networks are listed by name in pages, of one project or all, filtered; only a wrong filter or token is refused.
    """
    site.private()
    for number in range(5):
        site.network(f"projects/red/networks/n{number}", vlan=200 + number)
    site.network("projects/redder/networks/x")
    names, token = [], ""
    while True:
        page = site.wire.ok(
            "ListNetworks", net.ListNetworksRequest(parent="projects/red", page_size=2, page_token=token)
        )
        names += [one.name for one in page.networks]
        token = page.next_page_token
        if not token:
            break
    assert names == [f"projects/red/networks/n{number}" for number in range(5)]

    def found(text: str, parent: str = "projects/-") -> list[str]:
        request = net.ListNetworksRequest(parent=parent, filter=text)
        return [one.name.rpartition("/")[2] for one in site.wire.ok("ListNetworks", request).networks]

    assert found("network_class = PORT_CLASS_RESCUE") == ["rescue"]
    assert found("network_class != tenant") == ["cleaning", "provisioning", "rescue"]
    assert found("vlan_id = 203", "projects/red") == ["n3"]
    for text in ("colour = red", "vlan_id = red", "network_class = big"):
        reply = site.wire.call("ListNetworks", net.ListNetworksRequest(parent="projects/red", filter=text))
        assert refusal(reply)[2] == ["filter"]
    stranger = net.ListNetworksRequest(parent="projects/-")
    assert site.wire.call("ListNetworks", stranger, caller=member("red")).code is grpc.StatusCode.NOT_FOUND


def test_removing(site: Site) -> None:
    """
    A network goes when no port is on it, asked for or seen; its name may come back, and its stream goes on.
    """
    made = site.network(NAME)
    site.register(link())
    site.read()
    site.attach(wish(0, "tenant", NAME), project="red")
    site.read()
    delete = net.DeleteNetworkRequest(name=NAME)
    reply = site.wire.call("DeleteNetwork", delete)
    assert refusal(reply)[:2] == (grpc.StatusCode.FAILED_PRECONDITION, "STILL_IN_USE")
    assert remedy(reply.status)
    assert site.wire.ok("GetNetwork", net.GetNetworkRequest(name=NAME)).attached_port_count == 1
    site.attach(wish(0, "quarantine"))
    assert site.wire.call("DeleteNetwork", delete).code is grpc.StatusCode.FAILED_PRECONDITION
    assert site.classes(SERVER) == ["quarantine"]
    stale = net.DeleteNetworkRequest(name=NAME, etag='"7"')
    assert refusal(site.wire.call("DeleteNetwork", stale))[:2] == (grpc.StatusCode.ABORTED, "STALE")
    site.wire.ok("DeleteNetwork", net.DeleteNetworkRequest(name=NAME, etag=made.etag))
    assert site.wire.call("DeleteNetwork", delete).code is grpc.StatusCode.NOT_FOUND
    site.network(NAME)
    assert site.events(NAME) == [("network.created", 1), ("network.deleted", 2), ("network.created", 3)]


def test_every_vlan_can_be_given_out(site: Site) -> None:
    """
    When the range is nearly full the last free VLANs are still found; when it is full, the refusal says so.
    """
    free = {150, 3999}

    def fill(tx: object) -> None:
        store = site.servicer.store(tx)  # type: ignore[arg-type]  # the transaction as the database gives it
        for vlan in set(CHOSEN_VLANS) - free:
            tx.execute(  # type: ignore[attr-defined]  # as above
                "INSERT INTO networks (name, project, display_name, network_class, fabric_id, vlan, vni, create_time,"
                " update_time, version, sequence) VALUES (?, 'full', '', 'tenant', ?, ?, 0, 0, 0, 1, 0)",
                (f"projects/full/networks/n{vlan}", str(vlan), vlan),
            )
        assert store.free_vlan(100, 3999) == 150

    site.database.transact(fill, label="test.fill")
    assert {site.network(f"projects/red/networks/n{number}").vlan_id for number in range(2)} == free
    reply = site.wire.call("CreateNetwork", create())
    assert refusal(reply)[:2] == (grpc.StatusCode.RESOURCE_EXHAUSTED, "EXHAUSTED")


def test_many_at_once_never_share_a_vlan(site: Site) -> None:
    """
    Networks made by many callers at once all have VLANs of their own.
    """
    site.servicer._networks = Networks(RandomIds())
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: site.network(f"projects/red/networks/n{number}").vlan_id, range(40)))
    assert len(set(made)) == 40
