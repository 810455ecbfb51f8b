# SPDX-License-Identifier: Apache-2.0
"""The fabric of the simulated rack."""

from __future__ import annotations

from services.kernel.clock import Clock
from services.kernel.effect import effect
from services.network.domain.switch_ports import PortConfig
from services.network.ports import Plug, PortFact, PortOrder
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
                _vlans(order.config),
                order.mac_address,
            )
            for order in orders
        )
        with effect("fabric.write"):
            self._rack.write_ports(server, writes, self._clock.now())

    def read(self, plugs: tuple[Plug, ...]) -> tuple[PortFact, ...]:
        """See `Fabric.read`."""
        with effect("fabric.read"):
            now = self._clock.now()
            answers = self._rack.read_ports(tuple((plug.port.switch, plug.port.port) for plug in plugs), now)
        return tuple(
            PortFact(
                plug.port,
                None if answer.vlans is None else _config(answer.vlans),
                now,
                answer.digest,
                answer.detail,
            )
            for plug, answer in zip(plugs, answers, strict=True)
        )


def _config(vlans: Vlans) -> PortConfig:
    """By the VLAN's number: the rack has no controller that would call networks anything else."""
    untagged = str(vlans.untagged) if vlans.untagged else ""
    return PortConfig(untagged, frozenset((tag, str(vlan)) for tag, vlan in vlans.tagged))


def _vlans(config: PortConfig) -> Vlans:
    return Vlans(int(config.untagged or 0), frozenset((tag, int(vlan)) for tag, vlan in config.tagged))
