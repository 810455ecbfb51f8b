# SPDX-License-Identifier: Apache-2.0
"""One method per RPC of the audits: in, call, out."""

# ruff: noqa: N802 -- the methods have the contract's names

from __future__ import annotations

from datetime import timedelta
from typing import Self

import grpc

from bms.lifecycle.v1 import audit_service_pb2, audit_service_pb2_grpc
from services.kernel.clock import Clock
from services.kernel.errors import InvalidField, NotFound
from services.kernel.names import SERVER
from services.lifecycle import wire
from services.lifecycle.audits.leaks import Kind, Leak
from services.lifecycle.audits.leftovers import LeftoverShelf, Removals, sources
from services.lifecycle.audits.node_shelf import NodeHolds
from services.lifecycle.audits.releases import Releases
from services.lifecycle.audits.remedies import REMEDIES, commands
from services.lifecycle.audits.repairs import Repairs
from services.lifecycle.audits.shelves import shelves
from services.lifecycle.audits.stores import Stores
from services.lifecycle.audits.sweep import Pause, Sweep
from services.lifecycle.audits.telling import Repair
from services.lifecycle.judging import docket
from services.lifecycle.judging.wire import stream_verdict
from services.lifecycle.peers import Addresses, Networks
from services.lifecycle.ports import Hardware, Holds
from services.lifecycle.store import Store
from services.runtime.context import current_call
from services.runtime.database import Database, Transaction
from services.runtime.page_tokens import PageTokens
from services.runtime.writing import Writer
from services.verifier.verdict import Interval

SETTLE = timedelta(seconds=2)
"""The time between the two looks, where a request says nothing else."""
MAX_SETTLE = timedelta(seconds=10)

KINDS = {kind: audit_service_pb2.Leak.Kind.Value(f"KIND_{kind.name}") for kind in Kind}
"""Every kind has its number in the contract; a test holds both to each other."""
_KIND_OF = {number: kind for kind, number in KINDS.items()}

_JUDGED = ("lifecycle", "ipam")

Context = grpc.ServicerContext


class AuditServicer(audit_service_pb2_grpc.AuditServiceServicer):
    """bms.lifecycle.v1.AuditService."""

    def __init__(
        self, database: Database, writer: Writer, sweep: Sweep, repairs: Repairs, page_tokens: PageTokens
    ) -> None:
        self._database = database
        self._writer = writer
        self._sweep = sweep
        self._repairs = repairs
        self._pages = page_tokens

    @classmethod
    def build(
        cls,
        database: Database,
        store: Store,
        stores: Stores,
        networks: Networks,
        addresses: Addresses,
        writer: Writer,
        page_tokens: PageTokens,
        clock: Clock,
        pause: Pause,
        hardware: Hardware,
        holds: Holds | None = None,
    ) -> Self:
        """The audits over lifecycle's own rows, the other services, and the controller's *holds*, if it has any."""
        # Controllers last: while one is away, all the others are looked through.
        books = shelves(database, stores)
        releases = None
        if holds is not None:
            books["node_holds"] = NodeHolds(database, holds)
            releases = Releases(database, store, clock, holds, hardware)
        left = sources(stores)
        books |= {book: LeftoverShelf(database, source) for book, source in left.items()}
        removals = Removals(database, store, left)
        sweep = Sweep(books, clock, pause)
        repairs = Repairs(database, store, sweep, stores, networks, addresses, removals, releases)
        return cls(database, writer, sweep, repairs, page_tokens)

    def AuditLeaks(
        self, request: audit_service_pb2.AuditLeaksRequest, context: Context
    ) -> audit_service_pb2.AuditLeaksResponse:
        """See the contract."""
        call = current_call()
        page = self._pages.request(request, call, request.book)
        part = self._sweep.part(page.after, page.size, _settle(request), request.book)
        return audit_service_pb2.AuditLeaksResponse(
            leaks=[_leak(leak) for leak in part.leaks],
            next_page_token=self._pages.next(part.following, call, request.book),
            book=part.book,
            examined_count=part.examined,
        )

    def AuditIsolation(
        self, request: audit_service_pb2.AuditIsolationRequest, context: Context
    ) -> audit_service_pb2.AuditIsolationResponse:
        """See the contract."""
        since = request.since.ToMicroseconds() if request.HasField("since") else 0
        parts = (request.stream, str(since), str(request.flawed_only))
        call = current_call()
        page = self._pages.request(request, call, *parts)

        def look(tx: Transaction) -> tuple[dict[str, list[Interval]], list[int]]:
            found = docket.verdicts(
                tx, stream=request.stream, since=since, flawed_only=request.flawed_only, after=page.after,
                most=page.size + 1,
            )  # fmt: skip
            return found, [docket.place(tx, service) for service in _JUDGED]

        found, places = self._database.read(look)
        if request.stream and not found and not page.after:
            msg = f"nothing of {request.stream} was judged"
            raise NotFound(
                msg, remedy="Name a server as servers/{uuid}; a new one is judged in a moment.", name=request.stream
            )
        names = sorted(found)
        following = names[page.size - 1] if len(names) > page.size else ""
        return audit_service_pb2.AuditIsolationResponse(
            verdicts=[stream_verdict(name, found[name]) for name in names[: page.size]],
            next_page_token=self._pages.next(following, call, *parts),
            logs=[
                audit_service_pb2.JudgedLog(service=service, position=place)
                for service, place in zip(_JUDGED, places, strict=True)
            ],
        )

    def RepairLeak(
        self, request: audit_service_pb2.RepairLeakRequest, context: Context
    ) -> audit_service_pb2.RepairLeakResponse:
        """See the contract."""
        call = current_call()
        if request.kind not in _KIND_OF:
            raise InvalidField("kind", "is none of the contract's", remedy="Give the kind that an audit answered.")

        def told(tx: Transaction, repair: Repair) -> audit_service_pb2.RepairLeakResponse:
            self._repairs.record(tx, call, repair)
            return audit_service_pb2.RepairLeakResponse(leak=_leak(repair.leak), done=repair.done)

        return self._writer.prepared(
            call, request,
            lambda: self._repairs.repair(call, _KIND_OF[request.kind], request.resource, request.etag),
            told,
        )  # fmt: skip


def _settle(request: audit_service_pb2.AuditLeaksRequest) -> timedelta:
    if not request.HasField("settle"):
        return SETTLE
    given, most = request.settle.seconds + request.settle.nanos / 1e9, MAX_SETTLE.total_seconds()
    if not 0 <= given <= most:
        raise InvalidField("settle", f"is not from 0 s to {most:g} s", remedy="Leave it out for 2 s.")
    return timedelta(seconds=given)


def _leak(leak: Leak) -> audit_service_pb2.Leak:
    return audit_service_pb2.Leak(
        kind=KINDS[leak.kind],
        resource=leak.resource,
        owner=leak.owner,
        server=SERVER.format(leak.server) if leak.server else "",
        why=leak.why,
        since=wire.stamp(leak.since),
        remedy=REMEDIES[leak.kind].text,
        commands=commands(leak),
        repairable=leak.repairable,
        etag=leak.etag,
    )
