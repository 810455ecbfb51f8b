# SPDX-License-Identifier: Apache-2.0
"""Servers that were in use before anybody managed them: imported as they run, and taken over for a project."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bms.lifecycle.v1 import instance_pb2
from bms.network.v1 import network_pb2
from services.simulated import control
from services.simulated.hardware import bmc_key
from services.simulated.rack import PortWrite
from services.simulated.state import Vlans
from tests.simulation.admins import provide
from tests.simulation.people import Person, Refused, failed, why
from tests.simulation.tenants import Ledger, Tenant

_TRIES = 6


@dataclass(frozen=True, slots=True)
class Found:
    """A server in use.

    Attributes:
        number: its place in the import file.
        project: whose system runs on it.
        address: what it has on the project's blue network.
    """

    server: str
    number: int
    project: str
    address: str

    @property
    def instance(self) -> str:
        """What its instance is to be called."""
        return f"projects/{self.project}/instances/b{self.number}"

    @property
    def network(self) -> str:
        """The network that it is on."""
        return f"projects/{self.project}/networks/blue"


def find(admin: Person, server: str, number: int, project: int) -> Found:
    """Lets a system of *project*'s run on *server*, the import file's *number*, before anybody looks."""
    found = Found(server, number, f"t{project}", f"10.{project}.15.{number}")
    rack, now, uuid = admin.site.rack, admin.sim.now(), server.removeprefix("servers/")
    network = admin.call("network", "GetNetwork", network_pb2.GetNetworkRequest(name=found.network))
    high, low = number // 250, number % 250
    rack.verify(uuid, bmc_key(f"10.{100 + high // 250}.{high % 250}.{low + 1}", 0, "redfish"), now)
    mac = f"0c:00:00:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
    plug = PortWrite(f"leaf{number // 40}a", f"xe-0/0/{number % 40}", Vlans(network.vlan_id), mac)
    rack.write_ports(uuid, (plug,), now)
    control.occupy(rack, uuid, found.instance, now)
    return found


class Adopter:
    """An administrator who takes a server in use over, and the project that then has it."""

    def __init__(self, admin: Person, tenant: Tenant, ledger: Ledger, restless: float) -> None:
        self._me = admin
        self._tenant = tenant
        self._ledger = ledger
        self._restless = restless

    def take_over(self, found: Found) -> None:
        """Adopts it, lets it live and end as any other; one that cannot be adopted is given up, and erased."""
        image = self._tenant.image(found.instance, f"b{found.number}")
        wanted = instance_pb2.Instance(
            flavor="flavors/any",
            image=image,
            networks=[instance_pb2.InstanceNetwork(network=found.network, fixed_addresses=[found.address])],
        )
        for _ in range(_TRIES):
            request = instance_pb2.AdoptServerRequest(
                name=found.server,
                parent=f"projects/{found.project}",
                instance_id=f"b{found.number}",
                instance=wanted,
            )
            operation = self._adopted(request)
            if operation is not None and not failed(operation):
                self._ledger.count("adopt")
                self._tenant.live_with(found.instance)
                return
            self._tenant.delete(found.instance)
            self._me.sim.sleep(self._me.chance.uniform(5, 60) * self._restless)
        self._ledger.count("adopt given up")
        provide(self._me, [found.server])

    def _adopted(self, request: Any) -> Any:
        try:
            operation = self._me.done(self._me.call("lifecycle", "AdoptServer", request))
        except Refused as refused:
            self._ledger.count(f"adopt refused: {refused.reason}")
            return None
        if failed(operation):
            self._ledger.count(f"adopt failed: {why(operation)}")
        return operation
