# SPDX-License-Identifier: Apache-2.0
"""What audits find left over at a genuine Neutron, of network's and of ipam's, and what their repairs do there."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from bms.event.v1 import event_pb2
from bms.ipam.v1 import ipam_service_pb2_grpc, lease_pb2
from bms.lifecycle.v1 import audit_service_pb2
from bms.network.v1 import network_service_pb2_grpc
from services.ipam.worker import KEEP_FREED, Sweeper
from services.kernel.clock import SystemClock
from services.lifecycle.audits.left import AddressLeftovers, FabricLeftovers
from services.network.operations.leftovers import GRACE
from services.network.ports import Marked
from services.runtime.neutron import LEASE, PORT
from tests.lifecycle.audited import Auditor
from tests.network.conftest import link
from tests.openstack import test_ipam_neutron, test_neutron
from tests.openstack.auditing import Book, Leak, enrolled, lifecycle, served
from tests.openstack.cloud.fixture import Cloud
from tests.openstack.test_ipam_neutron import MAC, GenuineRig
from tests.openstack.test_neutron import Genuine, ok

pytestmark = [
    pytest.mark.openstack_full,
    pytest.mark.timeout(300),
    # Of the SDK's own parts.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"),
]

site, addresses = test_neutron.site, test_ipam_neutron.rig

# -- the fabric's


@pytest.fixture
def late(cloud: Cloud, site: Genuine, tmp_path: Path) -> Iterator[Genuine]:
    """Another network service on that Neutron: what it makes for a server, the first never asked for."""
    (tmp_path / "late").mkdir()
    made = Genuine(cloud, tmp_path / "late")
    yield made
    made.clear()


@pytest.fixture
def fabric(site: Genuine, tmp_path: Path) -> Iterator[Book]:
    """The book of the first one, to which the server is in quarantine."""
    ok(site.register(link(0, site.server), server=site.server))
    assert site.seen() == ["quarantine"]
    add = network_service_pb2_grpc.add_NetworkServiceServicer_to_server
    with lifecycle(tmp_path) as rig, served("network", add, site.servicer, site.clock) as peer:
        enrolled(rig, site.server)
        audit = Auditor(rig, left={"fabric": FabricLeftovers(peer)})
        yield Book(audit, "fabric_leftovers", site.server)


def left(site: Genuine, late: Genuine, *networks: str | tuple[str, int]) -> list[str]:
    """Has *late* put the server's port on *networks* as a tenant's; ten minutes pass; the ids of what is there."""
    late.server = site.server
    ok(late.register(link(0, site.server), server=site.server))
    late.seen()
    late.want("tenant", *networks)
    settled(site)
    return [str(port.id) for port in site.ports()]


def settled(site: Genuine, *, minutes: float = 0) -> None:
    """It is so long after this moment, or long enough."""
    ahead = minutes * 60 if minutes else GRACE.total_seconds() + 60
    site.clock.advance((SystemClock().now() - site.clock.now()).total_seconds() + ahead)


def test_a_port_left_bound_is_cut_and_removed(site: Genuine, late: Genuine, fabric: Book) -> None:
    """
    Told when it is old enough by Neutron's own word; a rehearsal leaves it; repaired, it is gone and the switch was
    told, and both logs have it.
    """
    tenant = site.own("net-a")
    for one in (site, late):
        one.network(tenant)
    (ident,) = left(site, late, tenant)
    assert site.seen() == ["tenant"]
    site.clock.advance(-GRACE.total_seconds())
    assert fabric.told() == []
    site.clock.advance(GRACE.total_seconds())
    site.journal()

    assert fabric.told() == [("fabric_leftover", ident)]
    (leak,) = fabric.leaks()
    assert "quarantine" in leak.why
    fabric.audit.wire.ok("RepairLeak", fabric.audit.request(leak, validate_only=True))
    assert [port.id for port in site.ports()] == [ident]
    fabric.repair(leak)

    assert site.ports() == []
    assert site.journal()[-1]["what"] == "delete"
    assert site.seen() == ["quarantine"]
    assert fabric.told() == []
    assert fabric.events() == ["audit.repair_requested", "audit.repaired"]
    told = [type_ for type_, _ in site.events(f"servers/{site.server}") if type_.startswith("leftover.")]
    assert told == ["leftover.removal_requested", "leftover.removed"]
    assert fabric.refused(leak) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")


def test_a_trunk_is_taken_apart(site: Genuine, late: Genuine, fabric: Book) -> None:
    """
    What hangs on it goes first or last, whichever is asked for; the trunk goes with its parent.
    """
    first, second = site.own("net-a"), f"projects/{site.project}/networks/helper-net"
    for one in (site, late):
        one.network(first)
        one.network(second)
    for parent_first in (False, True):
        idents = left(site, late, first, (second, 7))
        (trunk,) = [one for one in site.admin.network.trunks() if one.port_id in idents]
        assert fabric.told() == sorted(("fabric_leftover", ident) for ident in idents)

        by_place = sorted(fabric.leaks(), key=lambda leak: leak.resource.endswith(trunk.port_id) is not parent_first)
        fabric.repair(by_place[0])
        if not parent_first:
            assert site.admin.network.get_trunk(trunk.id).sub_ports == []
            assert [(port.id, port.status) for port in site.ports()] == [(trunk.port_id, "ACTIVE")]
        fabric.repair(*fabric.leaks())

        assert site.ports() == []
        assert trunk.id not in [one.id for one in site.admin.network.trunks()]
        assert fabric.told() == []


def test_a_port_of_a_server_that_was_never_here_stays(site: Genuine, late: Genuine, fabric: Book) -> None:
    """
    It may be another manager's: told, and refused.
    """
    tenant = site.own("net-a")
    late.network(tenant)
    ok(late.register(link(0, late.server), server=late.server))
    late.seen()
    late.want("tenant", tenant)
    settled(site)
    fabric.server = late.server
    (port,) = late.ports()

    assert fabric.told() == [("fabric_leftover_of_stranger", port.id)]
    (leak,) = fabric.leaks()
    assert fabric.refused(leak) == (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")
    assert [(one.id, one.status) for one in late.ports()] == [(port.id, "ACTIVE")]


def test_a_port_that_changed_is_not_removed(
    site: Genuine, late: Genuine, fabric: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Between the two looks: not told. Since it was told, and between the last look and the removal: refused.
    """
    tenant = site.own("net-a")
    for one in (site, late):
        one.network(tenant)
    (ident,) = left(site, late, tenant)
    plugs = iter("abc")

    def change() -> None:
        elsewhere = {"switch_id": "leaf9", "port_id": next(plugs), "switch_info": "leaf9"}
        site.api.update("ports", ident, {"binding:profile": {"local_link_information": [elsewhere]}})

    fabric.audit.between = change
    assert fabric.told() == []
    fabric.audit.between = lambda: None
    (leak,) = fabric.leaks()
    change()
    assert fabric.refused(leak) == (grpc.StatusCode.ABORTED, "STALE")
    (leak,) = fabric.leaks()
    with monkeypatch.context() as patched:
        plain = site.there.remove

        def just_before(marked: Marked) -> bool:
            change()
            return plain(marked)

        patched.setattr(site.there, "remove", just_before)
        assert fabric.refused(leak) == (grpc.StatusCode.ABORTED, "STALE")

    assert [port.id for port in site.ports()] == [ident]
    fabric.repair(*fabric.leaks())
    assert site.ports() == []


