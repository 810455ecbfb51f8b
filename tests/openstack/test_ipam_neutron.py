# SPDX-License-Identifier: Apache-2.0
"""Addresses of ours in a genuine Neutron, and its own with us."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import grpc
import pytest

from bms.event.v1 import event_pb2
from bms.ipam.v1 import lease_pb2, prefix_pb2
from services.ipam.backends.neutron import NeutronPlane
from services.ipam.domain.holding import parked_mac
from services.ipam.domain.leases import LeaseState
from services.ipam.servicer import IpamServicer
from services.kernel.calls import Call
from services.kernel.clock import RandomIds
from services.runtime.auth import make_token
from services.runtime.context import current
from services.runtime.database import open_database
from services.runtime.eventlog import EventLog
from services.runtime.migrations import migrate
from services.runtime.neutron import Neutron, open_neutron
from services.runtime.page_tokens import PageTokens
from services.runtime.writing import Replies, Writer
from tests.ipam.neutron_rig import Crash, dying
from tests.ipam.rig import Rig, creation, verify, wish
from tests.ipam.test_process import running
from tests.openstack.cloud.fixture import Cloud
from tests.support.judging import findings
from tests.support.wire import Wire, member

pytestmark = [
    pytest.mark.openstack_full,
    pytest.mark.timeout(300),
    # Of the SDK's own parts.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"),
]

CIDR = "10.97.0.0/28"
MAC = "52:54:00:97:00:01"


class GenuineRig(Rig):
    """ipam over a file, and tenant a's project in the genuine Neutron.

    Attributes:
        admin, tenant: connections of the SDK; the tenant's is a member of his project alone.
        project: the id of that project, ours and Keystone's.
        network: a network of the tenant's, by its id in Neutron; so it is called with us too.
    """

    def __init__(self, folder: Path, cloud: Cloud) -> None:
        url = f"sqlite:///{folder / 'ipam.sqlite'}"
        migrate(url, "services.ipam")
        super().__init__(open_database(url), ids=RandomIds())
        self.admin, self.tenant = cloud.connect(), cloud.connect("tenant-a")
        self.project = self.tenant.current_project_id
        self.network = self.tenant.network.create_network(name=f"ipam-{uuid.uuid4().hex[:8]}").id
        self.path = f"projects/{self.project}/networks/{self.network}"
        self.genuine = open_neutron("site", setting="test")
        self.restart()

    def restart(self) -> None:
        """Another process over the same database."""
        ids = RandomIds()
        self.log = EventLog(self.database, ids, chained=True)
        self.servicer = IpamServicer(
            self.database,
            self.log,
            Writer(self.database, Replies(b"k" * 32)),
            PageTokens(b"p" * 32),
            ids,
            plane=NeutronPlane(self._api),
            clock=self.clock,
        )
        self.wire = Wire(self.servicer, member(self.project), clock=self.clock)

    def _api(self) -> Neutron:
        return self.genuine

    def make(self, **fields: Any) -> prefix_pb2.Prefix:
        """A prefix in the tenant's network."""
        return self.prefix(CIDR, network=self.path, parent=f"projects/{self.project}", **fields)

    def want(self, resource: str = "vm-1", **fields: Any) -> lease_pb2.LeaseAddressRequest:
        """A request for an address there."""
        return wish(resource, network=self.path, parent=f"projects/{self.project}", **fields)

    def get(self, resource: str = "vm-1", **fields: Any) -> lease_pb2.AddressLease:
        """An address there."""
        message: lease_pb2.AddressLease = self.wire.ok("LeaseAddress", self.want(resource, **fields))
        return message

    def served(self, request: lease_pb2.LeaseAddressRequest) -> None:
        """Asks for an address in this very thread, which is what dies."""
        method = "/bms.ipam.v1.IpamService/LeaseAddress"
        token = current.set(Call(member(self.project), method, "test", self.clock.now(), request.request_id))
        try:
            self.servicer.LeaseAddress(request, cast("grpc.ServicerContext", None))
        finally:
            current.reset(token)

    def ports(self) -> list[Any]:
        """Every port in the network, as an administrator sees it."""
        return list(self.admin.network.ports(network_id=self.network))

    def go_round(self) -> None:
        """Compares everything, and does what is due."""
        assert self.servicer.controller is not None
        self.servicer.controller.rounds.tick(self.clock.now())
        for _ in range(3):
            self.servicer.controller.settling.tick(self.clock.now())

    def state(self, lease: lease_pb2.AddressLease) -> LeaseState:
        """How the store has a lease."""
        found = self.database.read(lambda tx: self.servicer.store(tx).lease(lease.name))
        assert found is not None
        return found.state

    def close(self) -> None:
        """Removes everything that is in the network, and it."""
        for port in self.ports():
            self.admin.network.delete_port(port.id)
        self.admin.network.delete_network(self.network)
        self.database.close()


