# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import pytest

from services.kernel.errors import AlreadyExists, NotFound, Stale
from services.kernel.pages import PageRequest
from services.lifecycle import listing
from services.lifecycle.claims import Claim, claim, follow, followed, give_back, next_due
from services.lifecycle.domain.instance import Instance, InstanceState
from services.lifecycle.domain.notes import note
from services.lifecycle.domain.server import Power, Server, Wait
from services.lifecycle.domain.states import State
from services.lifecycle.domain.walk import Change
from services.runtime.database import Database, Transaction
from services.runtime.filters import parse
from services.runtime.times import from_micros, to_micros
from tests.lifecycle.rig import Rig
from tests.support.clocks import START

LATER = START + timedelta(seconds=60)


def uuid(number: int) -> str:
    return f"{number:08d}-0000-4000-8000-000000000000"


def kept(rig: Rig, *servers: Server, due: datetime | None = START) -> None:
    """Puts *servers* there, to be looked at at *due*."""

    def put(tx: Transaction) -> None:
        for server in servers:
            rig.store.insert_server(tx, server, (note(server, server, "server.enrolled", START),))
            found = rig.store.find_server(tx, server.uuid)
            assert found is not None
            rig.store.write(tx, Change(found), START, due=due)

    rig.database.transact(put, label="test")


def instance(name: str = "web", project: str = "demo", **more: object) -> Instance:
    made = Instance(f"projects/{project}/instances/{name}", project, "flavors/f", "images/i", (), START, START)
    return replace(made, **more)  # type: ignore[arg-type]


def take(rig: Rig, now: datetime = START, most: int = 10, table: str = "servers") -> list[Claim]:
    return rig.database.transact(lambda tx: claim(tx, table, now, now + timedelta(seconds=60), most), label="claim")


def written(rig: Rig, server: Server, *, fence: int | None = None, due: datetime | None = START) -> Server:
    event = note(server, server, "test.written", START)
    change = Change(server, (event,))
    return rig.database.transact(
        lambda tx: rig.store.write(tx, change, START, due=due, fence=fence), label="write"
    ).server


def test_a_write_by_an_old_version_is_stale(rig: Rig) -> None:
    """
    Compare-and-set: of two who read the same row one writes, the other is told, and leaves no event.
    """
    kept(rig, Server(uuid(1), "a", START))
    before = rig.server(uuid(1))
    written(rig, before)

    with pytest.raises(Stale):
        written(rig, before)

    assert rig.types(uuid(1)) == ["server.enrolled", "test.written"]
    assert rig.server(uuid(1)).head.sequence == 2


def test_a_write_by_an_old_fence_is_stale(rig: Rig) -> None:
    """
    A worker that was overtaken is refused even if nothing else changed; verbs need no fence.
    """
    kept(rig, Server(uuid(1), "a", START))
    (first,) = take(rig)
    (second,) = take(rig, LATER + timedelta(seconds=1))
    server = rig.server(uuid(1))

    with pytest.raises(Stale):
        written(rig, server, fence=first.fence)
    assert second.fence > first.fence
    assert second.taken_over
    written(rig, written(rig, server, fence=second.fence))


def test_an_event_and_its_change_are_one(rig: Rig) -> None:
    """
    What is undone leaves neither row nor event.
    """
    kept(rig, Server(uuid(1), "a", START))
    server = rig.server(uuid(1))

    def half(tx: Transaction) -> None:
        rig.store.write(tx, Change(server, (note(server, server, "test.half", START),)), START, due=None)
        raise NotFound("elsewhere")

    with pytest.raises(NotFound):
        rig.database.transact(half, label="test")

    assert rig.types(uuid(1)) == ["server.enrolled"]
    assert rig.server(uuid(1)) == server


def test_a_server_is_added_once(rig: Rig) -> None:
    """
    Of two who hear of a new server at the same time, one adds it and the other is told to look again.
    """
    kept(rig, Server(uuid(1), "a", START))

    with pytest.raises(Stale):
        kept(rig, Server(uuid(1), "a", START))


def test_only_what_is_due_and_free_is_claimed(rig: Rig) -> None:
    """
    The longest due come first, at most as many as asked; what is held or not due is left; a claim that ran out is
    taken over with a higher fence.
    """
    kept(rig, Server(uuid(1), "a", START), due=START)
    kept(rig, Server(uuid(2), "b", START), due=START - timedelta(seconds=1))
    kept(rig, Server(uuid(3), "c", START), due=START + timedelta(seconds=30))
    kept(rig, Server(uuid(4), "d", START), due=None)

    (first,) = take(rig, most=1)
    assert (first.key, first.taken_over) == (uuid(2), False)
    assert [one.key for one in take(rig)] == [uuid(1)]
    assert take(rig) == []
    assert rig.database.read(next_due) == to_micros(START + timedelta(seconds=30))
    assert [one.key for one in take(rig, START + timedelta(seconds=30))] == [uuid(3)]
    assert rig.database.read(next_due) == to_micros(LATER)
    over = take(rig, LATER + timedelta(milliseconds=1))
    assert {(one.key, one.taken_over) for one in over} == {(uuid(1), True), (uuid(2), True)}


