# SPDX-License-Identifier: Apache-2.0
"""What an attachment and its reading cost, and that nothing is promised less for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime

import grpc
import pytest

from services.kernel.effect import observed
from services.network.ports import Plug, PortFact
from tests.network.conftest import SERVER, Site, link, new_request, refusal, wish

RED = "projects/red/networks/a"
CLEANING = "projects/site/networks/cleaning"


@pytest.fixture
def ready(site: Site) -> Site:
    """A server of one port that was seen in quarantine."""
    site.private()
    site.network(RED, vlan=200)
    site.register(link(0))
    site.read()
    return site


def counted(work: Callable[[], object]) -> tuple[int, int, int]:
    """Statements, transactions and snapshots of *work*."""
    seen: Counter[str] = Counter()
    with observed(lambda label, when: seen.update([label] if when == "before" else [])):
        work()
    return (
        sum(count for label, count in seen.items() if label.endswith(".statement")),
        sum(count for label, count in seen.items() if label.endswith(".commit")),
        seen["db.read"],
    )


def read_time(site: Site) -> datetime:
    return site.attachments()[0].observed.read_time.ToDatetime()


def test_statements_are_counted(ready: Site, database_kind: str) -> None:
    """
    What is written follows in one statement on PostgreSQL; a reading that shows nothing new locks no server.
    """
    postgresql = database_kind == "postgresql"

    def there() -> None:
        ready.attach(wish(0, "tenant", RED), project="red", request_id=new_request())

    # The answer before, the claim, the ports, the network; the port, its network, event, stream and answer; the look
    # after the fabric was written.
    assert counted(there) == (6 if postgresql else 10, 1, 1)
    # The ports and the fence; the network seen, the claim, the ports; the port, event and stream.
    assert counted(ready.read) == (5 if postgresql else 7, 1, 1)
    # The ports and the fence; the network seen, and the port.
    assert counted(ready.read) == (3, 1, 1)


def test_a_reading_that_shows_nothing_new_is_recorded(ready: Site) -> None:
    """
    When it was read is kept, by a mere look too, and no event tells of it.
    """
    events, before = ready.events(), read_time(ready)

    assert ready.read(fence=1).code is grpc.StatusCode.OK
    middle = read_time(ready)
    assert ready.read(fence=0).code is grpc.StatusCode.OK

    assert before < middle < read_time(ready)
    assert ready.events() == events


def test_a_reading_that_shows_nothing_new_raises_the_fence(ready: Site) -> None:
    """
    Whoever reads with a newer claim shuts out the one before him, whatever he reads.
    """
    assert ready.read(fence=7).code is grpc.StatusCode.OK

    assert refusal(ready.read(fence=6))[:2] == (grpc.StatusCode.ABORTED, "STALE")
    assert refusal(ready.attach(wish(0, "cleaning", CLEANING), fence=6))[1] == "STALE"
    assert ready.read(fence=7).code is grpc.StatusCode.OK


def during_a_reading(site: Site, monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """The next reading of the fabric is made before *happens*, and recorded after."""
    genuine = site.fabric.read
    done: list[bool] = []

    def read(plugs: tuple[Plug, ...]) -> tuple[PortFact, ...]:
        facts = genuine(plugs)
        if not done:
            done.append(True)
            happens()
        return facts

    monkeypatch.setattr(site.fabric, "read", read)


def test_who_was_overtaken_meanwhile_is_refused(ready: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The newer claim comes while the fabric is read, and the reading shows nothing new: it is not answered.
    """
    during_a_reading(ready, monkeypatch, lambda: ready.read(fence=9))
    before = ready.attachments()

    assert refusal(ready.read(fence=1))[1] == "STALE"
    assert ready.attachments()[0].observed.read_time.ToDatetime() >= before[0].observed.read_time.ToDatetime()
    assert ready.read(fence=9).code is grpc.StatusCode.OK


def test_a_wish_made_meanwhile_is_not_settled(ready: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What shows what it showed before says nothing of what was asked for since.
    """
    during_a_reading(ready, monkeypatch, lambda: ready.attach(wish(0, "cleaning", CLEANING)))

    assert ready.read().code is grpc.StatusCode.OK
    assert not ready.attachments()[0].settled
    ready.read()
    assert ready.attachments()[0].settled


def test_a_port_that_went_meanwhile_stays_away(ready: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Its reading is answered, and brings nothing back.
    """
    during_a_reading(ready, monkeypatch, lambda: ready.register(fence=1))

    reply = ready.read()

    assert [one.port_class for one in reply.message.readings] == [1]
    assert ready.attachments() == []


def test_several_ports_are_written_at_once(site: Site, database_kind: str) -> None:
    """
    Each is what it was asked to be, on its networks; four cost PostgreSQL no statement more than one.
    """
    site.private()
    site.network(RED, vlan=200)
    links = [link(index) for index in range(4)]
    site.register(*links)
    site.read()

    wishes = [wish(index, "tenant", RED) for index in range(4)]
    taken = counted(lambda: site.attach(*wishes, project="red", request_id=new_request()))
    assert taken == (6 if database_kind == "postgresql" else 10, 1, 1)
    site.read()
    assert [one.settled for one in site.attachments(f'network = "{RED}"')] == [True] * 4

    site.attach(*[wish(index, "quarantine") for index in range(4)])
    site.read()
    assert site.attachments(f'network = "{RED}"') == []
    assert site.classes(SERVER) == ["quarantine"] * 4
