# SPDX-License-Identifier: Apache-2.0
"""The fabric of the simulated rack."""

from __future__ import annotations

from services.kernel.clock import Clock
from services.kernel.effect import effect
from services.network.domain import PortConfig, SwitchPort
from services.network.ports import PortFact, PortOrder
from services.simulated.rack import PortWrite, Rack
from services.simulated.state import Vlans


class SimulatedFabric:
    """`services.network.ports.Fabric` over a rack; may be called from any thread."""

    def __init__(self, rack: Rack, clock: Clock) -> None:
        self._rack = rack
        self._clock = clock

    def write(self, server: str, orders: tuple[PortOrder, ...], *, request_id: str) -> None:
        """See `Fabric.write`. Writing the same again changes nothing, so no switch needs to know the request's id."""
        writes = tuple(
            PortWrite(
                order.port.switch,
                order.port.port,
                Vlans(order.config.untagged, order.config.tagged),
                order.mac_address,
            )
            for order in orders
        )
        with effect("fabric.write"):
            self._rack.write_ports(server, writes, self._clock.now())

    def read(self, ports: tuple[SwitchPort, ...]) -> tuple[PortFact, ...]:
        """See `Fabric.read`."""
        with effect("fabric.read"):
            now = self._clock.now()
            answers = self._rack.read_ports(tuple((port.switch, port.port) for port in ports), now)
        return tuple(
            PortFact(
                port,
                None if answer.vlans is None else PortConfig(answer.vlans.untagged, answer.vlans.tagged),
                now,
                answer.digest,
                answer.detail,
            )
            for port, answer in zip(ports, answers, strict=True)
        )
