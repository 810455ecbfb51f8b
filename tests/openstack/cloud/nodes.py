# SPDX-License-Identifier: Apache-2.0
"""The nodes of the cloud: eight whose outcomes a test steers, and some with an emulated BMC."""

from __future__ import annotations

import time
from typing import Any

from openstack.connection import Connection

from tests.openstack.cloud import bmc
from tests.openstack.cloud.furnish import CLASSES, connect
from tests.openstack.cloud.neutron import PHYSICAL_NETWORK
from tests.openstack.cloud.parts import START_SECONDS
from tests.openstack.cloud.place import REDFISH_NODES, Place

FAKE_NODES = 8
READY_SECONDS = 240.0
STEERED = ("deploy", "inspect", "rescue")
_OFFERED = {"OpenStack-API-Version": "placement 1.39"}


def enroll(place: Place) -> None:
    """Makes those that are not there, and leads each new one to available, all at once."""
    cloud: Any = connect(place)
    # Drivers are shown to the system's people, and to no project.
    _conducted(connect(place, "admin-system"))
    there = {node.name for node in cloud.baremetal.nodes()}
    wanted = [_fake(number) for number in range(1, FAKE_NODES + 1)]
    wanted += [_redfish(place, number) for number in range(1, REDFISH_NODES + 1)]
    for node, macs in wanted:
        if node["name"] not in there:
            made = cloud.baremetal.create_node(provision_state="enroll", network_interface="neutron", **node)
            for at, mac in enumerate(macs, 1):
                cloud.baremetal.create_port(
                    node_id=made.id, address=mac, is_pxe_enabled=at == 1, physical_network=PHYSICAL_NETWORK,
                    local_link_connection={
                        "switch_id": f"00:00:5e:00:53:{at:02x}", "port_id": f"Ethernet1/{node['name']}",
                        "switch_info": f"leaf{at}",
                    },
                )  # fmt: skip
    _lead(cloud, {node["name"] for node, _ in wanted})


def await_offered(place: Place, count: int = FAKE_NODES + REDFISH_NODES) -> None:
    """Waits until Placement offers at least *count* free nodes to Nova, as far as none is in use."""
    cloud: Any = connect(place)
    until = time.monotonic() + READY_SECONDS
    while True:
        free = sum(offered(cloud, node.id) for node in cloud.baremetal.nodes(provision_state="available"))
        if free >= min(count, len(list(cloud.baremetal.nodes(provision_state="available")))):
            return
        assert time.monotonic() < until, f"Placement offers {free} nodes"
        time.sleep(0.5)


def offered(cloud: Connection, node: str) -> bool:
    """Whether Placement has *node* with its inventory unreserved and unused."""
    url = f"/resource_providers/{node}"
    found = cloud.placement.get(f"{url}/inventories", headers=_OFFERED)
    used = cloud.placement.get(f"{url}/usages", headers=_OFFERED)
    if found.status_code != 200 or used.status_code != 200:
        return False
    rows = found.json()["inventories"].values()
    return bool(rows) and not any(row["reserved"] for row in rows) and not any(used.json()["usages"].values())


def _conducted(cloud: Any) -> None:
    until = time.monotonic() + START_SECONDS
    while {driver.name for driver in cloud.baremetal.drivers()} < {"fake-hardware", "redfish"}:
        assert time.monotonic() < until, "no conductor tells of its drivers; see the log of ironic-conductor"
        time.sleep(0.3)


def _lead(cloud: Any, names: set[str]) -> None:
    """Asks what each state of a node that nobody uses has to be asked next, until all are available."""
    asks = {"enroll": "manage", "manageable": "provide"}
    until = time.monotonic() + READY_SECONDS
    asked: set[tuple[str, str]] = set()
    while True:
        nodes = {
            node.name: node.provision_state
            for node in cloud.baremetal.nodes(fields=("name", "provision_state"))
            if node.name in names
        }
        on_the_way = {name: state for name, state in nodes.items() if state in _ON_THE_WAY}
        if not on_the_way:
            return
        for step in on_the_way.items():
            if step[1] in asks and step not in asked:
                cloud.baremetal.set_node_provision_state(step[0], asks[step[1]])
                asked.add(step)
        assert time.monotonic() < until, f"not available: {on_the_way}"
        time.sleep(0.5)


_ON_THE_WAY = ("enroll", "verifying", "manageable", "cleaning", "clean wait")
"""States on the way to available. A node in another is somebody's, or shows what a test did to it."""


def _fake(number: int) -> tuple[dict[str, Any], tuple[str, ...]]:
    interfaces = {f"{kind}_interface": "bms-steered" for kind in (*STEERED, "power")}
    properties = {"cpus": 4, "memory_mb": 8192, "local_gb": 10, "cpu_arch": "x86_64"}
    node = {"name": f"fake-{number}", "driver": "fake-hardware", "resource_class": CLASSES["fake"]}
    macs = tuple(f"52:54:00:01:{number:02x}:{port:02x}" for port in (1, 2))
    return {**node, **interfaces, "properties": properties}, macs


def _redfish(place: Place, number: int) -> tuple[dict[str, Any], tuple[str, ...]]:
    interfaces = {f"{kind}_interface": "bms-steered" for kind in ("deploy", "rescue")}
    login = {
        "redfish_address": f"https://127.0.0.1:{place.ports[f'bmc{number}']}", "redfish_username": bmc.USER,
        "redfish_password": place.secrets["bmc"], "redfish_verify_ca": str(place.ca),
        "redfish_system_id": f"/redfish/v1/Systems/{bmc.system_of(number)}",
    }  # fmt: skip
    node = {
        "name": f"redfish-{number}", "driver": "redfish", "resource_class": CLASSES["redfish"],
        "inspect_interface": "redfish", "boot_interface": "redfish-virtual-media",
    }  # fmt: skip
    return {**node, **interfaces, "driver_info": login}, bmc.macs_of(number)
