# SPDX-License-Identifier: Apache-2.0
"""Which ports of Neutron's a server of Nova's is given: those by which ipam holds the instance's addresses.

Given by id, Nova neither makes nor frees them: an address rests before it is anybody's again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from services.kernel.errors import PeerUnavailable, WrongState
from services.lifecycle.backends.nova_servers import silent
from services.lifecycle.ports import Booking
from services.runtime.neutron import LEASE, Neutron, is_ours
from services.runtime.openstack import Refused


class Ports(Protocol):
    """Where the ports of leases are found."""

    def of(self, booking: Booking) -> list[str]:
        """Neutron's ids of the ports of the booking's leases, in their order.

        Raises:
            NotNow: Neutron does not answer.
            WrongState: a lease has none.
        """
        ...


class NeutronPorts:
    """`Ports` of one Neutron.

    Args:
        api: answers Neutron, opened when it is first needed; raises PeerUnavailable as long as it cannot be.
    """

    def __init__(self, api: Callable[[], Neutron]) -> None:
        self._api = api

    def of(self, booking: Booking) -> list[str]:
        """See `Ports`."""
        found = []
        for lease in booking.leases:
            try:
                ports = [port for port in self._api().every("ports", name=lease) if is_ours(port, LEASE)]
            except (PeerUnavailable, Refused) as error:
                raise silent(PeerUnavailable(f"Neutron does not show the port of {lease}: {error}")) from None
            if not ports:
                msg = f"{lease} has no port in Neutron"
                remedy = "Nova needs it: have ipam hold its addresses in Neutron (BMS_IPAM_BACKEND=neutron)."
                raise WrongState(msg, remedy=remedy, subject=lease)
            found.append(str(ports[0]["id"]))
        if not found:
            msg = f"{booking.instance} is on no network whose addresses are leased, and Nova's driver needs a port"
            raise WrongState(msg, remedy="Give it a network with a prefix.", subject=booking.instance)
        return found
