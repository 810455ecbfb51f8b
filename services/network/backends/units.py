# SPDX-License-Identifier: Apache-2.0
"""Orders by what a controller attaches as one: a port group, or a port of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from services.kernel.errors import PeerUnavailable
from services.network.ports import PortOrder
from services.runtime.openstack import Refused

Told = Callable[[Refused | PeerUnavailable], PeerUnavailable]
"""What a controller's refusal is in words of the field."""


def units_of(orders: Iterable[PortOrder]) -> list[list[PortOrder]]:
    """*orders* by what is one attachment, a group or a port of its own; those first that cut."""
    units: dict[str, list[PortOrder]] = {}
    for order in orders:
        units.setdefault(order.port_group or order.mac_address, []).append(order)
    return sorted(units.values(), key=lambda unit: bool(unit[0].config.networks))


def carry_out(orders: Iterable[PortOrder], act: Callable[[Sequence[PortOrder]], None], told: Told) -> None:
    """Has *act* carry out each unit of *orders*, those that cut first; one that fails keeps no other from it.

    Raises:
        PeerUnavailable: one failed; the first of them, as *told* says it.
    """
    failed: list[Refused | PeerUnavailable] = []
    for unit in units_of(orders):
        try:
            act(unit)
        except (Refused, PeerUnavailable) as error:
            failed.append(error)
    if failed:
        raise told(failed[0])
