# SPDX-License-Identifier: Apache-2.0
"""Calls to the services whose logs we follow, over grpc.aio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from bms.event.v1 import event_pb2
from bms.inventory.v1 import server_pb2
from services.kernel.clock import Ids
from services.kernel.effect import effect
from services.kernel.errors import NotFound, PeerUnavailable
from services.runtime.outbound import OPTIONS, error_of
from services.runtime.settings import ClientTls
from telemetry.events import Followed

_ANSWER_SECONDS = 5.0
"""What a peer gets beyond the time it was asked to wait."""


class Log(Protocol):
    """A service's event log."""

    async def list(self, after: int, *, limit: int, wait: int) -> Sequence[Followed]:
        """Events behind the position *after*, by rising position; none if there was no news for *wait* seconds.

        Raises:
            BmsError: the service does not answer, or refuses.
        """
        ...


class AioPeer:
    """One other service; its channel is kept for the life of the process.

    Args:
        token: the bearer token we show.
        tls: None for a plain channel.
    """

    def __init__(self, service: str, address: str, *, token: str, tls: ClientTls | None, ids: Ids) -> None:
        self.service = service
        self.address = address
        self._authorization = ("authorization", f"Bearer {token}")
        self._ids = ids
        self._channel = _open(address, tls)
        self._list = self._channel.unary_unary(
            f"/bms.{service}.v1.{service.title()}Service/ListEvents",
            request_serializer=event_pb2.ListEventsRequest.SerializeToString,
            # The events' bytes are kept as they were stored: parsing them as Event would make them anew.
            response_deserializer=event_pb2.ListStoredEventsResponse.FromString,
        )

        self._checkpoints = self._channel.unary_unary(
            "/bms.event.v1.EventLogService/ListCheckpoints",
            request_serializer=event_pb2.ListCheckpointsRequest.SerializeToString,
            response_deserializer=event_pb2.ListCheckpointsResponse.FromString,
        )

    async def list(self, after: int, *, limit: int, wait: int) -> Sequence[Followed]:
        """See `Log`."""
        request = event_pb2.ListEventsRequest(after=after, page_size=limit, wait_seconds=wait)
        answer = await self._call(self._list, request, "ListEvents", wait + _ANSWER_SECONDS)
        try:
            return [Followed.of(self.service, event) for event in answer.events]
        except DecodeError:
            msg = f"{self.service} answered events that cannot be read"
            raise PeerUnavailable(msg, remedy=f"See which version of {self.service} runs.", peer=self.service) from None

    async def checkpoints(self, after: int = 0, log: str = "") -> Sequence[event_pb2.SignedCheckpoint]:
        """See `telemetry.anchors.Signed`."""
        request = event_pb2.ListCheckpointsRequest(after=after, page_size=1, newest=not log, log=log)
        answer = await self._call(self._checkpoints, request, "ListCheckpoints", _ANSWER_SECONDS)
        found: Sequence[event_pb2.SignedCheckpoint] = answer.checkpoints
        return found

    async def close(self) -> None:
        """Closes the channel."""
        await self._channel.close()

    def method(self, name: str, request: Any, answer: Any) -> Any:
        """A unary method of the service's contract."""
        return self._channel.unary_unary(
            f"/bms.{self.service}.v1.{self.service.title()}Service/{name}",
            request_serializer=request.SerializeToString,
            response_deserializer=answer.FromString,
        )

    async def _call(self, method: Any, request: Any, name: str, deadline: float) -> Any:
        metadata = (self._authorization, ("x-request-id", self._ids.uuid()))
        with effect(f"peer.{self.service}.{name}"):
            try:
                return await method(request, timeout=deadline, metadata=metadata)
            except grpc.aio.AioRpcError as failure:
                raise error_of(failure, self.service, name) from failure


class InventoryPeer(AioPeer):
    """Inventory, which also says what a server is made of."""

    async def get_server(self, uuid: str) -> server_pb2.Server | None:
        """The server *uuid*, None if inventory has none.

        Raises:
            BmsError: inventory does not answer, or refuses.
        """
        method = self.method("GetServer", server_pb2.GetServerRequest, server_pb2.Server)
        request = server_pb2.GetServerRequest(name=f"servers/{uuid}")
        try:
            server: server_pb2.Server = await self._call(method, request, "GetServer", _ANSWER_SECONDS)
        except NotFound:
            return None
        return server


def _open(address: str, tls: ClientTls | None) -> grpc.aio.Channel:
    if tls is None:
        return grpc.aio.insecure_channel(address, options=OPTIONS)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=tls.ca.read_bytes(),
        private_key=tls.key.read_bytes() if tls.key else None,
        certificate_chain=tls.cert.read_bytes() if tls.cert else None,
    )
    return grpc.aio.secure_channel(address, credentials, options=OPTIONS)
