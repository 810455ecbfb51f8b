# SPDX-License-Identifier: Apache-2.0
"""Genuine logs of lifecycle and ipam, signed, and what serves them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc

from bms.event.v1 import event_log_service_pb2_grpc, event_pb2
from bms.lifecycle.v1 import instance_pb2, server_status_pb2
from services.kernel.events import Event, Evidence, PortSeen
from services.runtime.checkpoint_servicer import EventLogServicer
from services.runtime.checkpoints import Checkpointer
from services.runtime.database import Database, Transaction, open_database
from services.runtime.signing import KeyFiles
from services.runtime.witness import Witness
from tests.ipam.rig import Rig as IpamRig
from tests.lifecycle.rig import BLUE, WEB, Rig
from tests.support.clocks import FakeClock, SequentialIds
from tests.support.judging import stored_events
from tests.support.stores import _sqlite_copy
from tests.support.wire import Wire, reader

SERVER = "servers/00000001-0000-4000-8000-000000000000"
OTHER = "servers/00000002-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class Log:
    """What a service publishes of its log."""

    service: str
    keys: list[event_pb2.SigningKey]
    checkpoints: list[event_pb2.SignedCheckpoint]
    events: list[event_pb2.StoredEvent]
    proofs: dict[str, event_pb2.StreamProof]

    def without(self, index: int) -> Log:
        """The same with one event missing."""
        return replace(self, events=[*self.events[:index], *self.events[index + 1 :]])

    @property
    def public_key(self) -> str:
        """The first key, in hexadecimal."""
        return self.keys[0].public_key.hex()


class _Signed:
    """A database whose log is signed as it grows."""

    def __init__(self, service: str, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.service = service
        self.database: Database = open_database(_sqlite_copy(f"services.{service}", folder / "db.sqlite"))
        keys = KeyFiles(folder / "signing.key")
        ids = SequentialIds(f"{service} checkpoints")
        self._checkpointer = Checkpointer(service, self.database, ids, keys, Witness(folder / "seen"))
        self._wire = Wire(EventLogServicer(service, self.database, self._checkpointer), reader())

    def sign(self, clock: FakeClock) -> None:
        """Covers everything so far by a checkpoint."""
        clock.advance(2)
        while self._checkpointer.tick(clock.now(), ending=True):
            clock.advance(2)

    def published(self, log: Any) -> Log:
        """What it publishes now."""
        events = stored_events(self.database, log)
        streams = {event_pb2.EventHeader.FromString(event.header).stream for event in events}
        return Log(
            self.service,
            list(self._wire.ok("ListSigningKeys", event_pb2.ListSigningKeysRequest()).keys),
            list(self._wire.ok("ListCheckpoints", event_pb2.ListCheckpointsRequest()).checkpoints),
            events,
            {name: self._wire.ok("GetStreamProof", event_pb2.GetStreamProofRequest(stream=name)) for name in streams},
        )


def lifecycle_log(folder: Path, then: Callable[[Rig], None] = lambda _: None) -> Log:
    """Two servers; a tenant comes to one and goes; then what *then* does."""
    signed = _Signed("lifecycle", folder)
    rig = Rig(signed.database)
    rig.active(BLUE)
    rig.available(2)
    signed.sign(rig.clock)
    rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB))
    rig.settle()
    signed.sign(rig.clock)
    then(rig)
    signed.sign(rig.clock)
    log = signed.published(rig.log)
    signed.database.close()
    return log


def exposed(rig: Rig) -> None:
    """Something that must never happen is in the log: a port of a server that nobody holds joins a tenant's network."""
    server = rig.server(SERVER.removeprefix("servers/"))
    seen = PortSeen(server.ports[0].name, "tenant", ("projects/demo/networks/blue",))
    event = Event(
        server.name, "port.attach_requested", rig.clock.now(), "lifecycle", server.state.value, server.state.value,
        evidence=Evidence(ports=(seen,)),
    )  # fmt: skip

    def append(tx: Transaction) -> None:
        head = rig.log.append(tx, event, server.head)
        tx.execute(
            "UPDATE servers SET sequence = ?, digest = ? WHERE uuid = ?", (head.sequence, head.digest, server.uuid)
        )

    rig.database.transact(append, label="test")


def powered_on(rig: Rig) -> None:
    """Somebody switches the clean server on, and patrol finds it."""
    rig.hardware.machine(SERVER.removeprefix("servers/")).on = True
    rig.pass_time(1000, step=50)
    rig.settle()


def ipam_log(folder: Path) -> Log:
    """Addresses are granted, rest, and are granted again."""
    signed = _Signed("ipam", folder)
    rig = IpamRig(signed.database)
    rig.prefix()
    lease = rig.lease("vm-1")
    rig.lease("vm-2")
    rig.release(lease)
    signed.sign(rig.clock)
    log = signed.published(rig.log)
    signed.database.close()
    return log


class _EventLog(event_log_service_pb2_grpc.EventLogServiceServicer):
    """What proves a log; pages are short, so that every caller has to turn them."""

    def __init__(self, log: Log) -> None:
        self.log = log

    def ListSigningKeys(self, request: Any, context: Any) -> Any:  # noqa: N802 -- the contract's name, as below
        keys = [key for key in self.log.keys if key.from_number > request.after]
        return event_pb2.ListSigningKeysResponse(keys=keys)

    def ListCheckpoints(self, request: Any, context: Any) -> Any:  # noqa: N802
        found = self.log.checkpoints[-1:] if request.newest else self.log.checkpoints[request.after :]
        return event_pb2.ListCheckpointsResponse(checkpoints=found, next_after=len(self.log.checkpoints))

    def GetStreamProof(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.stream not in self.log.proofs:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such stream")
        return self.log.proofs[request.stream]


@contextmanager
def proving(*logs: Log) -> Iterator[dict[str, str]]:
    """Serves *logs*, each on a port of its own; answers the addresses by service."""
    with ExitStack() as stack:
        yield {log.service: stack.enter_context(_serving(log)) for log in logs}


@contextmanager
def _serving(log: Log) -> Iterator[str]:
    def list_events(request: event_pb2.ListEventsRequest, _context: Any) -> event_pb2.ListStoredEventsResponse:
        after = [event for event in log.events if event.position > request.after]
        of = [event for event in after if not request.stream or _stream(event) == request.stream][:7]
        last = of[-1].position if of else after[-1].position if after else request.after
        return event_pb2.ListStoredEventsResponse(events=of, next_after=last)

    def status(request: server_status_pb2.GetServerStatusRequest, _context: Any) -> Any:
        return server_status_pb2.ServerStatus(
            server=request.name.removesuffix("/status"), state=server_status_pb2.ServerStatus.STATE_AVAILABLE
        )

    server = grpc.server(futures.ThreadPoolExecutor(2))
    event_log_service_pb2_grpc.add_EventLogServiceServicer_to_server(_EventLog(log), server)
    name = f"bms.{log.service}.v1.{log.service.capitalize()}Service"
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "ListEvents": grpc.unary_unary_rpc_method_handler(
            list_events,
            request_deserializer=event_pb2.ListEventsRequest.FromString,
            response_serializer=event_pb2.ListStoredEventsResponse.SerializeToString,
        ),
        "GetServerStatus": grpc.unary_unary_rpc_method_handler(
            status,
            request_deserializer=server_status_pb2.GetServerStatusRequest.FromString,
            response_serializer=server_status_pb2.ServerStatus.SerializeToString,
        ),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


def _stream(event: event_pb2.StoredEvent) -> str:
    return event_pb2.EventHeader.FromString(event.header).stream
