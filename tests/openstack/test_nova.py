# SPDX-License-Identifier: Apache-2.0
"""A genuine Nova asks for the same node as we do: one has it, the other is told so and leaves it alone."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from services.kernel.clock import SystemClock
from services.kernel.errors import PeerUnavailable
from services.lifecycle.backends.ironic import IronicHardware
from services.lifecycle.backends.ironic_api import IronicApi
from services.lifecycle.bmc import Bmc
from services.lifecycle.ports import TakenElsewhere, Target
from tests.openstack.cloud.fixture import Cloud
from tests.openstack.cloud.nodes import offered
from tests.openstack.cloud.test_cloud import until

pytestmark = [
    pytest.mark.openstack_full,
    pytest.mark.timeout(900),
    # Of the SDK's own parts.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"),
]

WEB = "projects/demo/instances/web"
HELD = "CUSTOM_BMS_HELD"
CLASS = "bms.held"


@dataclass(slots=True)
class LastNode:
    """The only node of its resource class, which we and Nova both ask for.

    Attributes:
        admin: the cloud, as its administrator.
        tenant: and as a tenant.
    """

    cloud: Cloud
    admin: Any
    tenant: Any
    node: str
    flavor: str
    hardware: IronicHardware

    @property
    def target(self) -> Target:
        """It, as the backend is told."""
        return Target(self.node, fence=1)

    @property
    def holder(self) -> str:
        """Whom Ironic holds it for."""
        return str(self.admin.baremetal.get_node(self.node).instance_id or "")

    def free(self) -> None:
        """Waits until Placement offers it to Nova."""
        until("offer", lambda: offered(self.admin, self.node))

    def boot(self) -> Any:
        """A tenant asks Nova for it."""
        return self.tenant.compute.create_server(
            name="held",
            flavor_id=self.flavor,
            image_id=self.tenant.image.find_image("tiny").id,
            networks=[{"uuid": self.tenant.network.find_network("net-a").id}],
            config_drive=True,
        )

    def ended(self, server: Any) -> Any:
        """The server once Nova has made up its mind about it."""

        def seen() -> Any:
            found = self.tenant.compute.get_server(server.id)
            return found if found.status in ("ACTIVE", "ERROR") else None

        return until("boot", seen)

    def delete(self, server: Any) -> None:
        """The tenant gives it back, and it is clean."""
        self.tenant.compute.delete_server(server.id)
        self.tenant.compute.wait_for_delete(server, wait=240, interval=0.5)
        until("clean", lambda: self.admin.baremetal.get_node(self.node).provision_state == "available")

    def reserve(self, name: str) -> bool:
        """Whether it is ours, after asking for it as the worker does."""
        while True:
            try:
                return self.hardware.reserve(self.target, WEB, request_id=name) == name
            except TakenElsewhere:
                return False
            except PeerUnavailable:
                time.sleep(0.2)


class NoLogin:
    """Nobody asks for the login of a node without a BMC."""

    def of(self, server: str) -> Bmc:
        raise NotImplementedError(server)


@pytest.fixture(scope="module")
def last(cloud: Cloud) -> Iterator[LastNode]:
    """A node of its own class, and a flavor that asks for it; both gone afterwards."""
    admin, node = cloud.connect(), str(uuid.uuid4())
    kinds = {f"{kind}_interface": "bms-steered" for kind in ("deploy", "inspect", "rescue", "power")}
    admin.baremetal.create_node(
        id=node, name=f"held-{node[:8]}", driver="fake-hardware", resource_class=CLASS, provision_state="enroll",
        network_interface="neutron", properties={"cpus": 4, "memory_mb": 8192, "local_gb": 10}, **kinds,
    )  # fmt: skip
    mac = f"52:54:00:{node[:2]}:{node[2:4]}:{node[4:6]}"
    link = {"switch_id": "00:00:5e:00:53:77", "port_id": f"Ethernet1/{node[:8]}", "switch_info": "leaf1"}
    admin.baremetal.create_port(node_id=node, address=mac, local_link_connection=link, is_pxe_enabled=True)
    flavor = admin.compute.create_flavor(name=f"held-{node[:8]}", ram=8192, vcpus=4, disk=10)
    nothing = {f"resources:{what}": "0" for what in ("VCPU", "MEMORY_MB", "DISK_GB")}
    admin.compute.create_flavor_extra_specs(flavor, {"resources:CUSTOM_BMS_HELD": "1", **nothing})
    admin.baremetal.set_node_provision_state(node, "manage", wait=True, timeout=120)
    admin.baremetal.set_node_provision_state(node, "provide", wait=True, timeout=240)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OS_CLIENT_CONFIG_FILE", str(cloud.place.clouds))
        hardware = IronicHardware(IronicApi(cloud="site"), NoLogin(), SystemClock())
        made = LastNode(cloud, admin, cloud.connect("tenant-a"), node, flavor.id, hardware)
        try:
            made.free()
            yield made
        finally:
            admin.compute.delete_flavor(flavor)
            with contextlib.suppress(Exception):  # whatever a failed test left
                admin.baremetal.update_node(node, instance_id=None)
            admin.baremetal.set_node_maintenance(node)
            admin.baremetal.delete_node(node)


def test_what_we_hold_nova_does_not_get(last: LastNode) -> None:
    """
    Held by us a moment ago, so that Placement has not heard: Nova tries, is refused by Ironic, and its server fails;
    given back, Nova gets it.
    """
    mine = str(uuid.uuid4())
    assert last.reserve(mine)
    server = last.boot()
    found = last.ended(server)
    assert (found.status, last.holder) == ("ERROR", mine), found.fault
    last.tenant.compute.delete_server(server.id)

    last.hardware.unreserve(last.target)
    assert not last.holder
    last.free()


def test_what_nova_holds_we_leave_alone(last: LastNode) -> None:
    """
    Nova's server runs on it: neither reserved nor given back by us; and after Nova gave it back it is not taken for
    clean until it was cleaned for us.
    """
    last.hardware.unreserve(last.target)  # as we offer it
    server = last.boot()
    try:
        assert last.ended(server).status == "ACTIVE"
        assert last.holder == server.id
        with pytest.raises(TakenElsewhere, match=server.id):
            last.hardware.reserve(last.target, WEB, request_id=str(uuid.uuid4()))
        last.hardware.unreserve(last.target)
        assert last.holder == server.id
    finally:
        last.delete(server)

    with pytest.raises(TakenElsewhere, match="used since"):
        last.hardware.reserve(last.target, WEB, request_id=str(uuid.uuid4()))
    last.hardware.unreserve(last.target)
    last.free()


def test_a_race_for_the_last_node_has_one_winner(last: LastNode) -> None:
    """
    We ask while Nova's driver is about to: whoever Ironic holds it for has it, and the other was told so.
    """
    mine, said = str(uuid.uuid4()), []
    server = last.boot()

    def ask() -> None:
        # The scheduler has chosen the node by now, and its driver has not yet asked Ironic for it.
        _until_soon(lambda: last.tenant.compute.get_server(server.id).task_state == "networking")
        said.append(last.reserve(mine))

    asking = threading.Thread(target=ask)
    asking.start()
    found = last.ended(server)
    asking.join()
    ours = said == [True]
    print(f"\nwon: {'ours' if ours else 'Nova'}")  # noqa: T201 -- for whoever asks with -s

    assert last.holder == (mine if ours else server.id)
    assert found.status == ("ERROR" if ours else "ACTIVE"), found.fault
    if ours:
        last.tenant.compute.delete_server(server.id)
        last.hardware.unreserve(last.target)
    else:
        last.delete(server)
        last.hardware.unreserve(last.target)
    last.free()


def _until_soon(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not holds() and time.monotonic() < ends:
        time.sleep(0.1)


def test_a_template_ends_novas_deploy_before_the_image_boots(last: LastNode) -> None:
    """
    What a path through Nova stands on: a trait of the flavor has Ironic leave out the step that boots, so that Nova's
    server is ACTIVE and the node off; switched on in Ironic, Nova follows and does not fight it.
    """
    system = last.cloud.connect("admin-system")
    body = {"name": HELD, "steps": [{"interface": "deploy", "step": "boot_instance", "args": {}, "priority": 0}]}
    made = system.baremetal.post("/deploy_templates", json=body, microversion="1.81")
    assert made.status_code in (201, 409), made.text
    assert last.admin.baremetal.put(f"/nodes/{last.node}/traits/{HELD}", microversion="1.81").status_code == 204
    last.admin.compute.create_flavor_extra_specs(
        last.admin.compute.get_flavor(last.flavor), {f"trait:{HELD}": "required"}
    )
    try:
        until("trait", lambda: _has_trait(last))
        server = last.boot()
        try:
            assert last.ended(server).status == "ACTIVE"
            assert last.admin.baremetal.get_node(last.node).power_state == "power off"
            # Else Nova's own look at powers stops it, at any moment, and does not follow before it has.
            last.tenant.compute.stop_server(server)
            until("stop", lambda: last.tenant.compute.get_server(server.id).status == "SHUTOFF")
            last.admin.baremetal.set_node_power_state(last.node, "power on", wait=True, timeout=60)
            until("follow", lambda: _stands(last, server) == ("ACTIVE", 1))
        finally:
            last.delete(server)
    finally:
        if made.status_code == 201:
            system.baremetal.delete(f"/deploy_templates/{HELD}", microversion="1.81")


def _has_trait(last: LastNode) -> bool:
    headers = {"OpenStack-API-Version": "placement 1.39"}
    return HELD in last.admin.placement.get(f"/resource_providers/{last.node}/traits", headers=headers).text


def _stands(last: LastNode, server: Any) -> tuple[str, int]:
    found = last.tenant.compute.get_server(server.id)
    return found.status, found.power_state
