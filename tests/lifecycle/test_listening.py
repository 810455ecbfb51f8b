# SPDX-License-Identifier: Apache-2.0
"""The question for ipam's log over a real channel: it waits for news, and ends at once when its channel does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass, field

import grpc
import pytest

from bms.event.v1 import event_pb2
from services.kernel.errors import PeerUnavailable
from services.lifecycle.judging.sources import WAIT_SECONDS, IpamLog
from services.runtime.outbound import Peer

_METHOD = "/bms.ipam.v1.IpamService/ListEvents"


@dataclass
class Ipam:
    """ipam, idle: a question is open until there is news or its time is up."""

    asked: list[event_pb2.ListEventsRequest] = field(default_factory=list)
    waiting: threading.Event = field(default_factory=threading.Event)
    news: threading.Event = field(default_factory=threading.Event)

    def serve(self, request: event_pb2.ListEventsRequest, _context: grpc.ServicerContext) -> bytes:
        self.asked.append(request)
        self.waiting.set()
        self.news.wait(request.wait_seconds)
        event = event_pb2.StoredEvent(position=request.after + 1)
        return event_pb2.ListStoredEventsResponse(events=[event]).SerializeToString()


@dataclass
class Line:
    """A channel to it."""

    ipam: Ipam
    peer: Peer


@pytest.fixture
def line() -> Iterator[Line]:
    ipam = Ipam()
    handler: grpc.RpcMethodHandler[event_pb2.ListEventsRequest, bytes] = grpc.unary_unary_rpc_method_handler(
        ipam.serve, request_deserializer=event_pb2.ListEventsRequest.FromString
    )
    server = grpc.server(futures.ThreadPoolExecutor(2))
    service, method = _METHOD.strip("/").split("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    peer = Peer(f"127.0.0.1:{port}", token="t", tls=None, service="ipam")
    yield Line(ipam, peer)
    ipam.news.set()
    peer.close()
    server.stop(None).wait()


def test_an_idle_log_is_asked_once_in_a_while(line: Line) -> None:
    """
    One question is open as long as ipam lets it, and is answered as soon as there is news.
    """
    with futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(IpamLog(line.peer), 7)
        assert line.ipam.waiting.wait(10)
        assert not answer.done()
        line.ipam.news.set()
        assert [event.position for event in answer.result(10)] == [8]

    (asked,) = line.ipam.asked
    assert (asked.after, asked.wait_seconds) == (7, WAIT_SECONDS)


def test_an_open_question_ends_with_its_channel(line: Line) -> None:
    """
    Whoever stops closes the channel, and waits for nothing.
    """
    with futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(IpamLog(line.peer), 0)
        assert line.ipam.waiting.wait(10)
        line.peer.close()
        assert isinstance(answer.exception(5), PeerUnavailable)
