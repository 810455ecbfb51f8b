# SPDX-License-Identifier: Apache-2.0
"""ipam over one database and a controller in memory; several of it are replicas, and any of them may die."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any

from google.rpc import error_details_pb2

from bms.event.v1 import event_pb2
from bms.ipam.v1 import lease_pb2
from services.ipam.domain.leases import Lease
from services.ipam.granting import Controller
from services.ipam.operations.ports import AddressPlane
from services.ipam.servicer import IpamServicer
from services.kernel.clock import Ids, RandomIds
from services.kernel.effect import observed
from services.runtime.database import Database
from services.runtime.eventlog import EventLog
from services.runtime.page_tokens import PageTokens
from services.runtime.writing import Replies, Writer
from tests.ipam.rig import DEMO, Rig, verify
from tests.support.judging import findings
from tests.support.wire import Wire, detail

MAC, OTHER_MAC = "52:54:00:00:00:01", "52:54:00:00:00:02"


class Crash(BaseException):
    """The process is no more."""


class ControllerRig(Rig):
    """ipam that tells *plane*."""

    def __init__(self, database: Database, plane: AddressPlane, *, ids: Ids | None = None) -> None:
        made = ids or RandomIds()
        super().__init__(database, ids=made)
        self.log = EventLog(database, made, chained=True)
        self.servicer = IpamServicer(
            database,
            self.log,
            Writer(database, Replies(b"k" * 32)),
            PageTokens(b"p" * 32),
            made,
            plane=plane,
            clock=self.clock,
        )
        self.wire = Wire(self.servicer, DEMO, clock=self.clock)

    @property
    def controller(self) -> Controller:
        """What is done at the controller."""
        assert self.servicer.controller is not None
        return self.servicer.controller

    def settle(self) -> None:
        """Does all that is due at the controller, and frees what has rested."""
        for _ in range(10):
            due = self.controller.settling.tick(self.clock.now())
            if due is None or due > self.clock.now():
                break
        self.sweeper.tick(self.clock.now())

    def round(self) -> None:
        """Compares everything, then does what is due."""
        self.controller.rounds.tick(self.clock.now())
        self.settle()

    def stored(self, name: str) -> Lease:
        """A lease as the store has it."""
        found = self.database.read(lambda tx: self.servicer.store(tx).lease(name))
        assert found is not None
        return found

    def stored_all(self) -> list[Lease]:
        """Every lease, hidden ones too."""
        rows = self.database.read(lambda tx: tx.all("SELECT name FROM leases ORDER BY create_time, name"))
        return [self.stored(row["name"]) for row in rows]

    def holder(self, address: str) -> Any:
        """Who else is known to have *address*."""
        wanted = ip_address(address)
        vrf = "demo.blue"
        return self.database.read(lambda tx: self.servicer.store(tx).holders(vrf, [wanted])).get(wanted)

    def types(self) -> list[str]:
        """The types of all events of addresses, in commit order."""
        events = self.events()
        verify(events)
        told = {one.witnesses[1].type for one in findings("ipam", events)}
        assert told <= {"address.contested"}, told
        return [event_pb2.EventHeader.FromString(event.header).type for event in self.of_addresses()]


def facts(status: Any) -> dict[str, str]:
    """What an error names."""
    info = detail(status, error_details_pb2.ErrorInfo)
    return dict(info.metadata) if info is not None else {}


@contextmanager
def dying(label: str, when: str, nth: int = 1) -> Iterator[None]:
    """Whoever comes to the *nth* effect called *label* within the block dies *when*."""
    left = nth

    def observer(seen: str, at: str) -> None:
        nonlocal left
        if (seen, at) == (label, when):
            left -= 1
            if left == 0:
                raise Crash

    with observed(observer):
        yield


def released(lease: lease_pb2.AddressLease) -> lease_pb2.ReleaseLeaseRequest:
    """The request that gives *lease* back."""
    return lease_pb2.ReleaseLeaseRequest(name=lease.name, epoch=lease.epoch)