@pytest.fixture
def rig(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GenuineRig]:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(cloud.place.clouds))
    made = GenuineRig(tmp_path, cloud)
    yield made
    made.close()


def test_a_lease_from_its_grant_to_its_end(rig: GenuineRig) -> None:
    """
    A prefix is a subnet and a lease a port of the tenant's, unbound, which he sees; it stays through the cool-down
    under another MAC address, so that Neutron gives the address to nobody; then both are gone.
    """
    prefix = rig.make(cool_down=None, dns_servers=["9.9.9.9"])
    (subnet,) = rig.tenant.network.subnets(network_id=rig.network)
    assert (subnet.cidr, subnet.gateway_ip, list(subnet.dns_nameservers)) == (CIDR, "10.97.0.1", ["9.9.9.9"])
    assert subnet.is_dhcp_enabled is False

    lease = rig.get(mac_address=MAC)

    (port,) = rig.ports()
    (seen,) = rig.tenant.network.ports(network_id=rig.network)
    assert seen.id == port.id
    assert (port.mac_address, port.name, port.tags) == (MAC, lease.name, ["bms-lease"])
    assert port.fixed_ips == [{"subnet_id": subnet.id, "ip_address": lease.address}]
    assert (port.binding_vnic_type, port.binding_host_id, port.binding_vif_type) == ("baremetal", "", "unbound")
    rig.release(lease)
    rig.go_round()
    (parked,) = rig.ports()
    assert (parked.id, parked.mac_address) == (port.id, parked_mac(lease.name))
    with pytest.raises(Exception, match="already allocated"):
        rig.tenant.network.create_port(network_id=rig.network, fixed_ips=[{"ip_address": lease.address}])
    second = rig.get("vm-2", mac_address=MAC)
    assert second.address != lease.address
    rig.release(second)
    rig.clock.advance(601)
    rig.go_round()
    assert rig.ports() == []
    assert rig.state(lease) is LeaseState.FREED
    rig.wire.ok("DeletePrefix", prefix_pb2.DeletePrefixRequest(name=prefix.name))
    assert not list(rig.tenant.network.subnets(network_id=rig.network))


def test_what_is_there_already(rig: GenuineRig) -> None:
    """
    The tenant's own subnet is taken over with its gateway, another gateway is refused, and his port's address is
    refused by name, passed over otherwise, observed, and given when the port has gone.
    """
    subnet = rig.tenant.network.create_subnet(
        network_id=rig.network, ip_version=4, cidr=CIDR, gateway_ip="10.97.0.14", is_dhcp_enabled=False
    )
    theirs = rig.tenant.network.create_port(
        network_id=rig.network, device_id="a-machine", fixed_ips=[{"ip_address": "10.97.0.1"}]
    )
    other = creation(CIDR, network=rig.path, parent=f"projects/{rig.project}", gateway="10.97.0.1")
    refused = rig.refused("CreatePrefix", other)
    assert refused.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "10.97.0.14" in refused.status.message

    assert rig.make().gateway == "10.97.0.14"
    by_name = rig.refused("LeaseAddress", rig.want(address="10.97.0.1"))
    lease = rig.get()
    rig.go_round()

    assert by_name.code is grpc.StatusCode.ALREADY_EXISTS
    assert theirs.id in by_name.status.message
    assert "a-machine" in by_name.status.message
    assert lease.address == "10.97.0.2"
    rig.tenant.network.delete_port(theirs.id)
    rig.go_round()
    assert rig.get("vm-2", address="10.97.0.1").epoch == 1
    assert [each.id for each in rig.tenant.network.subnets(network_id=rig.network)] == [subnet.id]
    events = rig.events()
    verify(events)
    assert findings("ipam", events) == []


