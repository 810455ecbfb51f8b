# SPDX-License-Identifier: Apache-2.0
"""`bms.event.v1.EventLogService`, beside each log's own service: checkpoints, keys and proofs, as they are stored."""

from __future__ import annotations

import grpc

from bms.event.v1 import event_log_service_pb2_grpc, event_pb2
from services.kernel.errors import InvalidField
from services.runtime import checkpoint_store as store
from services.runtime.checkpoints import Checkpointer
from services.runtime.database import Database, Transaction

DEFAULT_LIMIT = 500
MAX_LIMIT = 1000


class EventLogServicer(event_log_service_pb2_grpc.EventLogServiceServicer):
    """See the contract."""

    def __init__(self, service: str, database: Database, checkpointer: Checkpointer) -> None:
        self._service = service
        self._database = database
        self._checkpointer = checkpointer

    def ListCheckpoints(  # noqa: N802 -- the contract's name
        self, request: event_pb2.ListCheckpointsRequest, context: grpc.ServicerContext
    ) -> event_pb2.ListCheckpointsResponse:
        """See the contract."""
        after, limit = _page(request.after, request.page_size)

        def find(tx: Transaction) -> event_pb2.ListCheckpointsResponse:
            log = request.log or _present(tx)
            if request.newest:
                newest = store.newest(tx, log)
                found = [newest] if newest else []
            else:
                found = list(store.page(tx, log, after, limit))
            return event_pb2.ListCheckpointsResponse(
                checkpoints=[each.wire() for each in found], next_after=found[-1].number if found else after
            )

        return self._database.read(find)

    def ListSigningKeys(  # noqa: N802 -- the contract's name
        self, request: event_pb2.ListSigningKeysRequest, context: grpc.ServicerContext
    ) -> event_pb2.ListSigningKeysResponse:
        """See the contract."""
        after, limit = _page(request.after, request.page_size)

        def find(tx: Transaction) -> event_pb2.ListSigningKeysResponse:
            found = store.keys(tx, request.log or _present(tx), after, limit)
            return event_pb2.ListSigningKeysResponse(
                keys=[each.wire(self._service) for each in found],
                next_after=found[-1].from_number if found else after,
            )

        return self._database.read(find)

    def GetStreamProof(  # noqa: N802 -- the contract's name
        self, request: event_pb2.GetStreamProofRequest, context: grpc.ServicerContext
    ) -> event_pb2.StreamProof:
        """See the contract."""
        return self._checkpointer.prove(request.stream)


def _present(tx: Transaction) -> str:
    log = store.current_log(tx)
    return log.log if log else ""


def _page(after: int, page_size: int) -> tuple[int, int]:
    for name, value in (("after", after), ("page_size", page_size)):
        if value < 0:
            raise InvalidField(name, "is negative")
    return after, min(page_size or DEFAULT_LIMIT, MAX_LIMIT)
