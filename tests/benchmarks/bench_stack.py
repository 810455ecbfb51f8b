# SPDX-License-Identifier: Apache-2.0
"""How many GetServer calls a second the full stack answers, as a share of an empty method's.

Both servers are processes of their own: inventory as `bms up` starts it, and a bare gRPC server with the same options
and as many threads whose one method takes nothing and answers nothing. One client, threads of this process over one
channel, calls them in turns. Python clients cost as much as servers: all calls go through the same one.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent import futures
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2

from bms.inventory.v1 import inventory_service_pb2_grpc, server_pb2
from services.runtime.settings import ServerSettings
from tests.site.client import Client
from tests.site.furnish import bring_in
from tests.site.rig import running_site

SERVERS = 100
SECONDS = 2.0
ROUNDS = 5
TARGETS = {1: 0.6, 16: 0.35}
_METHOD = "/bench.Empty/Nothing"


def serve_nothing(told: Connection) -> None:
    """A gRPC server as `services.runtime.server` builds it, with an empty method and nothing around it."""
    server = grpc.server(futures.ThreadPoolExecutor(ServerSettings("").threads), options=(("grpc.so_reuseport", 0),))
    nothing = empty_pb2.Empty()
    handler = grpc.unary_unary_rpc_method_handler(
        lambda _request, _context: nothing,
        request_deserializer=empty_pb2.Empty.FromString,
        response_serializer=empty_pb2.Empty.SerializeToString,
    )
    server.add_registered_method_handlers("bench.Empty", {"Nothing": handler})
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Empty", {"Nothing": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    told.send(port)
    told.recv()
    server.stop(None)


def per_second(call: Callable[[int], Any], callers: int) -> float:
    """How many times a second *callers* threads can *call*."""
    stop, counts = time.perf_counter() + SECONDS, [0] * callers

    def run(number: int) -> None:
        turn = number
        while time.perf_counter() < stop:
            call(turn)
            turn += 1
            counts[number] += 1

    threads = [threading.Thread(target=run, args=(number,)) for number in range(callers)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - began)


def measure(empty: Callable[[int], Any], full: Callable[[int], Any]) -> bool:
    """Prints the ratios; answers whether all are as promised."""
    good = True
    for callers, target in TARGETS.items():
        ratios = []
        for _ in range(ROUNDS):
            base = per_second(empty, callers)
            ours = per_second(full, callers)
            ratios.append(ours / base)
            sys.stdout.write(
                f"  {callers:2} callers: empty {base:6.0f}/s, GetServer {ours:6.0f}/s: {ours / base:.2f}\n"
            )
        middle = statistics.median(ratios)
        good &= middle >= target
        verdict = "as promised" if middle >= target else "MISSED"
        sys.stdout.write(f"GetServer / empty method, {callers} callers: {middle:.2f} (at least {target}): {verdict}\n")
    return good


def main() -> int:
    """Runs it; 1 if a promise is not kept."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    bare = spawn.Process(target=serve_nothing, args=(theirs,))
    bare.start()
    with tempfile.TemporaryDirectory() as folder, running_site(Path(folder), only=("inventory",)) as site:
        names = bring_in(Client(site, "admin"), SERVERS)
        stub = inventory_service_pb2_grpc.InventoryServiceStub(site.channel("inventory"))
        metadata = site.metadata("admin")
        requests = [server_pb2.GetServerRequest(name=name) for name in names]
        nothing = empty_pb2.Empty()
        with grpc.insecure_channel(f"127.0.0.1:{ours.recv()}") as channel:
            empty = channel.unary_unary(
                _METHOD,
                request_serializer=empty_pb2.Empty.SerializeToString,
                response_deserializer=empty_pb2.Empty.FromString,
            )
            good = measure(
                lambda _turn: empty(nothing, timeout=10, metadata=metadata),
                lambda turn: stub.GetServer(requests[turn % SERVERS], timeout=10, metadata=metadata),
            )
    ours.send("stop")
    bare.join()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