def test_processes_that_die(rig: GenuineRig) -> None:
    """
    A process that dies before or after the port was made leaves nothing that the next one does not finish, with one
    port; what nobody comes for is given up.
    """
    rig.make()
    for number, (label, when) in enumerate(
        [("plane.hold", "before"), ("plane.hold", "after"), ("db.LeaseAddress.commit", "before")]
    ):
        request = rig.want(f"vm-{number}", mac_address=f"52:54:00:97:01:0{number}", request_id=str(uuid.uuid4()))
        with dying(label, when), pytest.raises(Crash):
            rig.served(request)
        rig.restart()
        lease = rig.wire.ok("LeaseAddress", request)
        assert [port.mac_address for port in rig.ports() if port.name == lease.name] == [f"52:54:00:97:01:0{number}"]
    with dying("plane.hold", "after"), pytest.raises(Crash):
        rig.served(rig.want("vm-9"))
    assert len(rig.ports()) == 4
    rig.restart()
    rig.clock.advance(301)
    rig.go_round()

    assert len(rig.ports()) == 3


def test_a_port_deleted_by_its_tenant(rig: GenuineRig) -> None:
    """
    A port of a lease that its tenant deleted, or gave another MAC address, is as it was after the next round.
    """
    rig.make()
    lease = rig.get(mac_address=MAC)
    rig.tenant.network.delete_port(rig.ports()[0].id)
    rig.go_round()
    (port,) = rig.ports()
    assert (port.name, port.mac_address) == (lease.name, MAC)

    rig.admin.network.update_port(port.id, mac_address="52:54:00:97:99:99")
    rig.go_round()

    assert rig.ports()[0].mac_address == MAC


def test_a_quota_of_the_tenants(rig: GenuineRig) -> None:
    """
    A tenant whose quota of ports is used up is told so, and has his address when it was raised.
    """
    rig.make()
    used = len(list(rig.admin.network.ports(project_id=rig.project)))
    rig.admin.network.update_quota(rig.project, port=used)
    try:
        refused = rig.refused("LeaseAddress", rig.want())
    finally:
        rig.admin.network.delete_quota(rig.project)

    assert refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "quota" in refused.status.message.lower()
    assert rig.get().epoch == 1


def test_the_process_does_it_by_itself(rig: GenuineRig, tmp_path: Path) -> None:
    """
    The process that production starts grants, parks, lets go and observes by itself.
    """
    (tmp_path / "process").mkdir()
    url = f"sqlite:///{tmp_path / 'process.sqlite'}"
    migrate(url, "services.ipam")
    token = make_token()
    auth = (("authorization", f"Bearer {token}"),)
    settings = {"BMS_IPAM_BACKEND": "neutron", "BMS_IPAM_NEUTRON_CLOUD": "site", "BMS_IPAM_NEUTRON_SECONDS": "1"}
    wanted = creation(CIDR, network=rig.path, parent=f"projects/{rig.project}", cool_down=timedelta(seconds=3))
    theirs = rig.tenant.network.create_port(network_id=rig.network, device_id="a-machine")

    with running(url, tmp_path / "process", token, project=rig.project, settings=settings) as stub:
        stub.CreatePrefix(wanted, metadata=auth, timeout=30)
        lease = stub.LeaseAddress(rig.want(mac_address=MAC), metadata=auth, timeout=30)
        assert [port.mac_address for port in rig.ports() if port.name == lease.name] == [MAC]
        rig.tenant.network.update_port(theirs.id, fixed_ips=[{"ip_address": "10.97.0.9"}])
        release = lease_pb2.ReleaseLeaseRequest(name=lease.name, epoch=lease.epoch)
        stub.ReleaseLease(release, metadata=auth, timeout=30)
        types: list[str] = []
        after = 0
        while len(types) < 5:
            page = stub.ListEvents(event_pb2.ListEventsRequest(after=after, wait_seconds=20), metadata=auth, timeout=30)
            assert page.events, f"nothing after {types} in twenty seconds"
            types += [event.header.type for event in page.events]
            after = page.next_after

    told = ["address.cooling", "address.freed", "address.leased", "address.observed", "prefix.created"]
    assert sorted(types) == told
    assert [port.id for port in rig.ports()] == [theirs.id]
