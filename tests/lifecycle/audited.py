# SPDX-License-Identifier: Apache-2.0
"""Audits over lifecycle as it runs: the fakes' books, page by page, and time that passes between two looks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from bms.lifecycle.v1 import audit_service_pb2
from services.kernel.effect import effect
from services.kernel.errors import NotFound, PeerUnavailable, Stale
from services.lifecycle.audit_servicer import AuditServicer
from services.lifecycle.audits.left import Leftovers
from services.lifecycle.audits.seen import AttachmentSeen, LeaseSeen, LeftoverSeen, PoolSeen, Portion
from services.lifecycle.ports import Hardware, Holds, HoldSeen, NotNow
from services.runtime.page_tokens import PageTokens
from services.runtime.writing import Replies, Writer
from tests.lifecycle.rig import KEY, Rig, World
from tests.support.clocks import START
from tests.support.wire import Wire, admin

T = TypeVar("T")
Leak = audit_service_pb2.Leak


class FakeStores:
    """What the fakes of a world hold, as its services would list it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.fabric, self.addresses = FakeLeftovers("fabric"), FakeLeftovers("address")

    def leases(self, token: str, size: int) -> Portion[LeaseSeen]:
        with effect("audit.leases"):
            held = [seen for name in sorted(self.world.addresses.leases) if (seen := self.lease(name)) and seen.held]
            return _portion(held, token, size)

    def lease(self, name: str) -> LeaseSeen | None:
        found = self.world.addresses.leases.get(name)
        if found is None:
            return None
        lease, owner, state = found
        return LeaseSeen(name, owner, lease.network, lease.vrf, lease.address, lease.epoch, state == "leased", START)

    def pools(self, token: str, size: int) -> Portion[PoolSeen]:
        with effect("audit.pools"):
            rows = [self.pool(uuid) for uuid in sorted(self.world.inventory.servers)]
            return _portion([row for row in rows if row is not None], token, size)

    def pool(self, server: str) -> PoolSeen | None:
        inventory = self.world.inventory
        if server not in inventory.servers:
            return None
        report = inventory.pool[server]
        holder = next((holder for holder, uuid in inventory.reserved.items() if uuid == server), "")
        version, deleting = inventory.versions.get(server, 0), inventory.servers[server].deleting
        return PoolSeen(server, report.available and not holder, holder, version, deleting, START)

    def attachments(self, token: str, size: int) -> Portion[AttachmentSeen]:
        with effect("audit.attachments"):
            return _portion(self._attachments(), token, size)

    def attachments_of(self, server: str) -> Sequence[AttachmentSeen]:
        return [one for one in self._attachments() if one.server == server]

    def _attachments(self) -> list[AttachmentSeen]:
        ports = sorted(self.world.networks.ports.items())
        return [
            AttachmentSeen(name, port.server, port.port_class, port.networks, settled=True, since=START)
            for name, port in ports
        ]


def _portion(rows: Sequence[T], token: str, size: int) -> Portion[T]:
    start = int(token or 0)
    shown = rows[start : start + size]
    return Portion(shown, len(shown), str(start + size) if start + size < len(rows) else "")


