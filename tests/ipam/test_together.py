# SPDX-License-Identifier: Apache-2.0
"""Several callers granted in one transaction: each has his own address, answer, event and trouble."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from bms.ipam.v1 import lease_pb2
from services.kernel.calls import Call
from services.kernel.clock import RandomIds
from services.kernel.effect import observed
from services.kernel.errors import BmsError, PeerUnavailable
from services.runtime import together as runtime
from services.runtime.together import AT_ONCE
from tests.ipam.rig import BARE_METAL, DEMO, LIFECYCLE, OTHER, Rig, asked, verify, wish
from tests.ipam.test_concurrency import served
from tests.support.stores import MakeDatabase

IDS = [f"6f1c2a52-9a2f-4b6e-8f6e-1f2d3c4b5a{number:02}" for number in range(10)]
COMMITTED = ("db.LeaseAddress.together.commit", "after")


class CrashError(Exception):
    """The process dies."""


def granted(rig: Rig, *requests: lease_pb2.LeaseAddressRequest) -> list[lease_pb2.AddressLease | None]:
    return rig.servicer.gathering.granted([asked(rig, request) for request in requests])


def addresses(leases: Sequence[lease_pb2.AddressLease | None]) -> list[str]:
    return ["" if lease is None else lease.address.rpartition(".")[2] for lease in leases]


def there(rig: Rig) -> dict[str, str]:
    """Who has a lease of which address, by the last number."""
    request = lease_pb2.ListLeasesRequest(parent="projects/demo", filter="state = LEASED", page_size=500)
    return {one.owner.resource: one.address.rpartition(".")[2] for one in rig.wire.ok("ListLeases", request).leases}


def test_each_has_his_own_address_answer_and_event(rig: Rig) -> None:
    """
    Those who are granted together get rising addresses in their order, the leases that are there then, and their events
    name them and their requests.
    """
    rig.prefix()
    found = granted(rig, *(wish(f"vm-{number}", request_id=IDS[number]) for number in range(5)))

    assert addresses(found) == ["2", "3", "4", "5", "6"]
    streams = verify(rig.events())
    assert len(streams) == 5
    for number, lease in enumerate(found):
        assert lease is not None
        assert lease == rig.wire.ok("GetLease", lease_pb2.GetLeaseRequest(name=lease.name))
        assert lease.owner.resource == f"vm-{number}"
        assert lease == rig.lease(f"vm-{number}", request_id=IDS[number])
    told = {(one.body.actor, one.body.cause.request_id, one.body.facts["owner"]) for one in _bodies(rig)}
    assert told == {(DEMO.subject, IDS[number], f"vm-{number}") for number in range(5)}
    assert len(rig.of_addresses()) == 5


def _bodies(rig: Rig) -> list[Any]:
    from bms.event.v1 import event_pb2

    return [event_pb2.Event.FromString(one.SerializeToString()) for one in rig.of_addresses()]


def test_they_cost_what_one_costs(rig: Rig) -> None:
    """
    However many are granted together, it takes as many statements.
    """
    rig.prefix("10.0.0.0/16")
    granted(rig, *(wish(f"vm-0-{number}") for number in range(40)))
    counts = []
    for many in (2, 20):
        seen: Counter[str] = Counter()

        def count(label: str, when: str, seen: Counter[str] = seen) -> None:
            seen[label] += when == "before"

        with observed(count):
            found = granted(rig, *(wish(f"vm-{many}-{number}") for number in range(many)))
            assert None not in found
        counts.append(seen["db.LeaseAddress.together.statement"])

    waiting = rig.database.dialect == "postgresql"
    assert counts == [5 + waiting] * 2


def test_who_may_not_or_need_not_is_left_out(rig: Rig) -> None:
    """
    Who has an address already, asks twice, may not have one, or waits no longer is left out; the others are granted.
    """
    rig.prefix()
    held = rig.lease("has")
    gone = asked(rig, wish("gone"))
    gone = gone._replace(call=Call(DEMO, gone.call.method, "test", gone.call.now, awaited=lambda: False))
    several = [
        asked(rig, wish("has")),
        asked(rig, wish("one")),
        asked(rig, wish("twice")),
        asked(rig, wish("twice")),
        asked(rig, wish("mine", kind=BARE_METAL)),
        asked(rig, wish("stranger", parent="projects/other"), OTHER),
        asked(rig, wish("nowhere", network="projects/demo/networks/none")),
        asked(rig, wish("six", ip_version=6)),
        gone,
        asked(rig, wish("two")),
    ]
    found = rig.servicer.gathering.granted(several)

    who = [lease.owner.resource for lease in found if lease is not None]
    assert who == ["one", "twice", "two"]
    assert there(rig).keys() == {"has", *who}
    assert rig.lease("twice") == found[2]
    assert rig.lease("has") == held
    verify(rig.events())


def test_the_last_addresses_go_to_the_first(rig: Rig) -> None:
    """
    Where there are fewer addresses than callers the first get them; who is left out is told when he asks alone.
    """
    rig.prefix("10.1.0.0/29")
    found = granted(rig, *(wish(f"vm-{number}") for number in range(8)))

    assert addresses(found) == ["2", "3", "4", "5", "6", "", "", ""]
    assert rig.refused("LeaseAddress", wish("vm-7")).code.name == "RESOURCE_EXHAUSTED"
    verify(rig.events())


def test_a_request_id_is_answered_once(rig: Rig) -> None:
    """
    Who was answered before, gives the id of another, or none that is one, is left out; the answers of the others last.
    """
    rig.prefix()
    before = rig.lease("vm-0", request_id=IDS[0])
    requests = [
        wish("vm-0", request_id=IDS[0]),
        wish("vm-1", request_id=IDS[1]),
        wish("vm-2", request_id=IDS[1]),
        wish("vm-3", request_id="no uuid"),
        wish("vm-4"),
    ]
    found = granted(rig, *requests)

    assert [lease is not None for lease in found] == [False, True, False, False, True]
    assert rig.lease("vm-0", request_id=IDS[0]) == before
    assert rig.lease("vm-1", request_id=IDS[1]) == found[1]
    assert rig.refused("LeaseAddress", requests[2]).code.name == "INVALID_ARGUMENT"
    assert there(rig).keys() == {"vm-0", "vm-1", "vm-4"}


def test_rests_end_before_an_address_is_given_again(rig: Rig) -> None:
    """
    An address whose rest has ended is freed before it is given to the next, as for one alone; one that rests is not.
    """
    rig.prefix("10.1.0.0/29", cool_down=timedelta(seconds=30))
    leases = [rig.lease(f"vm-{number}") for number in range(5)]
    rig.release(leases[0])
    rig.release(leases[1])
    rig.clock.advance(31)
    rig.release(leases[2])

    assert addresses(granted(rig, wish("a"), wish("b"), wish("c"))) == ["2", "3", ""]
    streams = verify(rig.events())
    assert [one.type for one in next(iter(streams.values()))] == [
        "address.leased", "address.cooling", "address.freed", "address.leased",
    ]  # fmt: skip


def test_networks_and_versions_are_chosen_from_apart(rig: Rig) -> None:
    """
    Callers of several networks and IP versions are granted together, each from his own; kept ones are looked for alone.
    """
    other = "projects/demo/networks/other"
    sticky = "projects/demo/networks/sticky"
    rig.prefix()
    rig.prefix("2001:db8::/64", "p6")
    rig.prefix("10.2.0.0/24", "p2", network=other)
    rig.prefix("10.3.0.0/24", "p3", network=sticky)
    rig.wire.ok("UpdatePrefix", _sticky("projects/demo/prefixes/p3"))
    found = granted(
        rig, wish("a"), wish("b", ip_version=6), wish("c", network=other), wish("d"), wish("e", network=sticky)
    )

    assert [lease.address if lease else "" for lease in found] == [
        "10.1.0.2", "2001:db8::2", "10.2.0.2", "10.1.0.3", "",
    ]  # fmt: skip
    verify(rig.events())


def _sticky(name: str) -> Any:
    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.field_mask_pb2 import FieldMask

    from bms.ipam.v1 import prefix_pb2

    prefix = prefix_pb2.Prefix(name=name, sticky_time=Duration(seconds=60))
    return prefix_pb2.UpdatePrefixRequest(prefix=prefix, update_mask=FieldMask(paths=["sticky_time"]))


def test_a_death_leaves_all_or_nothing(rig: Rig) -> None:
    """
    Whoever dies at any point of the transaction leaves nothing before its commit, and all leases after it; those who
    ask again get one address each.
    """
    rig.prefix()
    granted(rig, wish("first-0"), wish("first-1"))
    points: list[tuple[str, str]] = []
    with observed(lambda label, when: points.append((label, when))):
        granted(rig, *(wish(f"seen-{number}", request_id=IDS[number]) for number in range(3)))
    assert COMMITTED in points

    for fatal in range(len(points)):
        rig.database.transact(lambda tx: tx.execute("DELETE FROM replies"), label="forget")
        requests = [wish(f"vm-{fatal}-{number}", request_id=IDS[number]) for number in range(3)]
        met: list[tuple[str, str]] = []

        def die(label: str, when: str, met: list[tuple[str, str]] = met, fatal: int = fatal) -> None:
            met.append((label, when))
            if len(met) == fatal + 1:
                raise CrashError

        with pytest.raises(CrashError), observed(die):
            granted(rig, *requests)
        survived = [name for name in there(rig) if name.startswith(f"vm-{fatal}-")]
        assert len(survived) == (3 if COMMITTED in met else 0), met
        again = [rig.lease(request.owner.resource, request_id=request.request_id) for request in requests]
        assert len({lease.address for lease in again}) == 3
    streams = verify(rig.events())
    assert sum(len(headers) for headers in streams.values()) == len(there(rig))


@pytest.mark.postgres
class TestPostgres:
    """What only a database with many writers has."""

    @pytest.fixture(autouse=True)
    def _patient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(runtime, "_PATIENCE_SECONDS", 60.0)

    @pytest.fixture
    def database_kind(self) -> str:
        return "postgresql"

    @pytest.mark.parametrize("arrives", [True, False])
    def test_a_lost_answer_is_read_back(self, rig: Rig, monkeypatch: pytest.MonkeyPatch, arrives: bool) -> None:
        """
        A shared COMMIT whose answer is lost is looked up once for all: each is granted one address.
        """
        rig.prefix()
        rig.lease("before")
        database: Any = rig.database
        genuine, lose = database._commit, [True]

        def commit(connection: Any, xid: str, command: Any) -> None:
            if not lose:
                genuine(connection, xid, command)
                return
            lose.pop()
            connection.execute("COMMIT" if arrives else "ROLLBACK")
            connection.close()
            if not database._committed(xid):
                from services.runtime.postgres import _Again

                why = "the commit did not arrive"
                raise _Again(why)

        monkeypatch.setattr(database, "_commit", commit)
        found = granted(rig, wish("a"), wish("b"), wish("c"))

        assert (lose, addresses(found)) == ([], ["3", "4", "5"])
        assert len(rig.of_addresses()) == 4
        verify(rig.events())

    def test_an_unknown_outcome_is_found_out_by_each_alone(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        Where it cannot be told whether the shared commit arrived, each asks by himself, and gets what was granted then.
        """
        rig.prefix()
        rig.lease("before")
        writer: Any = rig.servicer._writer
        genuine, lost = writer.together, []

        def together(*arguments: Any) -> Any:
            lost.append(genuine(*arguments))
            msg = "whether the commit arrived cannot be told"
            raise PeerUnavailable(msg, peer="database")

        monkeypatch.setattr(writer, "together", together)
        answers = _gathered(rig, [partial(served, rig, "LeaseAddress", wish(f"vm-{n}")) for n in range(6)])

        assert [sorted(addresses(one)) for one in lost] == [sorted(addresses(answers))]
        assert len({one.address for one in answers}) == 6
        assert len(rig.of_addresses()) == 7 + AT_ONCE
        verify(rig.events())

    def test_nobody_waits_for_another_owner_who_is_held_up(self, rig: Rig) -> None:
        """
        While somebody else's transaction holds what one of them needs, none of them waits for it for long.
        """
        rig.prefix()
        rig.lease("before")
        stuck, go = threading.Event(), threading.Event()

        def observer(label: str, when: str) -> None:
            if label == "db.LeaseAddress.commit" and when == "before":
                stuck.set()
                assert go.wait(20)

        with ThreadPoolExecutor(1) as pool, observed(observer):
            ahead = pool.submit(served, rig, "LeaseAddress", wish("slow"))
            assert stuck.wait(20)
            with pytest.raises(PeerUnavailable):
                granted(rig, wish("a"), wish("slow"), wish("b"))
            assert None not in granted(rig, wish("a"), wish("b"))
            go.set()
            ahead.result(20)
        verify(rig.events())

    def test_each_of_many_is_told_what_is_his(self, make_database: MakeDatabase) -> None:
        """
        Among many at once one asks twice with one id, one for an address that is had, one with a stale fence, one for
        an owner who has one: each is told his own, and all others get an address each.
        """
        rig = Rig(make_database("services.ipam"), ids=RandomIds())
        rig.prefix("10.1.0.0/24")
        held = rig.lease("has", address="10.1.0.9")
        instance = "projects/demo/instances/22222222-2222-4222-8222-222222222222"
        rig.lease(instance, LIFECYCLE, kind=BARE_METAL, fence=7, interface="eth0")

        def stale() -> Any:
            request = wish(instance, kind=BARE_METAL, fence=6, interface="eth1")
            return rig.wire.call("LeaseAddress", request, caller=LIFECYCLE).code.name

        several: list[Callable[[], Any]] = [
            *(partial(served, rig, "LeaseAddress", wish(f"vm-{n}")) for n in range(8)),
            *[lambda: served(rig, "LeaseAddress", wish("same", request_id=IDS[0]))] * 2,
            *[lambda: served(rig, "LeaseAddress", wish("owner", interface="eth0"))] * 2,
            lambda: served(rig, "LeaseAddress", wish("late", address="10.1.0.9")),
            lambda: served(rig, "LeaseAddress", wish("has")),
            stale,
        ]
        *many, same, same_2, owner, owner_2, late, has, fenced = _gathered(rig, several)

        assert len({one.address for one in (*many, same, owner, has)}) == 11
        assert (same, owner, has) == (same_2, owner_2, held)
        assert (getattr(late, "reason", ""), fenced) == ("ALREADY_EXISTS", "ABORTED")
        assert len(rig.of_addresses()) == 12 + AT_ONCE
        verify(rig.events())