def test_a_claim_given_back_is_looked_at_again_when_due(rig: Rig) -> None:
    """
    Giving back frees the row for the moment named; one who was overtaken gives nothing back.
    """
    kept(rig, Server(uuid(1), "a", START))
    (mine,) = take(rig)
    (theirs,) = take(rig, LATER + timedelta(seconds=1))
    rig.database.transact(lambda tx: give_back(tx, "servers", mine, START), label="back")
    assert take(rig, LATER + timedelta(seconds=2)) == []

    soon = LATER + timedelta(seconds=5)
    rig.database.transact(lambda tx: give_back(tx, "servers", theirs, soon), label="back")
    assert take(rig, LATER + timedelta(seconds=2)) == []
    assert [one.taken_over for one in take(rig, soon)] == [False]


def test_what_is_said_to_be_due_can_be_claimed(rig: Rig) -> None:
    """
    At the very moment named there is something to claim, be it due then or its claim over: a worker that looked in vain
    would look again at once, and again.
    """
    kept(rig, Server(uuid(1), "a", START), due=START + timedelta(seconds=30))
    kept(rig, Server(uuid(2), "b", START), due=START)
    assert len(take(rig)) == 1
    for _ in range(2):
        due = rig.database.read(next_due)
        assert due is not None
        assert len(take(rig, from_micros(due))) == 1
        assert rig.database.read(next_due) != due

    later = START + timedelta(minutes=10)
    rig.database.transact(lambda tx: tx.execute("UPDATE servers SET due = ?", (to_micros(later),)), label="test")
    assert rig.database.read(next_due) == to_micros(later)


def test_two_threads_never_hold_the_same_row(rig: Rig) -> None:
    """
    Workers that claim at the same moment share the rows out: each row once, none forgotten.
    """
    count, threads = 40, 4
    kept(rig, *(Server(uuid(number), f"s{number}", START) for number in range(count)))
    together = threading.Barrier(threads)

    def work(_number: int) -> list[str]:
        together.wait(10)
        found: list[str] = []
        while taken := take(rig, most=3):
            found += [one.key for one in taken]
        return found

    with ThreadPoolExecutor(threads) as pool:
        found = [key for keys in pool.map(work, range(threads)) for key in keys]

    assert sorted(found) == [uuid(number) for number in range(count)]


def test_two_threads_write_one_stream_without_a_fork(rig: Rig) -> None:
    """
    Whoever loses the compare-and-set is told so at once; the chain has no hole and no fork.
    """
    kept(rig, Server(uuid(1), "a", START))
    together = threading.Barrier(4)

    def work(_number: int) -> int:
        together.wait(10)
        won = 0
        for _ in range(10):
            try:
                written(rig, rig.server(uuid(1)))
                won += 1
            except Stale:
                continue
        return won

    with ThreadPoolExecutor(4) as pool:
        won = sum(pool.map(work, range(4)))

    assert won >= 10
    assert [event.header.sequence for event in rig.events(f"servers/{uuid(1)}")] == list(range(1, won + 2))


def test_instances_have_one_name_and_one_version(rig: Rig) -> None:
    """
    A name is given once; writes and removals compare and set.
    """
    database, store = rig.database, rig.store
    made = database.transact(lambda tx: store.insert_instance(tx, instance(), b"sealed", START), label="test")
    with pytest.raises(AlreadyExists):
        database.transact(lambda tx: store.insert_instance(tx, instance(), None, START), label="test")
    again = database.transact(lambda tx: store.write_instance(tx, made, due=None), label="test")
    for stale in (
        lambda tx: store.write_instance(tx, made, due=None),
        lambda tx: store.write_instance(tx, again, due=None, fence=99),
        lambda tx: store.delete_instance(tx, made),
    ):
        with pytest.raises(Stale):
            database.transact(stale, label="test")
    assert database.read(lambda tx: store.user_data(tx, made.name)) == b"sealed"
    database.transact(lambda tx: store.delete_instance(tx, again), label="test")
    with pytest.raises(NotFound):
        database.read(lambda tx: store.instance(tx, made.name))
    assert database.read(lambda tx: store.user_data(tx, made.name)) == b""


