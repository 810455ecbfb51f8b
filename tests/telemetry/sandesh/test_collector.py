# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from telemetry.sandesh.collector import Collector, CollectorSettings
from telemetry.sandesh.decode import decode
from telemetry.sandesh.encode import encode
from telemetry.sandesh.errors import DecodeError
from telemetry.sandesh.framing import FrameReader, frame
from telemetry.sandesh.header import Identity, header_of
from telemetry.sandesh.messages import SANDESH_CTRL_CLIENT_TO_SERVER
from telemetry.sandesh.reception import Outcome, Reception, answer
from telemetry.sandesh.tree import fields
from tests.telemetry.sandesh.fakes import SENDER, Clock, FakeSink
from tests.telemetry.sandesh.test_decode import MENDED, REFUSED, log
from tests.telemetry.sandesh.test_framing import CLOSED
from tests.telemetry.sandesh.vectors import BY_NAME, FULL, VECTORS, rest

THEM = Identity("analytics-1", "contrail-collector", "Analytics", "0")
HELLO = BY_NAME["22-ctrl-c2s-no-uves"].frame
DATA = [vector.frame for vector in VECTORS if vector.told["header"]["Context"] != "ctrl"]
HEADER = FULL.frame[29 : FULL.frame.find(b"</SandeshHeader>") + len(b"</SandeshHeader>")]
G = "cfg-node-1.example.net:Config:ironic-notification-manager:0"


def run(scenario: Callable[[], Coroutine[Any, Any, None]], *, loop: Callable[[], Any] | None = None) -> None:
    async def whole() -> None:
        async with asyncio.timeout(30):
            try:
                await scenario()
            finally:
                while PEERS:
                    await PEERS.pop().leave()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(whole())


@asynccontextmanager
async def collector(sink: FakeSink, **changes: Any) -> AsyncIterator[Collector]:
    async with Collector(CollectorSettings(identity=THEM, port=0, **changes), sink, Clock()) as found:
        yield found


