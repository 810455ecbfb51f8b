# SPDX-License-Identifier: Apache-2.0
"""The ports of Neutron's by which ipam holds an instance's addresses: Nova is given them, or Ironic as VIFs.

Given by id, Nova neither makes nor frees them: an address rests before it is anybody's again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.kernel.errors import PeerUnavailable, WrongState
from services.lifecycle.backends.nova_servers import silent
from services.runtime.neutron import LEASE, Neutron, is_ours
from services.runtime.openstack import Refused


@dataclass(frozen=True, slots=True)
class LeasePort:
    """A port of Neutron's that holds an address for a lease; its MAC address is that of the server's port."""

    id: str
    mac_address: str


class Ports(Protocol):
    """Where the ports of leases are found."""

    def of(self, instance: str, leases: Sequence[str]) -> list[LeasePort]:
        """The ports of *leases*, all of *instance*, in their order.

        Raises:
            NotNow: Neutron does not answer.
            WrongState: a lease has none, or there is no lease.
        """
        ...


class NeutronPorts:
    """`Ports` of one Neutron.

    Args:
        api: answers Neutron, opened when it is first needed; raises PeerUnavailable as long as it cannot be.
    """

    def __init__(self, api: Callable[[], Neutron]) -> None:
        self._api = api

    def of(self, instance: str, leases: Sequence[str]) -> list[LeasePort]:
        """See `Ports`."""
        found = []
        for lease in leases:
            try:
                ports = [port for port in self._api().every("ports", name=lease) if is_ours(port, LEASE)]
            except (PeerUnavailable, Refused) as error:
                raise silent(PeerUnavailable(f"Neutron does not show the port of {lease}: {error}")) from None
            if not ports:
                msg = f"{lease} has no port in Neutron"
                remedy = "Have ipam hold its addresses in Neutron (BMS_IPAM_BACKEND=neutron)."
                raise WrongState(msg, remedy=remedy, subject=lease)
            found.append(LeasePort(str(ports[0]["id"]), str(ports[0]["mac_address"])))
        if not found:
            msg = f"{instance} is on no network whose addresses are leased, and Nova and Ironic need a port"
            raise WrongState(msg, remedy="Give it a network with a prefix.", subject=instance)
        return found
