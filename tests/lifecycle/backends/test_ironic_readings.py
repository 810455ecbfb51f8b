# SPDX-License-Identifier: Apache-2.0
"""Shared readings: as fresh as one's own, and fewer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from services.lifecycle.backends import ironic_readings
from services.lifecycle.backends.ironic_api import Deadline, IronicApi
from services.lifecycle.backends.ironic_readings import Readings
from tests.lifecycle.backends.fake_ironic import serving

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")

_PATIENCE = 20.0


class World:
    """Rows that change, and who asked how for them.

    Attributes:
        rows: what is true now.
        listed, single: the sizes of pages and the keys that were asked for.
        hidden: what a page leaves out.
        fails: whether listings fail.
    """

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.listed: list[int] = []
        self.single: list[str] = []
        self.hidden: set[str] = set()
        self.fails = False
        self.gate = threading.Event()
        self.held = threading.Event()

    def latest(self, most: int) -> Mapping[str, int]:
        self.listed.append(most)
        if self.fails:
            msg = "away"
            raise OSError(msg)
        return {key: row for key, row in self.rows.items() if key not in self.hidden}

    def alone(self, key: str) -> Callable[[], int]:
        def read() -> int:
            self.single.append(key)
            return self.rows[key]

        return read

    def hold(self) -> int:
        """A request that is under way until the gate opens."""
        self.held.set()
        assert self.gate.wait(_PATIENCE)
        return 0


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(ironic_readings, "_PATIENCE", _PATIENCE)
    return World()


def together(world: World, readings: Readings[int], keys: str) -> dict[str, int]:
    """What *keys* are answered that are asked for while a request is under way."""
    with ThreadPoolExecutor(len(keys) + 1) as threads:
        world.held.clear()
        world.gate.clear()
        first = threads.submit(readings.read, "first", world.hold)
        assert world.held.wait(_PATIENCE)
        asked: dict[str, Future[int]] = {key: threads.submit(readings.read, key, world.alone(key)) for key in keys}
        until = time.monotonic() + _PATIENCE
        while readings.waiting < len(keys):
            assert time.monotonic() < until
            time.sleep(0.001)
        world.gate.set()
        assert first.result(_PATIENCE) == 0
        return {key: one.result(_PATIENCE) for key, one in asked.items()}


def test_those_who_come_while_one_asks_are_answered_by_one_listing(world: World) -> None:
    """
    It began after they asked; nobody asks for himself.
    """
    world.rows = dict.fromkeys("abcdefgh", 1)

    assert together(world, Readings(world.latest), "abcdefgh") == world.rows
    assert (world.listed, world.single) == ([16], [])


def test_two_are_not_worth_a_listing(world: World) -> None:
    """
    Each asks for himself; so does one alone.
    """
    world.rows = {"a": 1, "b": 2}
    readings = Readings(world.latest)

    assert together(world, readings, "ab") == world.rows
    assert readings.read("a", world.alone("a")) == 1
    assert (world.listed, sorted(world.single)) == ([], ["a", "a", "b"])


def test_what_a_page_has_not_is_asked_for_alone(world: World) -> None:
    """
    Also where the listing fails: what went wrong is for him to meet who asks for himself.
    """
    world.rows, world.hidden = dict.fromkeys("abcd", 1), {"b"}
    readings = Readings(world.latest)
    assert together(world, readings, "abcd") == world.rows
    assert world.single == ["b"]

    world.fails = True
    assert together(world, readings, "abcd") == world.rows
    assert sorted(world.single) == ["a", "b", "b", "c", "d"]


def test_listings_that_do_not_help_are_left_off_for_a_while(world: World) -> None:
    """
    Where others' nodes change faster than ours, a page has none of ours: then it is a cost, and tried again later.
    """
    world.rows, world.hidden = dict.fromkeys("abcd", 1), set("abcd")
    readings = Readings(world.latest)
    for _ in range(3):
        together(world, readings, "abcd")
    assert len(world.listed) == 1

    world.hidden = set()
    for _ in range(20):
        together(world, readings, "abcd")
    assert len(world.listed) > 2


def test_one_who_fails_or_dies_leaves_nobody_waiting(world: World) -> None:
    """
    Whatever ends the one that leads, the others are answered, and so are those after them.
    """
    world.rows = {"a": 1}
    readings = Readings(world.latest)
    for end in (OSError, KeyboardInterrupt):

        def dying(end: type[BaseException] = end) -> int:
            raise end

        with pytest.raises(end):
            readings.read("x", dying)
        assert readings.read("a", world.alone("a")) == 1


def test_what_is_answered_is_never_older_than_the_question() -> None:
    """
    Many write and read what they wrote, while listings take what stands when they begin and answer it later.
    """
    rows = dict.fromkeys("abcdefgh", 0)
    pages = []

    def latest(most: int) -> Mapping[str, int]:
        page = dict(rows)
        pages.append(most)
        time.sleep(0.002)
        return page

    readings = Readings(latest)

    def play(key: str) -> None:
        def alone() -> int:
            row = rows[key]
            time.sleep(0.001)
            return row

        for wrote in range(1, 60):
            rows[key] = wrote
            assert readings.read(key, alone) == wrote

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(play, rows))
    assert len(pages) > 5


def test_a_node_is_the_same_alone_and_in_a_listing() -> None:
    """
    Its digest covers what was read of it, and nothing of its neighbours.
    """
    import openstack  # noqa: F401 -- it takes seconds, which are none of a request's here

    with serving() as fake:
        fake.add("n1", "available")
        fake.add("n2", "active")
        api = IronicApi(endpoint=fake.url)
        listed, alone = api.latest(8), {uuid: api.node(uuid, Deadline()) for uuid in ("n1", "n2")}
        fake.nodes["n2"]["power_state"] = "power on"
        later = api.latest(8)

    assert listed == alone
    assert later["n1"].digest == listed["n1"].digest
    assert later["n2"].digest != listed["n2"].digest
