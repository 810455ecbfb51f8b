# SPDX-License-Identifier: Apache-2.0
"""The cloud keeps what it says: a tenant's server on an Ironic node, and walls between those who use it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import openstack.exceptions
import pytest

from tests.openstack.cloud import ledger, nodes, running
from tests.openstack.cloud.fixture import Cloud

pytestmark = [
    pytest.mark.openstack_full,
    pytest.mark.timeout(900),
    # Of the SDK's own parts.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"),
]

WAIT = 240.0


def until(what: str, holds: Callable[[], Any]) -> Any:
    """Waits until *holds* answers something true, and answers that."""
    ends = time.monotonic() + WAIT
    while not (found := holds()):
        assert time.monotonic() < ends, f"{what}: it does not come to pass"
        time.sleep(0.5)
    return found


def boot(tenant: Any, name: str) -> Any:
    """Asks Nova for a server on a steered node."""
    network = tenant.network.find_network("net-a")
    return tenant.compute.create_server(
        name=name,
        flavor_id=tenant.compute.find_flavor("bm.fake").id,
        image_id=tenant.image.find_image("tiny").id,
        networks=[{"uuid": network.id}],
        config_drive=True,
    )


def test_a_tenant_boots_a_server_and_gives_it_back(cloud: Cloud) -> None:
    """
    A server of Nova's becomes ACTIVE on an Ironic node with its port bound where the node is plugged in; tenant b sees
    nothing of it; deleted, its node is available again and nothing of it is left in Neutron.
    """
    admin, tenant, other = cloud.connect(), cloud.connect("tenant-a"), cloud.connect("tenant-b")
    began = cloud.place.journal.stat().st_size if cloud.place.journal.exists() else 0
    server = boot(tenant, "smoke")
    try:
        server = until("boot", lambda: _settled(tenant, server.id))
        assert server.status == "ACTIVE", server.fault
        (node,) = admin.baremetal.nodes(instance_id=server.id, details=True)
        (port,) = admin.network.ports(device_id=server.id)
        (plugged, *_) = admin.baremetal.ports(node=node.id, address=port.mac_address, details=True)
        assert (node.provision_state, node.power_state) == ("active", "power on")
        assert (port.status, port.binding_vif_type, port.binding_host_id) == ("ACTIVE", "other", node.id)
        assert port.binding_profile["local_link_information"] == [plugged.local_link_connection]

        assert not list(other.compute.servers())
        assert not [each for each in other.network.ports() if each.id == port.id]
        assert other.network.find_network("net-a") is None
        assert not list(other.baremetal.nodes())
    finally:
        tenant.compute.delete_server(server.id)
        tenant.compute.wait_for_delete(server, wait=WAIT, interval=0.5)

    until("clean", lambda: admin.baremetal.get_node(node.id).provision_state == "available")
    assert not [each for each in admin.network.ports() if each.device_id in (server.id, node.id)]
    with cloud.place.journal.open() as journal:
        journal.seek(began)
        told = [json.loads(line) for line in journal]
    bound = [each for each in told if each["what"] == "bind" and each["port"]["id"] == port.id]
    assert bound[-1]["segment"]["segmentation_id"] == 120
    assert told[-1]["what"] == "delete", "the last is the cleaning port's end"


def _settled(tenant: Any, server: str) -> Any:
    found = tenant.compute.get_server(server)
    return found if found.status in ("ACTIVE", "ERROR") else None


def test_a_node_does_what_it_is_told(cloud: Cloud) -> None:
    """
    A node that was told to fail its clean does so, with its reason; told otherwise, it becomes available.
    """
    ironic: Any = cloud.connect().baremetal
    node = next(iter(ironic.nodes(provision_state="available", driver="fake-hardware", is_maintenance=False)))
    cloud.steer(node.id, {"clean": "fail"})
    try:
        ironic.set_node_provision_state(node.id, "manage", wait=True, timeout=60)
        ironic.set_node_provision_state(node.id, "provide")
        until("fail", lambda: ironic.get_node(node.id).provision_state == "clean failed")
        assert "clean was told to fail" in ironic.get_node(node.id).last_error
    finally:
        cloud.steer(node.id, {})
        ironic.unset_node_maintenance(node.id)
        ironic.set_node_provision_state(node.id, "manage", wait=True, timeout=60)
        ironic.set_node_provision_state(node.id, "provide", wait=True, timeout=120)
    assert ironic.get_node(node.id).provision_state == "available"


def test_a_wrong_password_is_refused(cloud: Cloud) -> None:
    """
    Who does not know the password gets no token.
    """
    with pytest.raises(openstack.exceptions.SDKException) as caught:
        cloud.connect("tenant-a", password="not-the-password").authorize()

    assert "HTTP 401" in str(caught.value)


def test_up_while_up_starts_only_what_is_missing(cloud: Cloud) -> None:
    """
    A process that was killed is started again, the others stay, and no node is lost.
    """
    before = {entry.name: entry for entry in ledger.entries(cloud.place.home)}
    for process in before["placement"].family():
        process.kill()

    running.up()

    after = {entry.name: entry for entry in ledger.entries(cloud.place.home)}
    assert {name for name, entry in after.items() if entry.pid != before[name].pid} == {"placement"}
    assert all(entry.process is not None for entry in after.values())
    found = {node.name for node in cloud.connect().baremetal.nodes()}
    assert len(found) >= nodes.FAKE_NODES