def test_copied_marks_are_their_owners(cloud: Cloud, site: Genuine, fabric: Book) -> None:
    """
    A tenant puts all our marks on ports of his own, one of which a machine of Nova's has: neither told nor touched.
    """
    site.network(site.own("net-a"))
    tenant = cloud.connect("tenant-a").network
    network = tenant.find_network("net-a").id
    marks = {"network_id": network, "name": f"bms-{site.server}", "description": PORT}
    made = [
        tenant.create_port(**marks, device_owner="compute:nova", device_id=str(uuid.uuid4())),
        tenant.create_port(**marks, device_owner="compute:nova", device_id=site.server),
        tenant.create_port(**marks, device_owner="baremetal:none", device_id=site.server),
        tenant.create_port(**marks),
    ]
    try:
        for port in made:
            tenant.set_tags(port, [PORT])
        settled(site)

        assert fabric.told() == []
        for port in made:
            kind = Leak.KIND_FABRIC_LEFTOVER
            request = audit_service_pb2.RepairLeakRequest(kind=kind, resource=f"leftovers/{port.id}")
            assert fabric.audit.wire.call("RepairLeak", request).code is grpc.StatusCode.NOT_FOUND
            assert tenant.get_port(port.id).tags == [PORT]
    finally:
        for port in made:
            site.admin.network.delete_port(port.id)


# -- of addresses


@pytest.fixture
def book(addresses: GenuineRig, tmp_path: Path) -> Iterator[Book]:
    """The book of ipam's."""
    (tmp_path / "lifecycle").mkdir()
    add = ipam_service_pb2_grpc.add_IpamServiceServicer_to_server
    with lifecycle(tmp_path / "lifecycle") as rig, served("ipam", add, addresses.servicer, addresses.clock) as peer:
        audit = Auditor(rig, left={"addresses": AddressLeftovers(peer)})
        yield Book(audit, "address_leftovers")


