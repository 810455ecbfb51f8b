# SPDX-License-Identifier: Apache-2.0
"""asyncio on the simulation's time, over pipes in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from tests.simulation.engine import Process, Simulation
from tests.simulation.virtual_loop import VirtualLoop


def played(story: Callable[[VirtualLoop], Coroutine[Any, Any, None]], *, kill_after: float = 0.0) -> float:
    """Runs *story* in an actor to its end, or until its process is killed; answers when that was."""
    sim = Simulation("1")
    process = Process("one", "one")
    ended: list[float] = []

    def live() -> None:
        loop = VirtualLoop(sim)
        try:
            loop.run_until_complete(story(loop))
        finally:
            loop.leave()
            ended.append(sim.seconds())

    sim.spawn("loop", live, process)
    if kill_after:
        sim.sleep(kill_after)
        sim.kill(process)
    sim.sleep(10_000)
    sim.end()
    assert sim.failures == []
    return ended[0]


def test_an_hour_passes_at_once() -> None:
    """
    Sleeping, and work on threads, take the simulation's time and none of ours.
    """
    told: list[str] = []

    async def story(_loop: VirtualLoop) -> None:
        await asyncio.sleep(3600)
        told.append(await asyncio.to_thread(lambda: "done"))

    assert 3600 <= played(story) < 3601
    assert told == ["done"]


def test_a_connection_carries_bytes_until_it_is_cut() -> None:
    """
    What is written arrives at the other end; a cut ends both; nobody answers where nobody listens.
    """
    told: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told.append(await reader.readexactly(5))
        writer.write(b"world")
        await writer.drain()
        try:
            told.append(await reader.read())
        except ConnectionResetError:
            told.append(b"cut")

    async def story(loop: VirtualLoop) -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello")
        told.append(await reader.readexactly(5))
        loop.cut()
        await asyncio.sleep(1)
        try:
            await asyncio.open_connection("127.0.0.1", port + 1)
        except ConnectionRefusedError:
            told.append(b"nobody")

    played(story)
    assert told == [b"hello", b"world", b"cut", b"nobody"]


def test_killed_it_ends_where_it_waits() -> None:
    """
    A kill ends the loop with its tasks, whatever they wait for, without a complaint.
    """
    told: list[str] = []

    async def forever(name: str) -> None:
        try:
            await asyncio.sleep(5000)
        finally:
            told.append(name)

    async def story(_loop: VirtualLoop) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(forever("a"))
            tasks.create_task(forever("b"))

    assert played(story, kill_after=60) < 61
    assert sorted(told) == ["a", "b"]