class Peer:
    """A generator without manners: sends what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._frames = FrameReader()

    @classmethod
    async def of(cls, found: Collector) -> Peer:
        peer = cls(*await asyncio.open_connection("127.0.0.1", found.port))
        PEERS.append(peer)
        return peer

    async def send(self, *chunks: bytes) -> None:
        for chunk in chunks:
            self._writer.write(chunk)
            await self._writer.drain()
            await asyncio.sleep(0)

    async def answer(self) -> bytes:
        while True:
            for one in self._frames.feed(await self._reader.read(1024)):
                return one

    async def ended(self) -> bool:
        """Waits for the collector to close."""
        try:
            return await self._reader.read() == b""
        except ConnectionError:
            return True

    async def leave(self) -> None:
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


PEERS: list[Peer] = []
"""Those that a scenario has made; closed when it ends."""


# --- without a socket ----------------------------------------------------------------------------


def take(reception: Reception, data: bytes) -> Outcome:
    outcome, _ = reception.take(data)
    return outcome


def test_order_of_a_session() -> None:
    """
    Data before the introduction is dropped, a second introduction ignored; the session goes on both times.
    """
    reception = Reception()

    outcomes = [take(reception, data) for data in (FULL.frame, HELLO, FULL.frame, HELLO, FULL.frame)]

    assert outcomes == [Outcome.TOO_EARLY, Outcome.INTRODUCED, Outcome.MESSAGE, Outcome.REPEATED, Outcome.MESSAGE]


def test_introduction_is_understood() -> None:
    """
    An introduction of the reference generator says who it is and what it has.
    """
    reception = Reception()
    reception.take(BY_NAME["23-ctrl-c2s"].frame)

    told = reception.announcement
    assert told is not None
    assert str(told.identity) == G
    assert (told.connections, told.pid, told.http_port) == (3, 4242, 8110)
    assert told.types == ("SandeshModuleClientTrace", "NodeStatusUVE", "IronicNodeInfo")


def test_header_without_a_name() -> None:
    """
    A Python generator's introduction may have nobody in its header; its body counts.
    """
    nobody = HELLO.replace(b">cfg-node-1.example.net</Source>", b"></Source>").replace(b"1400", b"1378")
    reception = Reception()

    assert take(reception, nobody) is Outcome.INTRODUCED
    assert reception.announcement is not None
    assert str(reception.announcement.identity) == G


def hello(**changes: Any) -> bytes:
    values = {**BY_NAME["22-ctrl-c2s-no-uves"].values, **changes}
    return encode(BY_NAME["22-ctrl-c2s-no-uves"].header, SANDESH_CTRL_CLIENT_TO_SERVER, values)


@pytest.mark.parametrize(
    "data",
    [
        hello(node_type_name=""),
        hello(instance_id_name=""),
        hello(source=None),
        hello(module_name="a:b"),
        hello(module_name="a&b"),
        hello().replace(b">4242<", b">many<"),
        BY_NAME["24-ctrl-s2c-empty"].frame,
        hello().replace(b"uve_types", b"pid_types").replace(b'type="list"', b'type="bool"'),
        frame(
            HELLO[29:-10].replace(b"<SandeshCtrlClientToServer", b"<X").replace(b"</SandeshCtrlClientToServer", b"</X")
        ),
    ],
    ids=["no type", "no instance", "no source", "colon", "escape", "no pid", "an answer", "no list", "other name"],
)
def test_introductions_of_nobody(data: bytes) -> None:
    """
    An introduction that a collector cannot use ends the session. (Some crash the reference.)
    """
    with pytest.raises(DecodeError):
        Reception().take(data)


def test_answer() -> None:
    """
    The answer is byte for byte the reference's, when that knows nothing either.
    """
    for name, success in (("24-ctrl-s2c-empty", True), ("26-ctrl-s2c-fail", False)):
        vector = BY_NAME[name]

        assert vector.frame == answer(vector.sender, vector.header.timestamp, vector.header.sequence, success=success)


# --- with a socket -------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", [None, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_takes_all_vectors(loop: Callable[[], Any] | None) -> None:
    """
    The messages of the reference generator are taken, each whole and in order, after an answered handshake.
    """

    async def scenario() -> None:
        sink = FakeSink()
        async with collector(sink) as found:
            peer = await Peer.of(found)
            await peer.send(HELLO)
            reply = decode(await peer.answer())
            await peer.send(*DATA)
            await sink.until(lambda: len(sink.messages) == len(DATA))

            assert fields(reply.body) == {"type_info": [], "success": True}
            assert reply.header.source == "analytics-1"
            assert [message.frame for message in sink.messages] == DATA
            assert {str(message.generator) for message in sink.messages} == {G}
            assert sink.messages[0].xml == FULL.body
            (state,) = found.generators
            assert (state.messages, state.size, state.repaired) == (len(DATA), len(HELLO) + sum(map(len, DATA)), 0)
            await peer.leave()
            await sink.until(lambda: bool(sink.forgotten))
        assert [str(one) for one in sink.forgotten] == [G]

    run(scenario, loop=loop)


STREAM = HELLO + b"".join(DATA)


@settings(max_examples=15)
@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_split_anywhere(cuts: list[int]) -> None:
    """
    However TCP splits and joins a session, its messages are the same.
    """
    edges = [0, *sorted(cuts), len(STREAM)]

    async def scenario() -> None:
        sink = FakeSink()
        async with collector(sink) as found:
            peer = await Peer.of(found)
            await peer.send(*(STREAM[start:end] for start, end in pairwise(edges)))
            await sink.until(lambda: len(sink.messages) == len(DATA))
            await peer.leave()

            assert [message.frame for message in sink.messages] == DATA

    run(scenario)


def has_more(sink: FakeSink, than: int) -> bool:
    return len(sink.messages) > than


def test_lifecycle() -> None:
    """
    What is shown after each step of a UVE's life is what the reference API showed.
    """
    steps = {step["step"]: step for step in rest("LIFECYCLE")}
    key = FULL.values["data"]["name"]
    gone = BY_NAME["03-ironic-deleted-true"].frame[29:-10].replace(b"node-gone", key.encode())

    async def scenario() -> None:
        sink = FakeSink()

        def shown() -> dict[str, Any]:
            return sink.store_.view("ObjectServerTable", key).flat()

        async with collector(sink) as found:
            peer = await Peer.of(found)
            await peer.send(FULL.frame, HELLO)
            await sink.until(lambda: bool(sink.admitted))
            assert shown() == {}
            for name, data in (
                ("full", FULL.frame),
                ("partial update", BY_NAME["20-ironic-update-partial"].frame),
                ("deleted=true", frame(gone)),
                ("full again", FULL.frame),
            ):
                before = len(sink.messages)
                await peer.send(data)
                await sink.until(partial(has_more, sink, before))
                assert shown() == steps[name]["rest_flat"], name
            await peer.leave()
            await sink.until(lambda: bool(sink.forgotten))
            assert shown() == {}

    run(scenario)


BAD = {
    **{f"frame: {name}": data for name, data in CLOSED.items()},
    **{f"message: {name}": data for name, data in REFUSED.items()},
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_bad_bytes_end_one_session(data: bytes) -> None:
    """
    A session with one broken byte is closed and its UVEs are gone; its neighbour does not notice.
    """

    async def scenario() -> None:
        sink = FakeSink()
        async with collector(sink) as found:
            bad, good = await Peer.of(found), await Peer.of(found)
            await bad.send(HELLO)
            await bad.answer()
            await good.send(hello(instance_id_name="1"))
            await good.answer()
            await bad.send(data)

            assert await bad.ended()
            await sink.until(lambda: bool(sink.forgotten))
            await good.send(FULL.frame)
            await sink.until(lambda: any(message.generator.instance == "1" for message in sink.messages))
            await good.leave()
        assert [one.instance for one in sink.forgotten[:1]] == ["0"]

    run(scenario)


def test_forbidden_characters() -> None:
    """
    A message with characters that no XML may have is mended and counted, as the reference lives with it; a
    strict collector closes.
    """
    data = log(b'<x type="string">' + MENDED["control character"][0] + b"</x>")

    async def scenario() -> None:
        sink = FakeSink()
        async with collector(sink) as found, collector(FakeSink(), repair=False) as strict:
            peer, other = await Peer.of(found), await Peer.of(strict)
            for one in (peer, other):
                await one.send(HELLO, data)
            await sink.until(lambda: bool(sink.messages))

            assert sink.messages[0].message.repaired
            assert [state.repaired for state in found.generators] == [1]
            await other.answer()
            assert await other.ended()
            await peer.leave()

    run(scenario)


def test_one_name_twice() -> None:
    """
    Of two sessions with one name neither stays; then the name is free again.
    """

    async def scenario() -> None:
        sink = FakeSink()
        async with collector(sink) as found:
            first, second = await Peer.of(found), await Peer.of(found)
            await first.send(HELLO)
            await first.answer()
            await second.send(HELLO)

            assert await first.ended()
            assert await second.ended()
            await sink.until(lambda: bool(sink.forgotten))
            third = await Peer.of(found)
            await third.send(HELLO)
            assert await third.answer()
            await third.leave()

    run(scenario)


def test_failing_sink() -> None:
    """
    When the sink fails, that generator's session ends, so that it comes back and tells everything again.
    """

    async def scenario() -> None:
        sink = FakeSink()
        async with collector(sink) as found:
            peer = await Peer.of(found)
            await peer.send(HELLO)
            await peer.answer()
            sink.broken = True
            await peer.send(FULL.frame)

            assert await peer.ended()
            await sink.until(lambda: bool(sink.forgotten))
            sink.broken = False
            again = await Peer.of(found)
            await again.send(HELLO, FULL.frame)
            await sink.until(lambda: bool(sink.messages))
            await again.leave()

    run(scenario)


def test_slow_sink_slows_the_generator() -> None:
    """
    While the sink is busy nothing more is read, however much a generator sends: memory stays bounded.
    """

    async def scenario() -> None:
        sink = FakeSink()
        async with collector(sink) as found:
            peer = await Peer.of(found)
            await peer.send(HELLO)
            await peer.answer()
            sink.open.clear()
            large = log(f'<x type="string">{"a" * 1_000_000}</x>')
            flood = asyncio.create_task(peer.send(*[large] * 60))
            done, _ = await asyncio.wait([flood], timeout=0.5)
            assert not done
            (state,) = found.generators
            assert state.size == len(HELLO) + len(large)
            sink.open.set()
            await flood
            await sink.until(lambda: len(sink.messages) == 60)
            await peer.leave()

    run(scenario)


def test_silence_is_not_endured() -> None:
    """
    A connection that does not introduce itself is closed; one that has may be silent for ever.
    """

    async def scenario() -> None:
        sink = FakeSink()
        async with collector(sink, introduction_timeout=0.2) as found:
            silent, early, good = await Peer.of(found), await Peer.of(found), await Peer.of(found)
            await good.send(HELLO)
            await good.answer()
            await early.send(FULL.frame)

            assert await silent.ended()
            assert await early.ended()
            await good.send(FULL.frame)
            await sink.until(lambda: bool(sink.messages))
            await good.leave()

    run(scenario)


def test_too_many_sessions() -> None:
    """
    Beyond the limit a connection is closed at once; when one leaves there is room again.
    """

    async def scenario() -> None:
        sink = FakeSink()
        async with collector(sink, sessions=1) as found:
            first = await Peer.of(found)
            await first.send(HELLO)
            await first.answer()
            second = await Peer.of(found)
            assert await second.ended()
            await first.leave()
            await sink.until(lambda: bool(sink.forgotten))
            third = await Peer.of(found)
            await third.send(HELLO)
            assert await third.answer()
            await third.leave()

    run(scenario)


def test_oversized_frame() -> None:
    """
    A frame over the limit is refused at its announcement.
    """

    async def scenario() -> None:
        async with collector(FakeSink(), frame_limit=2000) as found:
            peer = await Peer.of(found)
            await peer.send(HELLO)
            await peer.answer()
            await peer.send(FULL.frame[:29])
            assert await peer.ended()

    run(scenario)


def test_half_frames_are_not_endured() -> None:
    """
    A frame that does not come to its end costs its session, however slowly its bytes drip; who pauses between frames,
    and who waits for a slow sink, stays.
    """

    async def scenario() -> None:
        sink = FakeSink()
        async with collector(sink, frame_timeout=0.3) as found:
            dripping, half, good = await Peer.of(found), await Peer.of(found), await Peer.of(found)
            for number, peer in enumerate((dripping, half, good)):
                await peer.send(hello(instance_id_name=str(number)))
                await peer.answer()
            await half.send(FULL.frame[:1000])
            drops = asyncio.create_task(dripping.send(*(b"%c" % byte for byte in FULL.frame[:300])))
            sink.open.clear()
            await good.send(FULL.frame)
            assert await half.ended()
            await asyncio.sleep(0.3)
            sink.open.set()
            await good.send(FULL.frame)
            await sink.until(lambda: len(sink.messages) == 2)
            assert await dripping.ended()
            await asyncio.gather(drops, return_exceptions=True)
            await good.leave()

    run(scenario)


def test_what_all_hold_together_is_bounded() -> None:
    """
    Many half frames at once cost the one that holds most, and nobody else.
    """

    async def scenario() -> None:
        sink = FakeSink()
        async with collector(sink, held=8000) as found:
            small, large = await Peer.of(found), await Peer.of(found)
            for number, peer in enumerate((small, large)):
                await peer.send(hello(instance_id_name=str(number)))
                await peer.answer()
            whole = frame(FULL.frame[29:-10].replace(b"bms-rack1-u07", b"x" * 9000))
            await large.send(whole[:5000])
            await small.send(FULL.frame[:4000])
            assert await large.ended()
            await small.send(FULL.frame[4000:])
            await sink.until(lambda: bool(sink.messages))
            await small.leave()

    run(scenario)


def test_a_thousand_connections() -> None:
    """
    Silent ones, half frames and absurd claims beside a generator, who notices nothing.
    """
    claims = (b"", FULL.frame[:40], b'<sandesh length="1073741824">', b"\x00", HELLO[:-1])

    async def scenario() -> None:
        sink = FakeSink()
        async with collector(sink, sessions=2000) as found:
            others = [await Peer.of(found) for _ in range(1000)]
            for number, peer in enumerate(others):
                with suppress(ConnectionError):
                    await peer.send(claims[number % len(claims)])
            good = await Peer.of(found)
            await good.send(HELLO, FULL.frame)
            await sink.until(lambda: bool(sink.messages))
            assert len(found.generators) == 1
            await good.leave()

    run(scenario)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.sampled_from([HELLO, *DATA]),
            st.tuples(st.sampled_from([HELLO, *DATA]), st.integers(0, 2000), st.binary(max_size=4)).map(
                lambda of: of[0][: of[1]] + of[2] + of[0][of[1] + len(of[2]) :]
            ),
            st.binary(max_size=200).map(frame),
            st.integers(1, 3000).map(lambda depth: frame(HEADER + b"<a>" * depth + b"</a>" * depth)),
        ),
        max_size=5,
    )
)
def test_any_bytes(parts: list[bytes]) -> None:
    """
    Whatever comes, the collector takes it or closes that session: nothing is raised, and the next generator is served.
    """

    async def scenario() -> None:
        sink = FakeSink()
        async with collector(sink) as found:
            bad = await Peer.of(found)
            with suppress(ConnectionError):
                await bad.send(*parts)
            await bad.leave()
            good = await Peer.of(found)
            await good.send(hello(instance_id_name="9"), FULL.frame)
            await sink.until(lambda: any(message.generator.instance == "9" for message in sink.messages))
            await good.leave()

    with capture_logs() as logs:
        run(scenario)
    assert not [line for line in logs if line["event"] == "collector.session_failed"]


def test_closing_forgets_everybody() -> None:
    """
    A collector that stops ends its sessions and says so to its sink.
    """

    async def scenario() -> None:
        sink = FakeSink()
        async with collector(sink) as found:
            peer = await Peer.of(found)
            await peer.send(HELLO)
            await peer.answer()
        assert [str(one) for one in sink.forgotten] == [G]
        assert await peer.ended()

    run(scenario)


def test_closing_does_not_wait_for_ever() -> None:
    """
    A sink that hangs cannot keep a collector from stopping.
    """

    async def scenario() -> None:
        sink = FakeSink()
        async with collector(sink, grace=0.05) as found:
            peer = await Peer.of(found)
            await peer.send(HELLO)
            await peer.answer()
            sink.open.clear()
            await peer.send(FULL.frame)
            await sink.until(lambda: sink.entered == 1)
        assert [str(one) for one in sink.forgotten] == [G]

    run(scenario)


def test_port_before_listening() -> None:
    """
    There is no port before there is a socket.
    """
    with pytest.raises(RuntimeError):
        _ = Collector(CollectorSettings(identity=SENDER), FakeSink(), Clock()).port


def test_answers_are_numbered() -> None:
    """
    Each answer of a collector has the next number.
    """

    async def scenario() -> None:
        async with collector(FakeSink()) as found:
            numbers = []
            for instance in "12":
                peer = await Peer.of(found)
                await peer.send(hello(instance_id_name=instance))
                numbers.append(decode(await peer.answer()).header.sequence)
            assert numbers == [1, 2]

    run(scenario)


def test_hello_is_the_vector() -> None:
    """
    The introductions that these tests make are the vector's, where nothing is changed.
    """
    assert hello() == HELLO
    assert header_of(SANDESH_CTRL_CLIENT_TO_SERVER, SENDER, 1, 1).context == "ctrl"