def _gathered(rig: Rig, several: Sequence[Callable[[], Any]]) -> list[Any]:
    """What *several* answer, or are refused with, who all wait while others are at their commit."""
    queue: Any = rig.servicer.gathering._together
    at_commit, first, go = threading.Semaphore(0), threading.Event(), threading.Event()
    turns = [False] * (AT_ONCE - 1) + [True]  # one ends before the others, so that there is one who leads

    def observer(label: str, when: str) -> None:
        if label == "db.LeaseAddress.commit" and when == "before" and turns:
            at_commit.release()
            assert (first if turns.pop() else go).wait(30)

    def told(one: Callable[[], Any]) -> Any:
        try:
            return one()
        except BmsError as error:
            return error

    with observed(observer), ThreadPoolExecutor(len(several) + AT_ONCE) as pool:
        ahead = [pool.submit(served, rig, "LeaseAddress", wish(f"ahead-{number}")) for number in range(AT_ONCE)]
        for _ in ahead:
            assert at_commit.acquire(timeout=20)
        found = [pool.submit(told, one) for one in several]
        for _ in range(2000):
            if len(queue._queue) + sum(one.done() for one in found) == len(several):
                break
            threading.Event().wait(0.01)
        first.set()
        answers = [one.result(20) for one in found]
        go.set()
        for one in ahead:
            one.result(20)
        return answers
