# SPDX-License-Identifier: Apache-2.0
"""What generators may cost a collector: names, sessions, time and memory are bounded."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from telemetry.sandesh.framing import frame
from tests.telemetry.sandesh.collecting import HELLO, Peer, collector, hello, run
from tests.telemetry.sandesh.fakes import FakeSink
from tests.telemetry.sandesh.test_decode import log
from tests.telemetry.sandesh.vectors import FULL


def test_one_name_twice() -> None:
    """
    Of two sessions with one name neither stays; then the name is free again.
    """

    async def scenario() -> None:
        sink = FakeSink()
        async with collector(sink) as found:
            first, second = await Peer.of(found), await Peer.of(found)
            await first.introduce()
            await second.send(HELLO)

            assert await first.ended()
            assert await second.ended()
            await sink.until(lambda: bool(sink.forgotten))
            third = await Peer.of(found)
            assert await third.introduce()
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
            await peer.introduce()
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
            await peer.introduce()
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
            await good.introduce()
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
            await first.introduce()
            second = await Peer.of(found)
            assert await second.ended()
            await first.leave()
            await sink.until(lambda: bool(sink.forgotten))
            third = await Peer.of(found)
            assert await third.introduce()
            await third.leave()

    run(scenario)


def test_oversized_frame() -> None:
    """
    A frame over the limit is refused at its announcement.
    """

    async def scenario() -> None:
        async with collector(FakeSink(), frame_limit=2000) as found:
            peer = await Peer.of(found)
            await peer.introduce()
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
                await peer.introduce(hello(instance_id_name=str(number)))
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
                await peer.introduce(hello(instance_id_name=str(number)))
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
