# SPDX-License-Identifier: Apache-2.0
"""A genuine Ironic and a genuine RabbitMQ: what people do there is what the analytics API shows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.lifecycle.backends.ironic_api import Deadline
from services.runtime.database import Database
from telemetry.bridge.app import run
from telemetry.bridge.conf import read
from telemetry.bridge.ironic import Ironic
from telemetry.sandesh.settings import Address
from tests.lifecycle.observing.broker import PASSWORD, USER, Broker
from tests.openstack.shared_ironic import SharedIronic
from tests.telemetry.bridge.notes import NODE, OTHER, SECRET
from tests.telemetry.bridge.test_app import clock
from tests.telemetry.rig import rig

pytestmark = [
    pytest.mark.openstack,
    pytest.mark.rabbitmq,
    pytest.mark.timeout(900),
    # Of the SDK's own parts.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"),
]


def test_a_life_in_a_genuine_ironic(
    broker: Broker, shared: SharedIronic, sqlite_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A node that was there before, and one that is made, cabled, deployed, kept, uncabled and deleted while we listen.
    Listings are an hour apart: what is seen was told.
    """
    file = settings_file(
        tmp_path, shared, monkeypatch, rabbit_server=f"127.0.0.1:{broker.port}", rabbit_user=USER,
        rabbit_password=PASSWORD, introspect_port="0", ironic_list_interval="3600",
    )  # fmt: skip
    own = read([file], {"OS_CLOUD": "shared"}, lambda _: "the-host")
    shared.make(OTHER, "available", driver_info={"ipmi_address": "10.0.0.2", "redfish_password": SECRET})

    async def scene() -> None:
        stop = asyncio.Event()
        async with rig(sqlite_database) as told:
            collectors = (Address("127.0.0.1", told.ports.collector),)
            running = asyncio.create_task(run(replace(own, collectors=collectors), stop, clock=clock, least=0.05))

            async def sees(uuid: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
                async with asyncio.timeout(90):
                    while True:
                        found = await told.get(f"/analytics/uves/server/{uuid}?flat")
                        assert SECRET not in str(found)
                        if wanted(found.get("IronicNode", {})):
                            return dict(found.get("IronicNode", {}))
                        await asyncio.sleep(0.1)

            uve = await sees(OTHER, lambda it: it.get("provision_state") == "available")
            assert uve["driver_info"] == {"ipmi_address": "10.0.0.2"}
            assert uve["power_state"] in ("power on", "power off")
            properties = {"memory_mb": "8192", "cpus": 4, "capabilities": "boot_mode:uefi"}
            await asyncio.to_thread(shared.make, NODE, "active", name="rack1-u1", properties=properties)
            uve = await sees(NODE, lambda it: it.get("provision_state") == "active")
            assert uve["node_properties"] == {"memory_mb": 8192, "cpus": 4, "capabilities": "boot_mode:uefi"}
            assert uve["host_name"] == "rack1-u1"
            assert uve["event_type"] == "baremetal.node.provision_set.end"
            link = {"switch_id": "00:11:22:33:44:55", "port_id": "Ethernet1/1", "switch_info": "leaf1"}
            port = {"node_uuid": NODE, "address": "52:54:00:00:00:01", "local_link_connection": link}
            await call(shared, "POST", "/ports", port)
            uve = await sees(NODE, lambda it: bool(it.get("port_info")))
            (shown,) = uve["port_info"]
            assert (shown["mac_address"], shown["local_link_connection"]) == ("52:54:00:00:00:01", link)
            await asyncio.to_thread(shared.maintain, NODE, "fans")
            await sees(NODE, lambda it: it.get("maintenance") is True)
            await call(shared, "DELETE", f"/ports/{shown['port_uuid']}")
            await sees(NODE, lambda it: not it.get("port_info"))
            await asyncio.to_thread(shared.maintain, NODE, "")
            await sees(NODE, lambda it: it.get("maintenance") is False)
            await asyncio.to_thread(shared.lead, NODE, "deleted", "available")
            await sees(NODE, lambda it: it.get("provision_state") == "available")
            await asyncio.to_thread(shared.delete, NODE)
            await sees(NODE, lambda it: it == {})
            stop.set()
            await asyncio.wait_for(running, 60)

    asyncio.run(scene())


def test_13_every_page_of_a_genuine_ironic(
    shared: SharedIronic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    One row a page: the links between pages are followed, and rows have what the UVE needs of them.
    """
    monkeypatch.setattr("telemetry.bridge.ironic.PAGE", 1)
    uuids = [f"{number:08x}-3333-4333-8333-333333333333" for number in range(3)]
    for number, uuid in enumerate(uuids):
        shared.api.call("POST", "/nodes", Deadline(), {"uuid": uuid, "driver": "fake-hardware"})
        port = {"node_uuid": uuid, "address": f"52:54:00:00:01:0{number}", "uuid": uuid.replace("3", "4")}
        shared.api.call("POST", "/ports", Deadline(), port)
    client = Ironic(read([settings_file(tmp_path, shared, monkeypatch)], {"OS_CLOUD": "shared"}).login)
    nodes = {row["uuid"]: row for page in client.pages("nodes") for row in page if len(page) == 1}
    ports = {row["uuid"]: row for page in client.pages("ports") for row in page if len(page) == 1}
    assert set(uuids) <= set(nodes)
    assert {ports[uuid.replace("3", "4")]["node_uuid"] for uuid in uuids} == set(uuids)
    for row in nodes.values():
        assert {"updated_at", "created_at", "driver_info", "instance_info", "properties", "network_interface"} <= set(
            row
        )
    for row in ports.values():
        assert {"updated_at", "created_at", "internal_info", "local_link_connection", "pxe_enabled"} <= set(row)


def settings_file(folder: Path, shared: SharedIronic, monkeypatch: pytest.MonkeyPatch, **options: str) -> Path:
    """An old file without a login, and a clouds.yaml with the cloud ``shared``."""
    clouds = folder / "clouds.yaml"
    clouds.write_text(
        f"clouds: {{shared: {{auth_type: none, auth: {{endpoint: '{shared.endpoint}'}}, "
        f"baremetal_endpoint_override: '{shared.endpoint}'}}}}"
    )
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds))
    file = folder / "old.conf"
    file.write_text("[DEFAULTS]\n" + "".join(f"{name} = {value}\n" for name, value in options.items()))
    return file


async def call(shared: SharedIronic, method: str, path: str, body: dict[str, Any] | None = None) -> None:
    """What somebody asks of Ironic."""
    await asyncio.to_thread(shared.api.call, method, path, Deadline(), body)
