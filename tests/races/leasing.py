# SPDX-License-Identifier: Apache-2.0
"""Callers who take and give back addresses of one small prefix, some of them for the same owners."""

from __future__ import annotations

from collections.abc import Callable

from bms.ipam.v1 import lease_pb2
from tests.races.calling import Caller, Refused

MOST = 6
"""How many addresses each wants at a time; together more than there are."""
_SHARED_OWNERS = 4


class Leaser:
    """One who leases for virtual machines."""

    def __init__(self, caller: Caller, project: str, number: int) -> None:
        self._me = caller
        self._parent = f"projects/{project}"
        self._network = f"projects/{project}/networks/small"
        self._number = number
        self._made = 0
        self._mine: dict[str, int] = {}

    def live(self, goes_on: Callable[[], bool]) -> None:
        """Takes and gives back, until *goes_on* says no."""
        chance = self._me.chance
        while goes_on():
            try:
                if len(self._mine) < MOST and chance.random() < 0.6:
                    self._lease()
                elif self._mine:
                    self._release(chance.choice(sorted(self._mine)))
            except Refused:
                # The book has it.
                continue

    def leave(self) -> None:
        """Gives everything back."""
        for name in sorted(self._mine):
            try:
                self._release(name)
            except Refused:
                # Another caller gave the shared owner's back.
                continue

    def _lease(self) -> None:
        me = self._me
        if me.chance.random() < 0.3:
            resource = f"vm-shared-{me.chance.randrange(_SHARED_OWNERS)}"
        else:
            self._made += 1
            resource = f"vm-{self._number}-{self._made}"
        owner = lease_pb2.Owner(kind=lease_pb2.Owner.KIND_VIRTUAL_MACHINE, resource=resource)
        request = lease_pb2.LeaseAddressRequest(parent=self._parent, network=self._network, owner=owner)
        if me.chance.random() < 0.2:
            request.address = f"10.99.0.{me.chance.randrange(2, 14)}"
        lease = me.call("ipam", "LeaseAddress", request)
        self._mine[lease.name] = lease.epoch

    def _release(self, name: str) -> None:
        epoch = self._mine.pop(name)
        self._me.call("ipam", "ReleaseLease", lease_pb2.ReleaseLeaseRequest(name=name, epoch=epoch))
