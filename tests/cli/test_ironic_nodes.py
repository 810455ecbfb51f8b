# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

import pytest

from services.cli.ironic_nodes import FREE, Nodes, rows_of
from services.inventory.domain import importing
from services.inventory.domain.import_nodes import read_json
from services.inventory.domain.import_rows import stated
from services.inventory.domain.importing import Planned
from services.inventory.domain.server import Login

UUID = "00000001-0000-4000-8000-000000000000"
OTHER = "00000002-0000-4000-8000-000000000000"


def node(uuid: str = UUID, **more: Any) -> dict[str, Any]:
    return {
        "uuid": uuid, "name": f"n-{uuid[7]}", "driver": "redfish", "provision_state": "available",
        "driver_info": {"redfish_address": f"https://10.0.0.{uuid[7]}:8443", "redfish_password": "******"},
        "properties": {}, "extra": {}, "traits": [], "instance_uuid": None, **more,
    }  # fmt: skip


def port(mac: str, uuid: str = UUID, **more: Any) -> dict[str, Any]:
    return {"node_uuid": uuid, "address": mac, "pxe_enabled": False, "local_link_connection": {}, **more}


def planned(there: Nodes) -> list[Planned]:
    """What inventory would make of the import, which has no fault."""
    raws, faults = read_json(json.dumps({"nodes": rows_of(there).rows}))
    plan, more = importing.plan([stated(raw) for raw in raws], {}, lambda _: {}, lambda _: Login())
    assert (faults, more) == ([], [])
    return plan


def test_what_ironic_knows_of_a_node_is_what_inventory_is_told() -> None:
    """
    UUID, class, traits, properties, root disk, ports with links, bonds; and that Ironic keeps the login.
    """
    described = node(
        resource_class="gold", traits=["CUSTOM_GPU"], description="left",
        properties={
            "cpu_arch": "x86_64", "cpus": 8, "memory_mb": "4096", "local_gb": 100, "vendor": "Acme",
            "capabilities": "boot_mode:uefi,x:1", "root_device": {"serial": "S1", "size": 100},
        },
    )  # fmt: skip
    link = {"switch_id": "00:00:5e:00:53:01", "port_id": "Eth1", "switch_info": "leaf1"}
    ports = [
        port("52:54:00:00:00:01", pxe_enabled=True, local_link_connection=link, physical_network="phys"),
        port("52:54:00:00:00:02", portgroup_uuid="g", local_link_connection={**link, "port_id": "Eth2"}),
    ]
    groups = [{"uuid": "g", "node_uuid": UUID, "name": f"bond0-{UUID}", "mode": "802.3ad"}]

    (one,) = planned(Nodes([described], ports, groups))

    spec = one.spec
    assert one.uuid == UUID
    assert (spec.bmc.address, spec.bmc.port, spec.bmc.driver) == ("10.0.0.1", 8443, "redfish")
    assert spec.bmc.kept_by_controller
    assert not one.login
    assert (spec.resource_class, spec.description, spec.unmanaged) == ("gold", "left", False)
    assert dict(spec.properties.capabilities) == {"boot_mode": "uefi", "x": "1", "CUSTOM_GPU": "true"}
    assert (spec.properties.cpus, spec.properties.memory_mb, spec.properties.manufacturer) == (8, 4096, "Acme")
    assert dict(spec.root_device_hints) == {"serial": "S1", "size": "100"}
    assert [(each.switch_name, each.switch_port, each.pxe_enabled, each.port_group) for each in spec.ports] == [
        ("leaf1", "Eth1", True, ""),
        ("leaf1", "Eth2", False, "bond0"),
    ]
    assert spec.ports[0].physical_network == "phys"
    assert [(group.label, group.mode) for group in spec.port_groups] == [("bond0", "802.3ad")]


@pytest.mark.parametrize(
    ("more", "in_use"),
    [
        *(({"provision_state": state}, False) for state in sorted(FREE)),
        *(({"provision_state": state}, True) for state in ("active", "deploying", "error", "rescue", "deleting")),
        ({"instance_uuid": OTHER}, True),
    ],
)
def test_nodes_in_use_are_only_put_on_record(more: dict[str, Any], in_use: bool) -> None:
    """
    What somebody's system is on, or is held for somebody, can never be provided as it is imported, and says so.
    """
    there = Nodes([node(**more)], [], [])
    (one,) = planned(there)

    assert one.spec.can_be_provided is not in_use
    assert dict(one.spec.labels) == ({"adopt": "yes"} if in_use else {})
    assert rows_of(there).in_use == (["n-1"] if in_use else [])


def test_what_lifecycle_works_with_is_left_out() -> None:
    """
    A node with notes of ours is on record already, maybe with a login that an import would forget.
    """
    found = rows_of(Nodes([node(extra={"bms": {"made": True}}), node(OTHER, extra={"bms": {}})], [], []))

    assert found.skipped == {"n-1": "lifecycle works with it already"}
    assert [row["name"] for row in found.rows] == ["n-2"]


def test_nodes_behind_one_address_have_none() -> None:
    """
    Blades of one chassis share a BMC's address, which here belongs to one server; Ironic tells them apart.
    """
    info = {"redfish_address": "https://chassis", "redfish_system_id": "/redfish/v1/Systems/1"}
    both = planned(Nodes([node(driver_info=info), node(OTHER, driver_info=info)], [], []))

    assert [one.spec.bmc.address for one in both] == ["", ""]


@pytest.mark.parametrize("info", [{}, {"redfish_address": "https://[::1"}, {"redfish_address": "unix://"}])
def test_an_address_that_says_nothing_is_left_out(info: dict[str, str]) -> None:
    """
    Drivers have BMCs that are no host and port, or none.
    """
    (one,) = planned(Nodes([node(driver_info=info)], [port("52:54:00:00:00:01")], []))

    assert one.spec.bmc.address == ""
    assert one.spec.ports[0].switch_name == ""