def come_back(rig: GenuineRig, mac: str = MAC) -> tuple[str, str]:
    """A lease was freed and, after a month, forgotten; Neutron's database is restored: the port's id, its address."""
    lease = rig.get(mac_address=mac)
    (port,) = [one for one in rig.genuine.every("ports", network_id=rig.network) if one["name"] == lease.name]
    rig.release(lease)
    rig.clock.advance(601)
    rig.go_round()
    rig.clock.advance(KEEP_FREED.total_seconds() + 1)
    Sweeper(rig.database, rig.servicer.store).tick(rig.clock.now())
    gone = rig.wire.call("GetLease", lease_pb2.GetLeaseRequest(name=lease.name))
    assert gone.code is grpc.StatusCode.NOT_FOUND
    assert rig.ports() == []
    words = (
        "network_id", "project_id", "name", "description", "mac_address", "fixed_ips", "binding:vnic_type",
        "device_owner", "device_id",
    )  # fmt: skip
    made = rig.genuine.create("ports", {word: port[word] for word in words})
    rig.genuine.mark("ports", made["id"], LEASE)
    return str(made["id"]), lease.address


def test_an_address_that_came_back_is_removed(addresses: GenuineRig, book: Book) -> None:
    """
    Told by the log that the lease ended, with or without a round that counted it for another's; gone at Neutron, and
    the address may be leased again.
    """
    addresses.make()
    ident, address = come_back(addresses)
    held = addresses.get("vm-2", mac_address="52:54:00:97:00:02")

    assert book.told() == [("address_leftover", ident)]
    addresses.go_round()
    (leak,) = book.leaks()
    book.repair(leak)

    assert [port.name for port in addresses.ports()] == [held.name]
    assert book.told() == []
    assert book.refused(leak) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
    addresses.go_round()
    assert types(addresses)[-2:] == ["address.observed", "address.unobserved"]
    addresses.clock.advance(601)
    assert addresses.get("vm-3", address=address).epoch == 2


def types(rig: GenuineRig) -> list[str]:
    """Those of all events of addresses."""
    return [event_pb2.EventHeader.FromString(one.header).type for one in rig.of_addresses()]


def bound(rig: GenuineRig, ident: str) -> Callable[[], None]:
    """Some host has it; answers how that ends."""
    rig.admin.network.update_port(ident, binding_host_id="somewhere")
    return lambda: rig.admin.network.update_port(ident, binding_host_id="")


def of_a_device(rig: GenuineRig, ident: str) -> Callable[[], None]:
    """A machine of the tenant's has it."""
    rig.tenant.network.update_port(ident, device_id="a-machine")
    return lambda: rig.tenant.network.update_port(ident, device_id="")


def parent(rig: GenuineRig, ident: str) -> Callable[[], None]:
    """A trunk stands on it."""
    trunk = rig.tenant.network.create_trunk(port_id=ident)
    return lambda: rig.tenant.network.delete_trunk(trunk.id)


def subport(rig: GenuineRig, ident: str) -> Callable[[], None]:
    """It hangs on a trunk."""
    above = rig.tenant.network.create_port(network_id=rig.network, fixed_ips=[])
    subs = [{"port_id": ident, "segmentation_id": 7, "segmentation_type": "vlan"}]
    trunk = rig.tenant.network.create_trunk(port_id=above.id, sub_ports=subs)

    def end() -> None:
        rig.tenant.network.delete_trunk(trunk.id)
        rig.tenant.network.delete_port(above.id)

    return end


@pytest.mark.parametrize("use", [bound, of_a_device, parent, subport], ids=lambda one: one.__name__)
def test_an_address_that_is_in_use_stays(
    addresses: GenuineRig, book: Book, use: Callable[[GenuineRig, str], Callable[[], None]]
) -> None:
    """
    Used since it was told: refused. Used when it is looked at: told with what uses it, and refused; unused, it goes.
    """
    addresses.make()
    ident, _ = come_back(addresses)
    (unused,) = book.leaks()
    end = use(addresses, ident)
    try:
        assert book.refused(unused)[0] in (grpc.StatusCode.ABORTED, grpc.StatusCode.NOT_FOUND)
        assert book.told() == [("address_leftover_in_doubt", ident)]
        (leak,) = book.leaks()
        assert "uses it" in leak.why
        assert book.refused(leak)[0] is grpc.StatusCode.FAILED_PRECONDITION
        assert ident in [port.id for port in addresses.ports()]
    finally:
        end()
    book.repair(*book.leaks())
    assert addresses.ports() == []


def test_what_no_log_knows_stays(addresses: GenuineRig, book: Book) -> None:
    """
    Our own database may have been restored: told, and refused.
    """
    addresses.make()
    name = f"projects/{addresses.project}/leases/{uuid.uuid4()}"
    body = {"network_id": addresses.network, "project_id": addresses.project, "name": name, "description": LEASE}
    made = addresses.genuine.create("ports", body)

    assert book.told() == [("address_leftover_in_doubt", made["id"])]
    assert book.refused(*book.leaks())[0] is grpc.StatusCode.FAILED_PRECONDITION
    assert [port.id for port in addresses.ports()] == [made["id"]]
