# SPDX-License-Identifier: Apache-2.0
"""ipam as lifecycle sees it, with state. Each call is an effect point.

Faults are set as plain attributes. What the world looks like is asked of the fakes, never of lifecycle.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from services.kernel.clock import Clock
from services.kernel.effect import effect
from services.kernel.errors import AlreadyExists, Exhausted, PeerUnavailable
from services.lifecycle.domain.server import Lease
from services.lifecycle.peers import Cooling, DetachProof
from tests.lifecycle.fake_networks import FakeNetworks


class FakeAddresses:
    """ipam: one lease for each owner, network and IP version, epochs, cool-down; it insists on proof of detachment.

    Attributes:
        dual: networks with addresses of both versions; all others have IPv4 alone.
    """

    def __init__(self, clock: Clock, networks: FakeNetworks) -> None:
        self.leases: dict[str, tuple[Lease, str, str]] = {}
        self.cooling: dict[str, str] = {}
        self.exhausted: set[str] = set()
        self.dual: set[str] = set()
        self.unproven: list[tuple[str, str]] = []
        self.silent = False
        self._networks = networks
        self._clock = clock
        self._count = 0

    def serves(self, network: str, project: str) -> bool:
        return network in self._networks.tenant_networks

    def lease(
        self, project: str, owner: str, network: str, address: str, mac_address: str, fence: int, request_id: str
    ) -> Lease:
        with effect("ipam.lease"):
            self._answer()
            if network in self.exhausted:
                msg = f"{network} has no address left"
                raise Exhausted(msg)
            return self._granted(project, owner, network, address)

    def lease_each(
        self,
        project: str,
        owner: str,
        network: str,
        addresses: Sequence[str],
        mac_address: str,
        fence: int,
        request_id: str,
    ) -> tuple[Lease, ...]:
        with effect("ipam.lease"):
            self._answer()
            wanted = {":" in address: address for address in addresses}
            before = dict(self.leases)
            try:
                return tuple(
                    self._granted(project, owner, network, wanted.get(six, "::" if six else ""))
                    for six in (False, True)[: 1 + (network in self.dual)]
                )
            except (AlreadyExists, Exhausted):
                self.leases = before
                raise

    def _granted(self, project: str, owner: str, network: str, address: str) -> Lease:
        """*address*, or any of its version where it is ``::`` or nothing."""
        if network in self.exhausted:
            msg = f"{network} has no address left"
            raise Exhausted(msg)
        six, held = ":" in address, [lease for lease, _, state in self.leases.values() if state == "leased"]
        for lease in held:
            if (self.leases[lease.name][1], lease.network, ":" in lease.address) == (owner, network, six):
                return lease
        if address in {lease.address for lease in held}:
            msg = f"{address} is taken"
            raise AlreadyExists(msg)
        self._count += 1
        name = f"projects/{project}/leases/{self._count:08d}-0000-4000-8000-000000000000"
        if six:
            shown = address if address != "::" else f"2001:db8::{self._count}"
            made = Lease(name, network, "vrf", shown, 64, "2001:db8::1:0:0:1", 1)
        else:
            made = Lease(name, network, "vrf", address or f"10.0.0.{self._count}", 24, "10.0.0.254", 1)
        self.leases[name] = (made, owner, "leased")
        return made

    def held_by(self, project: str, owner: str) -> tuple[Lease, ...]:
        with effect("ipam.list"):
            self._answer()
            return tuple(
                lease for lease, holder, state in self.leases.values() if holder == owner and state == "leased"
            )

    def release(self, lease: Lease, proof: DetachProof, fence: int, request_id: str) -> Cooling:
        with effect("ipam.release"):
            self._answer()
            assert proof.digest
            kept, owner, _ = self.leases[lease.name]
            self.leases[lease.name] = (kept, owner, "cooling")
            return Cooling(lease.name, lease.vrf, lease.address, lease.epoch, self._clock.now() + timedelta(minutes=10))

    def release_unproven(self, lease: Lease, allowed_by: str, fence: int, request_id: str) -> Cooling:
        with effect("ipam.release_unproven"):
            self._answer()
            kept, owner, _ = self.leases[lease.name]
            self.leases[lease.name] = (kept, owner, "cooling")
            self.unproven.append((kept.address, allowed_by))
            return Cooling(lease.name, lease.vrf, lease.address, lease.epoch, self._clock.now() + timedelta(minutes=10))

    def _answer(self) -> None:
        if self.silent:
            msg = "ipam does not answer"
            raise PeerUnavailable(msg)
