# SPDX-License-Identifier: Apache-2.0
"""What the analytics API shows of a server is how it is: attributes cannot be unset on the wire, and must look so."""

from __future__ import annotations

import asyncio
from typing import Any

from bms.event.v1 import event_pb2
from bms.inventory.v1 import server_pb2
from services.runtime.database import Database
from tests.telemetry.builders import SERVER, T0, stamp, stored
from tests.telemetry.fakes import FakeInventory, FakeLog
from tests.telemetry.rig import Rig, rig

INSTANCE = "projects/demo/instances/web-1"
PORTS = tuple(f"servers/{SERVER}/ports/52540000000{number}" for number in (1, 2))


def of_inventory(*ports: str, name: str = "r1u7", memory: int = 8192) -> server_pb2.Server:
    return server_pb2.Server(
        name=f"servers/{SERVER}",
        display_name=name,
        bmc=server_pb2.Bmc(address="192.0.2.17", driver="ipmi", password="hunter2"),
        properties=server_pb2.HardwareProperties(
            memory_mb=memory, capabilities={"boot_mode": "uefi"} if memory else {}
        ),
        ports=[server_pb2.Port(name=port, mac_address=port[-12:]) for port in ports],
    )


def power(word: str) -> event_pb2.Evidence:
    return event_pb2.Evidence(power=event_pb2.PowerReading(power=word, read_time=stamp(T0)))


def test_what_is_gone_is_gone(database: Database) -> None:
    """
    A power that is unknown again, an instance that ended, a port that was taken out, the last port, a server that was
    deleted, and one that came back under its UUID with less than it had.
    """

    async def play() -> None:
        inventory = FakeInventory(of_inventory(*PORTS))
        logs = {name: FakeLog(name) for name in ("inventory", "lifecycle")}
        positions = {"inventory": 0, "lifecycle": 0}

        def happen(service: str, **event: Any) -> None:
            positions[service] += 1
            time = T0 + sum(positions.values()) * 1_000_000
            logs[service].append(stored(service, positions[service], time=time, **event))

        async def whole(given: Rig) -> dict[str, Any]:
            found: dict[str, Any] = await given.get(f"/analytics/uves/server/{SERVER}?flat")
            return found

        async def node(given: Rig) -> dict[str, Any]:
            return dict((await whole(given)).get("IronicNode", {}))

        async with rig(database, logs, inventory) as given:
            happen("inventory", type="server.created")
            happen("lifecycle", type="server.enrolled", after="enrolled")
            happen("lifecycle", after="active", evidence=power("on"), project="demo", instance=INSTANCE)
            found = await given.eventually(
                lambda: node(given), lambda node: node.get("instance_uuid") == "web-1" and bool(node.get("port_info"))
            )
            assert (found["power_state"], found["provision_state"]) == ("power on", "active")
            assert found["node_properties"]["memory_mb"] == 8192
            assert [port["name"] for port in found["port_info"]] == [port[-12:] for port in PORTS]

            happen("lifecycle", before="active", after="detaching", evidence=power("unknown"), instance=INSTANCE)
            happen("lifecycle", type="instance.ended", before="detaching", after="available", instance=INSTANCE)
            found = await given.eventually(lambda: node(given), lambda node: node.get("instance_uuid") is None)
            found = await given.eventually(lambda: node(given), lambda node: node.get("power_state") is None)
            assert found["instance_info"]["display_name"] is None

            inventory.servers[SERVER] = of_inventory(PORTS[1], memory=0)
            happen("inventory", type="server.updated")
            found = await given.eventually(lambda: node(given), lambda node: len(node.get("port_info", [])) == 1)
            assert found["port_info"][0]["name"] == PORTS[1][-12:]
            assert found["node_properties"] == {
                "cpu_arch": None, "cpus": 0, "local_gb": 0, "memory_mb": 0, "capabilities": None,
            }  # fmt: skip

            inventory.servers[SERVER] = of_inventory()
            happen("inventory", type="server.updated")
            await given.eventually(lambda: node(given), lambda node: bool(node) and "port_info" not in node)

            happen("lifecycle", type="server.closed", before="available")
            happen("inventory", type="server.deleted")
            del inventory.servers[SERVER]
            await given.eventually(lambda: whole(given), lambda structs: not structs)

            inventory.servers[SERVER] = of_inventory(PORTS[0], name="r9u9")
            happen("inventory", type="server.created")
            found = await given.eventually(lambda: node(given), lambda node: node.get("host_name") == "r9u9")
            assert (found["provision_state"], found["instance_uuid"], found["power_state"]) == ("enroll", None, None)
            assert [port["name"] for port in found["port_info"]] == [PORTS[0][-12:]]
            assert "hunter2" not in str(found)

    asyncio.run(play())
