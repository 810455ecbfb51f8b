# SPDX-License-Identifier: Apache-2.0
"""ipam over one database and a Neutron in memory."""

from __future__ import annotations

from typing import Any

from services.ipam.backends.neutron import NeutronPlane
from services.kernel.clock import Ids
from services.runtime.database import Database
from services.runtime.neutron import LEASE, Neutron
from tests.ipam.controller_rig import MAC, OTHER_MAC, ControllerRig, Crash, dying, released
from tests.support.neutron import OWN, FakeNeutron

__all__ = ["MAC", "OTHER_MAC", "Crash", "NeutronRig", "dying", "released"]


class NeutronRig(ControllerRig):
    """ipam that tells *neutron*, in which there is the network ``projects/demo/networks/blue``.

    Attributes:
        network: the id of that network in Neutron.
    """

    def __init__(self, database: Database, neutron: FakeNeutron | None = None, *, ids: Ids | None = None) -> None:
        self.neutron = neutron or FakeNeutron()
        if not self.neutron.networks:
            self.neutron.network(description="bms-network=demo/blue")
        self.network = next(iter(self.neutron.networks))
        super().__init__(database, NeutronPlane(lambda: Neutron(self.neutron, OWN)), ids=ids)

    def ports(self) -> list[dict[str, Any]]:
        """Neutron's ports that we made."""
        return [port for port in self.neutron.ports.values() if port["description"] == LEASE]

    def port_at(self, address: str) -> dict[str, Any] | None:
        """Neutron's port that has *address*."""
        return next((p for p in self.neutron.ports.values() if p["fixed_ips"][0]["ip_address"] == address), None)

    def vm(self, address: str, **more: Any) -> dict[str, Any]:
        """A port that Nova made for a machine of its own."""
        body = {
            "fixed_ips": [{"ip_address": address}],
            "device_owner": "compute:nova",
            "device_id": "vm-of-nova",
            **more,
        }
        return self.neutron.port(self.network, **body)
