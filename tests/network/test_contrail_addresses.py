# SPDX-License-Identifier: Apache-2.0
"""ipam and network over one Contrail: an address outlives every network that its server is in meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bms.ipam.v1 import lease_pb2
from services.ipam.backends.contrail import ContrailPlane
from services.ipam.backends.contrail_words import hold_uuid
from services.runtime.contrail import Contrail
from tests.ipam.controller_rig import ControllerRig
from tests.ipam.rig import ADMIN, creation
from tests.ipam.rig import wish as wish_for
from tests.network.conftest import SERVER, link, wish
from tests.network.contrail_rig import BLUE, CLEANING, DEMO, PROVISIONING, Cloud, furnished, ok
from tests.support.stores import MakeDatabase

PROJECT = f"projects/{DEMO}"


@pytest.fixture
def cloud(make_database: MakeDatabase, tmp_path: Path) -> Iterator[Cloud]:
    made = Cloud(make_database("services.network"), tmp_path, furnished())
    for name in (PROVISIONING, CLEANING):
        made.network(name, name.rsplit("/", 1)[1])
    made.network(BLUE)
    ok(made.register(link(0)))
    ok(made.read())
    yield made
    made.close()


@pytest.fixture
def ipam(cloud: Cloud, make_database: MakeDatabase) -> ControllerRig:
    made = ControllerRig(make_database("services.ipam"), ContrailPlane(lambda: Contrail(cloud.fake)))
    request = creation(network=BLUE, parent=PROJECT, pools=(("10.1.0.10", "10.1.0.20"),))
    made.wire.ok("CreatePrefix", request, caller=ADMIN)
    return made


def test_an_address_outlives_every_flip(cloud: Cloud, ipam: ControllerRig) -> None:
    """
    Leased before the deployment, the instance-ip is the same in provisioning, at the tenant and after the cut;
    it refers to the interface only while that is there, and goes when it has rested, whatever network the server is in.
    """
    owner = wish_for(network=BLUE, parent=PROJECT, mac_address=link(0).mac_address)
    lease: lease_pb2.AddressLease = ipam.wire.ok("LeaseAddress", owner, caller=ADMIN)

    seen = []
    for port in (
        wish(0, "provisioning", PROVISIONING), wish(0, "quarantine"), wish(0, "tenant", BLUE), wish(0, "quarantine"),
        wish(0, "cleaning", CLEANING),
    ):  # fmt: skip
        ok(cloud.attach(port, project=PROJECT))
        ipam.round()
        found = cloud.fake.read("instance-ip", hold_uuid(lease.name))
        referred = [ref["uuid"] for ref in found.get("virtual_machine_interface_refs", ())]
        assert found["instance_ip_address"] == lease.address
        assert referred in ([], [one["uuid"] for one in cloud.at(0)])
        seen.append((cloud.classes()[0], bool(referred)))

    assert seen == [
        ("provisioning", False), ("quarantine", False), ("tenant", True), ("quarantine", False), ("cleaning", False),
    ]  # fmt: skip
    ipam.wire.ok("ReleaseLease", lease_pb2.ReleaseLeaseRequest(name=lease.name, epoch=lease.epoch), caller=ADMIN)
    ipam.clock.advance(601)
    ipam.settle()
    assert cloud.fake.every("instance-ip") == []
    assert cloud.classes() == ["cleaning"]


def test_a_server_has_an_address_to_boot_with(cloud: Cloud, ipam: ControllerRig) -> None:
    """
    A standing lease on each private network, noted for the port that the server boots by: the interface has it for
    as long as it is there, whatever instance comes and goes, and it is the same one the next time.
    """
    leases = {}
    for number, network in enumerate((PROVISIONING, CLEANING)):
        prefix = creation(f"10.{50 + number}.0.0/24", f"p{number}", network=network, parent="projects/site")
        ipam.wire.ok("CreatePrefix", prefix, caller=ADMIN)
        mac = link(0).mac_address
        owner = wish_for(SERVER, network=network, parent="projects/site", mac_address=mac, interface=mac)
        leases[network] = ipam.wire.ok("LeaseAddress", owner, caller=ADMIN)

    for port, network in (
        (wish(0, "cleaning", CLEANING), CLEANING), (wish(0, "provisioning", PROVISIONING), PROVISIONING),
        (wish(0, "quarantine"), ""), (wish(0, "tenant", BLUE), ""), (wish(0, "quarantine"), ""),
        (wish(0, "cleaning", CLEANING), CLEANING), (wish(0, "quarantine"), ""),
    ):  # fmt: skip
        ok(cloud.attach(port, project=PROJECT))
        ipam.round()
        for one, lease in leases.items():
            found = cloud.fake.read("instance-ip", hold_uuid(lease.name))
            referred = [ref["uuid"] for ref in found.get("virtual_machine_interface_refs", ())]
            assert found["instance_ip_address"] == lease.address
            assert referred == ([each["uuid"] for each in cloud.at(0)] if one == network else []), (one, network)


def test_the_next_owner_on_the_same_port_gets_his_own_address(cloud: Cloud, ipam: ControllerRig) -> None:
    """
    While one owner's address rests, the interface of the next one at the same port is referred to by his alone.
    """
    first = wish_for("vm-1", network=BLUE, parent=PROJECT, mac_address=link(0).mac_address)
    lease = ipam.wire.ok("LeaseAddress", first, caller=ADMIN)
    ipam.wire.ok("ReleaseLease", lease_pb2.ReleaseLeaseRequest(name=lease.name, epoch=lease.epoch), caller=ADMIN)
    ipam.settle()
    second = wish_for("vm-2", network=BLUE, parent=PROJECT, mac_address=link(0).mac_address)
    now = ipam.wire.ok("LeaseAddress", second, caller=ADMIN)

    ok(cloud.attach(wish(0, "tenant", BLUE), project=PROJECT))

    (interface,) = cloud.at(0)
    assert [ref["uuid"] for ref in interface["instance_ip_back_refs"]] == [hold_uuid(now.name)]
