# SPDX-License-Identifier: Apache-2.0
"""Our collector takes what any generator sends, and what is broken ends one session alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
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
from telemetry.sandesh.framing import frame
from telemetry.sandesh.header import header_of
from telemetry.sandesh.messages import SANDESH_CTRL_CLIENT_TO_SERVER
from telemetry.sandesh.tree import fields
from tests.telemetry.sandesh.collecting import DATA, HEADER, HELLO, G, Peer, collector, hello, run
from tests.telemetry.sandesh.fakes import SENDER, Clock, FakeSink
from tests.telemetry.sandesh.test_decode import MENDED, REFUSED, log
from tests.telemetry.sandesh.test_framing import CLOSED
from tests.telemetry.sandesh.vectors import BY_NAME, FULL, rest


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
            await bad.introduce()
            await good.introduce(hello(instance_id_name="1"))
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
            await peer.introduce()
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
            await peer.introduce()
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
