# SPDX-License-Identifier: Apache-2.0
"""How calls fare: arrived, lost, late, or ended by a death on either side."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from bms.ipam.v1 import ipam_service_pb2_grpc, prefix_pb2
from services.access import RULES
from services.runtime.interceptors import interceptors
from tests.simulation.engine import Crash, Process, Simulation
from tests.simulation.transport import Fabric, Lost, Server, Tokens
from tests.simulation.weather import Fared, Fate, Weather
from tests.support.wire import admin


class Counting(ipam_service_pb2_grpc.IpamServiceServicer):
    """Counts what arrives, and takes a second for it."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.arrived: list[float] = []

    def GetPrefix(self, request: prefix_pb2.GetPrefixRequest, context: grpc.ServicerContext) -> prefix_pb2.Prefix:  # noqa: N802 -- the contract's name
        self.sim.sleep(1)
        self.arrived.append(self.sim.seconds())
        return prefix_pb2.Prefix(name=request.name)


class Bench:
    """One service, one caller, and the fate of the next call."""

    def __init__(self) -> None:
        self.sim = Simulation("1")
        self.weather = Weather("1", self.sim, ())
        self.fabric = Fabric(self.sim, self.weather)
        self.servicer = Counting(self.sim)  # type: ignore[abstract]  # one method will do
        self.process = Process("ipam", "ipam")
        add = ipam_service_pb2_grpc.add_IpamServiceServicer_to_server
        chain = interceptors(Tokens({"admin": admin()}), RULES, clock=self.sim)
        self.fabric.up(Server(self.process, [(add, self.servicer)], chain))
        self.stub = ipam_service_pb2_grpc.IpamServiceStub(self.fabric.channel("ipam", "somebody"))

    def fated(self, fared: Fared) -> None:
        self.weather.fate = lambda *_: fared  # type: ignore[method-assign]

    def call(self, token: str = "admin", timeout: float = 10.0) -> prefix_pb2.Prefix:
        request = prefix_pb2.GetPrefixRequest(name="projects/a/prefixes/b")
        return self.stub.GetPrefix(request, timeout=timeout, metadata=(("authorization", f"Bearer {token}"),))


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.sim.end()


def code_of(bench: Bench, **more: float) -> grpc.StatusCode:
    with pytest.raises(Lost) as caught:
        bench.call(**more)  # type: ignore[arg-type]  # the timeout alone
    return caught.value.code()


def test_a_call_arrives_through_the_interceptors(bench: Bench) -> None:
    """
    What is allowed is answered, what is not is refused as on the wire.
    """
    assert bench.call().name == "projects/a/prefixes/b"
    with pytest.raises(Lost) as caught:
        bench.call(token="stranger")
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("fared", "code", "arrivals"),
    [
        (Fared(Fate.REFUSED), grpc.StatusCode.UNAVAILABLE, 0),
        (Fared(Fate.BUSY), grpc.StatusCode.ABORTED, 0),
        (Fared(Fate.ANSWER_LOST), grpc.StatusCode.UNAVAILABLE, 1),
        (Fared(Fate.PLAIN, after=30), grpc.StatusCode.DEADLINE_EXCEEDED, 1),
    ],
)
def test_what_the_caller_hears_and_what_was_done(
    bench: Bench, fared: Fared, code: grpc.StatusCode, arrivals: int
) -> None:
    """
    A lost call was not done, a lost answer was; the caller cannot tell.
    """
    bench.fated(fared)
    assert code_of(bench) is code
    assert len(bench.servicer.arrived) == arrivals


def test_a_late_call_is_done_after_its_caller_gave_up(bench: Bench) -> None:
    """
    The caller hears that there was no answer in time; the request is served all the same, later.
    """
    bench.fated(Fared(Fate.LATE, after=60))
    assert code_of(bench) is grpc.StatusCode.DEADLINE_EXCEEDED
    gave_up = bench.sim.seconds()
    assert bench.servicer.arrived == []
    bench.sim.sleep(100)
    (arrived,) = bench.servicer.arrived
    assert arrived > gave_up + 40


def test_the_death_of_the_server_is_a_broken_connection(bench: Bench) -> None:
    """
    Killed while it serves, the caller hears that the connection broke, and then that nobody is there.
    """

    def strike() -> None:
        bench.sim.sleep(0.5)
        bench.fabric.down(bench.process)
        bench.sim.kill(bench.process)

    bench.sim.spawn("killer", strike)
    assert code_of(bench) is grpc.StatusCode.UNAVAILABLE
    assert bench.servicer.arrived == []
    assert code_of(bench) is grpc.StatusCode.UNAVAILABLE


def test_the_death_of_the_caller_does_not_undo_what_it_asked_for(bench: Bench) -> None:
    """
    Killed while it waits for an answer, a caller dies when it would have had it; the call itself was served.
    """
    caller, ended = Process("caller", "caller"), list[str]()

    def ask() -> None:
        try:
            bench.call()
        except Crash:
            ended.append("died")
            raise

    bench.sim.spawn("asks", ask, caller)
    bench.sim.sleep(0.5)
    bench.sim.kill(caller)
    bench.sim.sleep(5)
    assert (ended, len(bench.servicer.arrived)) == (["died"], 1)
