# SPDX-License-Identifier: Apache-2.0
"""Ports that a genuine Ironic moves on a genuine Neutron: read through a whole life, and cut and brought back in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from bms.network.v1 import attachment_pb2 as at
from bms.network.v1 import network_pb2 as net
from services.network.backends.neutron import NeutronFabric
from services.network.backends.neutron_networks import NeutronNetworks
from services.network.backends.neutron_observed import ObservedNeutron
from services.runtime.database import open_database
from services.runtime.migrations import migrate
from services.runtime.neutron import open_neutron
from tests.network.conftest import CLASSES, Site
from tests.openstack.cloud.fixture import Cloud
from tests.openstack.cloud.neutron import PHYSICAL_NETWORK
from tests.support.wire import Reply

pytestmark = [
    pytest.mark.openstack_full,
    pytest.mark.timeout(600),
    # Of the SDK's own parts.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"),
]

WAIT = 180


class Watched(Site):
    """A network service that only observes, and a node of Ironic's whose ports Ironic moves.

    Attributes:
        node: its UUID, the server's.
        vif: the tenant's port in Neutron.
    """

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        url = f"sqlite:///{folder / 'network.sqlite'}"
        migrate(url, "services.network")
        self.cloud, self.admin = cloud, cloud.connect()
        self.project = str(cloud.connect("tenant-a").current_project_id)
        self.api = open_neutron("site", setting="test")
        networks = NeutronNetworks(self.api, PHYSICAL_NETWORK, [self.admin.current_project_id])
        super().__init__(
            open_database(url),
            folder,
            lambda clock: ObservedNeutron(self.api, NeutronFabric(self.api, clock)),
            networks,
        )
        free = self.admin.baremetal.nodes(provision_state="available", driver="fake-hardware", is_maintenance=False)
        self.node = next(one.id for one in free if not one.instance_id)
        self.link = self._link()
        self.vif: Any = None

    def _link(self) -> at.PortLink:
        (port,) = [one for one in self.admin.baremetal.ports(node=self.node, details=True) if one.is_pxe_enabled]
        where = port.local_link_connection
        return at.PortLink(
            port=f"servers/{self.node}/ports/{port.address.replace(':', '')}", mac_address=port.address,
            switch_name=where["switch_info"], switch_port=where["port_id"], switch_id=where["switch_id"],
        )  # fmt: skip

    def take_over(self, name: str, port_class: str) -> str:
        """Our name of the cloud's network *name*."""
        found = self.admin.network.find_network(name)
        taken = f"projects/{self.project if port_class == 'tenant' else 'site'}/networks/{found.id}"
        self.network(taken, port_class)
        return taken

    def want(self, port_class: str, *networks: str, purpose: str = "STEP") -> None:
        asked = at.PortWish(
            port=self.link.port, port_class=CLASSES[port_class],
            networks=[at.NetworkTag(network=name) for name in networks],
            purpose=at.WishPurpose.Value(f"WISH_PURPOSE_{purpose}"),
        )  # fmt: skip
        ok(self.attach(asked, server=self.node, project=self.project if port_class == "tenant" else ""))

    def seen(self) -> str:
        return ", ".join(self.classes(self.node))

    def until(self, wanted: str, ask: Callable[[], str]) -> None:
        end = time.monotonic() + WAIT
        while (found := ask()) != wanted:
            assert time.monotonic() < end, f"{found}, not {wanted}; {self.state()}; {self.read(self.node, fence=0)}"
            time.sleep(0.3)

    def state(self) -> str:
        return str(self.admin.baremetal.get_node(self.node).provision_state)

    def port(self) -> Any:
        return self.admin.network.get_port(self.vif.id)

    def lead(self) -> None:
        """Leaves the node as it was found."""
        ironic: Any = self.admin.baremetal
        end = time.monotonic() + WAIT
        while (state := self.state()) != "available":
            assert time.monotonic() < end, state
            if state in ("active", "wait call-back", "deploy failed"):
                ironic.set_node_provision_state(self.node, "deleted")
            time.sleep(0.5)
        self.cloud.steer(self.node, {})
        if self.vif is not None:
            ironic.detach_vif_from_node(self.node, self.vif.id, ignore_missing=True)
            self.admin.network.delete_port(self.vif.id, ignore_missing=True)