def pages(database: Database, find: Callable[[Transaction, PageRequest], object]) -> list[list[object]]:
    """Every page, two rows at a time."""
    found, after = [], ""
    while True:
        at = PageRequest(2, after)
        page = database.read(lambda tx, at=at: find(tx, at))  # type: ignore[misc]
        found.append(list(page.rows))  # type: ignore[attr-defined]
        after = page.next_after  # type: ignore[attr-defined]
        if not after:
            return found


def test_servers_are_listed_page_by_page_and_by_what_they_are(rig: Rig) -> None:
    """
    Pages follow one another without gap or repetition; filters compare as people write the values.
    """
    kept(
        rig,
        Server(uuid(1), "a", START, power=Power.ON),
        Server(uuid(2), "b", START, state=State.AVAILABLE, isolated=True),
        Server(uuid(3), "c", START, state=State.ACTIVE, instance="projects/demo/instances/web", maintenance=True),
        Server(uuid(4), "d", START, wait=Wait("BMC_SILENT", "silent", START)),
        Server(uuid(5), "e", START, closed=True),
    )

    def names(text: str) -> list[str]:
        terms = parse(text, listing.SERVER_FIELDS)
        found = pages(rig.database, lambda tx, page: listing.list_servers(tx, terms, page))
        assert all(len(page) <= 2 for page in found)
        return [one.display_name for page in found for one in page]  # type: ignore[attr-defined]

    assert names("") == ["a", "b", "c", "d"]
    assert names("state = STATE_AVAILABLE") == names("state = available") == ["b"]
    assert names("state != enrolled") == ["b", "c"]
    assert names("power = POWER_ON") == ["a"]
    assert names("maintenance = true") == ["c"]
    assert names("isolated = false AND state = enrolled") == ["a", "d"]
    assert names('instance = "projects/demo/instances/web"') == ["c"]
    assert names("wait_code = BMC_SILENT") == ["d"]
    assert names("display_name = zz") == []


def test_instances_are_listed_of_one_project_or_all(rig: Rig) -> None:
    """
    A project's list holds none of another's; filters and pages work as for servers.
    """

    def put(tx: Transaction) -> None:
        for project, name in (("demo", "a"), ("demo", "b"), ("demo", "c"), ("other", "a")):
            one = instance(name, project, server=uuid(1) if name == "b" else "")
            rig.store.insert_instance(tx, one, None, START)

    rig.database.transact(put, label="test")

    def names(project: str | None, text: str = "") -> list[str]:
        terms = parse(text, listing.INSTANCE_FIELDS)
        found = pages(rig.database, lambda tx, page: listing.list_instances(tx, project, terms, page))
        return [one.name.removeprefix("projects/") for page in found for one in page]  # type: ignore[attr-defined]

    assert names("demo") == ["demo/instances/a", "demo/instances/b", "demo/instances/c"]
    assert names("other") == ["other/instances/a"]
    assert len(names(None)) == 4
    assert names("demo", f"server = servers/{uuid(1)}") == ["demo/instances/b"]
    assert names("demo", f"state = {InstanceState.PENDING.name}") == names("demo")


def test_the_fleet_is_counted(rig: Rig) -> None:
    """
    States, waits by frequency with their oldest, maintenance, and who stays longer than he may; closed ones count
    nowhere.
    """
    long_ago = START - timedelta(days=1)
    kept(
        rig,
        Server(uuid(1), "a", START, wait=Wait("BMC_SILENT", "", START)),
        Server(uuid(2), "b", START, wait=Wait("BMC_SILENT", "", long_ago)),
        Server(uuid(3), "c", long_ago, state=State.CLEANING, wait=Wait("JOB_RUNNING", "", START)),
        Server(uuid(4), "d", START, state=State.CLEANING, maintenance=True),
        Server(uuid(5), "e", long_ago, state=State.CLEANING, closed=True, maintenance=True),
    )
    read = rig.database.read

    assert read(listing.count_states) == [("cleaning", 2), ("enrolled", 2)]
    assert read(listing.count_waits) == [("BMC_SILENT", 2, to_micros(long_ago)), ("JOB_RUNNING", 1, to_micros(START))]
    assert read(listing.count_maintenance) == 1
    late, count = read(lambda tx: listing.overdue(tx, START, 10))
    assert ([one.display_name for one in late], count) == (["b", "c"], 2)


def test_how_far_a_log_was_followed_is_kept(rig: Rig) -> None:
    """
    The place starts at 0 and is what was written last.
    """
    assert rig.database.read(lambda tx: followed(tx, "inventory")) == 0
    for position in (5, 9):
        rig.database.transact(partial(follow, log="inventory", position=position), label="test")
    assert rig.database.read(lambda tx: followed(tx, "inventory")) == 9