class FakeLeftovers:
    """What a service finds left over at its controller."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.left: dict[str, LeftoverSeen] = {}
        self.removed: list[tuple[str, str]] = []
        self.away = False

    def page(self, token: str, size: int) -> Portion[LeftoverSeen]:
        with effect(f"audit.{self.what}_leftovers"):
            self._present()
            return _portion([self.left[name] for name in sorted(self.left)], token, size)

    def one(self, name: str) -> LeftoverSeen | None:
        self._present()
        return self.left.get(name)

    def remove(self, name: str, etag: str, request_id: str, *, check: bool) -> None:
        self._present()
        found = self.left.get(name)
        if found is None:
            raise NotFound(name)
        if etag != found.etag:
            raise Stale(name)
        if not check:
            self.removed.append((name, request_id))
            del self.left[name]

    def _present(self) -> None:
        if self.away:
            msg = f"the {self.what} controller does not answer"
            raise PeerUnavailable(msg)


class _Elsewhere:
    """*stores*, but for some of its leftovers."""

    def __init__(self, stores: FakeStores, left: Mapping[str, Leftovers]) -> None:
        self._stores, self._left = stores, left

    def __getattr__(self, name: str) -> Any:
        return self._left.get(name) or getattr(self._stores, name)


class FakeHolds:
    """Whom the hardware of a world is held for, as its controller would list it; ``asked``: how many pages."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.asked = 0

    def page(self, after: str, size: int) -> tuple[list[HoldSeen], bool]:
        with effect("holds.list"):
            self.asked += 1
            there = [uuid for uuid in sorted(self.world.hardware.machines) if uuid > after]
            return [seen for uuid in there[:size] if (seen := self.hold(uuid))], len(there) > size

    def hold(self, server: str) -> HoldSeen | None:
        if self.world.hardware.deaf:
            msg = "the controller does not answer"
            raise NotNow("CONTROLLER_SILENT", msg)
        machine = self.world.hardware.machines.get(server)
        if machine is None:
            return None
        hold = machine.holders[0] if machine.holders else ""
        holder = "somebody" if machine.taken else hold
        return HoldSeen(server, "fake", holder, hold, machine.held_for, machine.used)


class Auditor:
    """Audits of a rig; ``between`` is what happens between the two looks.

    Args:
        holds: another controller than the rig's, of which *hardware* lets go.
        left: what other services find left over, by the name of `Stores`, where it is not what the test says.
    """

    def __init__(
        self,
        rig: Rig,
        holds: Holds | None = None,
        hardware: Hardware | None = None,
        left: Mapping[str, Leftovers] | None = None,
    ) -> None:
        self.rig = rig
        self.between: Callable[[], object] = lambda: None
        self.pauses: list[timedelta] = []
        self.holds = holds or FakeHolds(rig.world)
        self.stores = FakeStores(rig.world)
        servicer = AuditServicer.build(
            rig.database,
            rig.store,
            _Elsewhere(self.stores, left) if left else self.stores,
            rig.networks,
            rig.addresses,
            Writer(rig.database, Replies(KEY)),
            PageTokens(KEY),
            rig.clock,
            self._pause,
            hardware or rig.hardware,
            self.holds,
        )
        self.wire = Wire(servicer, admin(), clock=rig.clock)

    def _pause(self, length: timedelta) -> None:
        self.pauses.append(length)
        self.rig.clock.advance(length.total_seconds())
        self.between()

    def parts(self, page_size: int = 0) -> list[audit_service_pb2.AuditLeaksResponse]:
        """Every part of the books."""
        found, token = [], ""
        while True:
            request = audit_service_pb2.AuditLeaksRequest(page_size=page_size, page_token=token)
            found.append(self.wire.ok("AuditLeaks", request))
            token = found[-1].next_page_token
            if not token:
                return found

    def book(self, name: str, page_size: int = 0) -> list[audit_service_pb2.Leak]:
        """Everything that leaked in one book."""
        found: list[audit_service_pb2.Leak] = []
        token = ""
        while True:
            request = audit_service_pb2.AuditLeaksRequest(book=name, page_size=page_size, page_token=token)
            part = self.wire.ok("AuditLeaks", request)
            found += part.leaks
            token = part.next_page_token
            if not token:
                return found

    def leaks(self, page_size: int = 0) -> list[audit_service_pb2.Leak]:
        """Everything that leaked."""
        return [leak for part in self.parts(page_size) for leak in part.leaks]

    def kinds(self, page_size: int = 0) -> list[tuple[str, str]]:
        """(kind, resource) of everything that leaked."""
        found = self.leaks(page_size)
        return sorted((Leak.Kind.Name(one.kind).removeprefix("KIND_").lower(), one.resource) for one in found)

    def request(self, leak: audit_service_pb2.Leak, **fields: object) -> audit_service_pb2.RepairLeakRequest:
        """The request to repair *leak*."""
        request = audit_service_pb2.RepairLeakRequest(kind=leak.kind, resource=leak.resource, etag=leak.etag)
        request.MergeFrom(audit_service_pb2.RepairLeakRequest(**fields))  # type: ignore[arg-type]  # the test says which
        return request