def ok(reply: Reply) -> Any:
    assert reply.code is grpc.StatusCode.OK, reply
    return reply.message


@pytest.fixture
def site(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(cloud.place.home / "clouds.yaml"))
    made = Watched(cloud, tmp_path)
    try:
        yield made
    finally:
        made.lead()
        made.close()
        made.database.close()


def test_what_ironic_does_is_read_and_only_a_cut_is_ours(site: Watched) -> None:
    """
    Ironic binds for a deploy, the tenant and a clean, and each is read as that class; a step that is asked for moves
    nothing; a cut unbinds the tenant's port, which stays Ironic's VIF with its address, MAC address and place, and is
    brought back; and Ironic, which was told nothing of it, takes the server back and leaves nothing bound.
    """
    ironic: Any = site.admin.baremetal
    tenant = site.take_over("net-a", "tenant")
    provisioning = site.take_over("provisioning", "provisioning")
    site.take_over("cleaning", "cleaning")
    ok(site.register(site.link, server=site.node))
    assert site.seen() == "quarantine"
    site.vif = site.admin.network.create_port(network_id=tenant.rsplit("/", 1)[1], project_id=site.project)
    ironic.attach_vif_to_node(site.node, site.vif.id)
    assert site.seen() == "quarantine", "Ironic binds early, without a place"

    site.want("provisioning", provisioning)
    assert site.seen() == "quarantine", "that is Ironic's to do"
    site.cloud.steer(site.node, {"deploy": "wait:10", "clean": "wait:10"})
    image = site.admin.image.find_image("tiny").id
    ironic.update_node(site.node, instance_info={"image_source": image})
    ironic.set_node_provision_state(site.node, "active")
    site.until("wait call-back", site.state)
    assert site.seen() == "provisioning"
    assert site.attachments(f"server = servers/{site.node}")[0].settled
    site.want("quarantine")
    assert site.seen() == "provisioning", "nor is it ours to end"
    site.until("active", site.state)
    assert site.seen() == "tenant"
    before = site.port()
    assert (before.status, before.binding_vif_type, before.mac_address) == ("ACTIVE", "other", site.link.mac_address)
    assert site.attachments()[0].requested.port_class == net.PORT_CLASS_QUARANTINE
    site.want("quarantine")
    assert site.seen() == "tenant", "a release's quarantine is Ironic's to bring about"

    ironic.set_node_power_state(site.node, "power off", wait=True, timeout=WAIT)
    site.want("quarantine", purpose="CUT")
    assert site.seen() == "quarantine"
    cut = site.port()
    assert (cut.binding_vif_type, cut.binding_host_id, cut.status) == ("unbound", "", "DOWN")
    assert (cut.mac_address, cut.fixed_ips, cut.binding_profile) == (
        before.mac_address, before.fixed_ips, before.binding_profile,
    )  # fmt: skip
    assert list(ironic.list_node_vifs(site.node)) == [site.vif.id]
    assert site.attachments()[0].settled

    site.want("tenant", tenant, purpose="RESTORE")
    assert site.seen() == "tenant"
    back = site.port()
    same = ("status", "binding_vif_type", "binding_host_id", "binding_profile", "mac_address", "fixed_ips")
    assert [getattr(back, name) for name in same] == [getattr(before, name) for name in same]
    assert site.attachments()[0].requested.purpose == at.WISH_PURPOSE_RESTORE

    site.want("quarantine", purpose="CUT")
    assert site.seen() == "quarantine"
    ironic.set_node_provision_state(site.node, "deleted")
    site.until("clean wait", site.state)
    assert site.seen() == "cleaning"
    assert site.port().binding_vif_type == "unbound"
    site.until("available", site.state)
    assert site.seen() == "quarantine"
    assert [one.id for one in site.admin.network.ports() if one.binding_host_id == site.node] == []
