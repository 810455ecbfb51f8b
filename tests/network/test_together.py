# SPDX-License-Identifier: Apache-2.0
"""Several servers attached, or read, in one transaction: each has his own answer, event and trouble."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from bms.network.v1 import attachment_pb2 as at
from services.kernel.calls import Call
from services.kernel.effect import observed
from services.network.gathering import Recorded, Request
from services.network.operations.together import MOST_PORTS, Asked
from services.network.ports import Plug, PortFact
from services.network.switching import Readings, ToRead
from services.network.wire import attachments as attachment_wire
from services.runtime.context import current
from services.simulated.state import Vlans
from tests.network.conftest import Site, link, new_request, port, refusal, wish
from tests.support.wire import service

RED, BLUE = "projects/red/networks/a", "projects/blue/networks/a"
SERVERS = [f"00000000-0000-4000-8000-0000000000{number:02x}" for number in range(1, 13)]
METHOD = "/bms.network.v1.NetworkService/"


class CrashError(Exception):
    """The process dies."""


@pytest.fixture
def ready(site: Site) -> Site:
    """Twelve servers of one port each that were seen in quarantine."""
    site.private()
    site.network(RED, vlan=200)
    site.network(BLUE, vlan=300)
    for server in SERVERS:
        site.register(link(0, server), server=server)
        site.read(server)
    return site


def request(
    server: str, *, fence: int = 1, project: str = "red", request_id: str = "", wishes: Sequence[at.PortWish] = ()
) -> at.AttachPortsRequest:
    """Asks for the network of *project*, or quarantine if it is "", unless there are *wishes*."""
    network = {"red": RED, "blue": BLUE}.get(project)
    plain = wish(0, "tenant", network, server=server) if network else wish(0, "quarantine", server=server)
    return at.AttachPortsRequest(
        server=f"servers/{server}", wishes=wishes or [plain], fence=fence, project=project, request_id=request_id
    )


def call_of(site: Site, method: str, request_id: str = "", awaited: Callable[[], bool] = lambda: True) -> Call:
    site.clock.advance(1)
    return Call(service(), METHOD + method, "test", site.clock.now(), request_id, awaited=awaited)


def asked(site: Site, message: at.AttachPortsRequest, awaited: Callable[[], bool] = lambda: True) -> Request:
    """*message* as it waits to be served together with others."""
    call = call_of(site, "AttachPorts", message.request_id, awaited)
    wishes = attachment_wire.wishes(message)
    server = attachment_wire.server_uuid(message.server)
    return Request(message, Asked(call, server, wishes, attachment_wire.tenant(message, wishes), message.fence))


def attached(site: Site, *messages: at.AttachPortsRequest) -> list[Recorded | None]:
    return site.servicer.gathering.attached([asked(site, message) for message in messages])


def read(site: Site, *servers: str, fence: int = 1) -> list[Readings | None]:
    wanted = [ToRead(call_of(site, "ReadServerPorts"), server, fence) for server in servers]
    return site.servicer._switching.read_each(wanted)


def classes(found: Sequence[Readings | None]) -> list[list[str] | None]:
    return [None if one is None else [reading.port_class.value for _, reading in one] for one in found]


def types(site: Site, server: str) -> list[str]:
    """Those of its stream, whose sequences have no gap."""
    told = site.events(f"servers/{server}")
    assert [sequence for _, sequence in told] == list(range(1, len(told) + 1))
    return [kind for kind, _ in told]


def fence_of(site: Site, server: str) -> int:
    row = site.database.read(lambda tx: tx.one("SELECT fence FROM servers WHERE server = ?", (server,)))
    assert row is not None
    return int(row["fence"])


def test_each_has_his_own_answer_and_event(ready: Site) -> None:
    """
    Those who are served together are answered as one alone would be, now and when they repeat it; what they ask for is
    on the switch, their events tell of it, and it is read back.
    """
    messages = [request(server, fence=3, request_id=new_request()) for server in SERVERS[:3]]
    messages.append(request(SERVERS[3], project="blue"))
    found = attached(ready, *messages)

    assert [one is not None and one.sent for one in found] == [True] * 4
    for server, message, one in zip(SERVERS, messages, found, strict=False):
        assert one is not None
        assert [each.name for each in one.response.attachments] == [port(0, server)]
        assert ready.actual(0, server) == Vlans(300 if message.project == "blue" else 200)
        if message.request_id:
            assert ready.wire.call("AttachPorts", message, caller=service()).message == one.response
        assert types(ready, server) == ["port.registered", "port.observed", "port.requested"]
        assert fence_of(ready, server) == message.fence

    assert classes(read(ready, *SERVERS[:4], fence=4)) == [["tenant"]] * 4
    for server in SERVERS[:4]:
        assert types(ready, server)[3:] == ["port.observed"]
        assert fence_of(ready, server) == 4
    assert all(one.settled for one in ready.attachments())
    assert len(ready.attachments(f'network = "{RED}"')) == 3


def test_they_cost_what_one_costs(ready: Site) -> None:
    """
    However many are served together, it takes as many statements.
    """
    counts = []
    for servers in (SERVERS[:2], SERVERS[2:]):
        seen: Counter[str] = Counter()

        def count(label: str, when: str, seen: Counter[str] = seen) -> None:
            seen[label] += when == "before"

        with observed(count):
            assert None not in attached(ready, *(request(server, request_id=new_request()) for server in servers))
            assert None not in read(ready, *servers)
        ours = {label: number for label, number in seen.items() if label.startswith("db.")}
        counts.append(sum(ours.values()))
    few, many = counts
    assert many <= few + 1  # ports of few are kept in the statement of their networks


def test_who_is_refused_or_not_needed_is_left_out(ready: Site) -> None:
    """
    A stale fence, an unknown port, another project's network, a server that was never registered or comes twice, a
    request that was answered, and a caller who has gone are left out, and nothing of theirs is written; the others are
    served.
    """
    before = request(SERVERS[5], request_id=new_request())
    ready.wire.ok("AttachPorts", before, caller=service())
    ready.read(SERVERS[1], fence=9)
    nobody = "00000000-0000-4000-8000-0000000000ff"
    messages = [
        request(SERVERS[0], fence=2),
        request(SERVERS[1], fence=8),
        request(SERVERS[2], fence=7, wishes=[wish(3, "quarantine", server=SERVERS[2])]),
        request(SERVERS[3], fence=7, project="blue", wishes=[wish(0, "tenant", RED, server=SERVERS[3])]),
        request(nobody),
        before,
        request(SERVERS[0], project="blue", fence=7),
        request(SERVERS[4], fence=7),
        request(SERVERS[6], fence=2),
    ]
    several = [asked(ready, message) for message in messages]
    gone = asked(ready, messages[7], lambda: False)
    several[7] = gone
    found = ready.servicer.gathering.attached(several)

    assert [one is not None for one in found] == [True, *[False] * 7, True]
    assert [fence_of(ready, server) for server in SERVERS[:5]] == [2, 9, 1, 1, 1]
    assert {server: types(ready, server).count("port.requested") for server in SERVERS[:7]} == dict(
        zip(SERVERS, [1, 0, 0, 0, 0, 1, 1], strict=False)
    )
    assert refusal(ready.wire.call("AttachPorts", messages[1], caller=service()))[1] == "STALE"


def test_a_switch_that_takes_nothing_is_told_of_by_each_alone(ready: Site) -> None:
    """
    What could not be written is recorded, and left to its caller to send.
    """
    ready.fault("switch-write-fails", count=1)
    first, second = attached(ready, request(SERVERS[0]), request(SERVERS[1]))

    assert first is not None
    assert second is not None
    assert ((first.sent, first.sending), second.sent) == ((False, None), True)
    assert ready.actual(0, SERVERS[0]) == Vlans()
    ready.servicer._switching.send(SERVERS[0], [port(0, SERVERS[0])], request_id="")
    assert ready.actual(0, SERVERS[0]) == Vlans(200)


def test_who_was_overtaken_sends_again(ready: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A wish that another process replaced while all were written counts as not sent: its caller looks again.
    """
    genuine = ready.fabric.write
    done: list[str] = []

    def write(server: str, orders: Any, *, request_id: str) -> None:
        genuine(server, orders, request_id=request_id)
        if not done:
            done.append(server)
            ready.database.transact(
                lambda tx: tx.execute("UPDATE ports SET asked = asked + 1 WHERE server = ?", (server,)), label="other"
            )

    monkeypatch.setattr(ready.fabric, "write", write)
    found = attached(ready, request(SERVERS[0]), request(SERVERS[1]))

    assert [one and one.sent for one in found] == [False, True]


def test_readings_that_go_alone(ready: Site) -> None:
    """
    Ports that show nothing new, a stale fence, servers without ports, the second of two, and many ports are left out.
    """
    many = SERVERS[4]
    ready.register(*(link(index, many) for index in range(MOST_PORTS + 1)), server=many)
    attached(ready, *(request(server, fence=2) for server in SERVERS[:3]))
    ready.read(SERVERS[1], fence=9)
    attached(ready, request(SERVERS[1], fence=9, project=""))
    nobody = "00000000-0000-4000-8000-0000000000ff"

    found = read(ready, SERVERS[0], SERVERS[1], SERVERS[2], SERVERS[3], nobody, SERVERS[2], many, fence=2)
    assert classes(found) == [["tenant"], None, ["tenant"], None, None, None, None]
    assert read(ready, SERVERS[0], fence=2) == [None]
    assert types(ready, SERVERS[1])[-1] == "port.requested"


def test_a_plainmade_meanwhile_is_not_settled(ready: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What was read of several servers before one of them was asked something else settles nothing of that.
    """
    attached(ready, request(SERVERS[0]), request(SERVERS[1]))
    genuine = ready.fabric.read
    done: list[bool] = []

    def late(plugs: tuple[Plug, ...]) -> tuple[PortFact, ...]:
        facts = genuine(plugs)
        if not done:
            done.append(True)
            ready.attach(wish(0, "quarantine", server=SERVERS[0]), server=SERVERS[0])
        return facts

    monkeypatch.setattr(ready.fabric, "read", late)

    assert classes(read(ready, *SERVERS[:2])) == [["tenant"], ["tenant"]]
    assert [one.settled for one in ready.attachments()][:2] == [False, True]
    assert classes(read(ready, SERVERS[0])) == [["quarantine"]]
    assert ready.attachments()[0].settled


def test_a_death_leaves_all_or_nothing(ready: Site) -> None:
    """
    Whoever dies at any point leaves the wishes, or the readings, of all or of none; those who ask again by themselves
    find the same, once.
    """
    three = SERVERS[:3]
    points: list[tuple[str, str]] = []

    def both(*messages: at.AttachPortsRequest) -> None:
        attached(ready, *messages)
        read(ready, *three)

    with observed(lambda label, when: points.append((label, when))):
        both(*(request(server, request_id=new_request()) for server in three))
    assert {"db.AttachPorts.together.commit", "fabric.write", "fabric.read", "db.network.observe.together.commit"} <= {
        label for label, _ in points
    }

    for fatal in range(len(points)):
        for server in three:
            ready.wire.ok("AttachPorts", request(server, project=""), caller=service())
            assert ready.classes(server) == ["quarantine"]
        messages = [request(one, request_id=new_request()) for one in three]
        lengths = [len(types(ready, server)) for server in three]
        met: list[tuple[str, str]] = []

        def die(label: str, when: str, met: list[tuple[str, str]] = met, fatal: int = fatal) -> None:
            met.append((label, when))
            if len(met) == fatal + 1:
                raise CrashError

        with pytest.raises(CrashError), observed(die):
            both(*messages)
        survived = [len(types(ready, server)) - length for server, length in zip(three, lengths, strict=True)]
        commits = sum(when == "after" and label.endswith(".together.commit") for label, when in met)
        assert survived == [commits] * 3, met
        for server, message in zip(three, messages, strict=True):
            assert ready.wire.call("AttachPorts", message, caller=service()).code is grpc.StatusCode.OK
            assert ready.classes(server) == ["tenant"]
            assert ready.actual(0, server) == Vlans(200)
        grown = [len(types(ready, server)) - length for server, length in zip(three, lengths, strict=True)]
        assert grown == [2] * 3


@pytest.mark.postgres
class TestPostgres:
    """What only a database with many writers has."""

    @pytest.fixture
    def database_kind(self) -> str:
        return "postgresql"

    def test_many_at_once(self, ready: Site) -> None:
        """
        Callers who attach and read their servers at once see what they asked for, each time; many share transactions,
        and streams have neither gap nor fork.
        """
        seen: Counter[str] = Counter()
        start = threading.Barrier(len(SERVERS))

        def ask(method: str, message: Any) -> Any:
            token = current.set(
                Call(
                    service(),
                    METHOD + method,
                    "test",
                    ready.clock.now(),
                    message.request_id if method == "AttachPorts" else "",
                )
            )
            try:
                return getattr(ready.servicer, method)(message, None)
            finally:
                current.reset(token)

        def work(server: str) -> None:
            start.wait()
            for turn in range(6):
                message = request(server, project="" if turn % 2 else "red", request_id=new_request())
                answer = ask("AttachPorts", message)
                assert answer.attachments[0].name == port(0, server)
                reading = ask("ReadServerPorts", at.ReadServerPortsRequest(server=f"servers/{server}", fence=1))
                assert reading.readings[0].port_class == message.wishes[0].port_class

        with ThreadPoolExecutor(len(SERVERS)) as pool, observed(lambda label, when: seen.update([label])):
            for one in [pool.submit(work, server) for server in SERVERS]:
                one.result(60)

        assert seen["db.AttachPorts.together.commit"] > 0
        assert seen["db.network.observe.together.commit"] > 0
        for server in SERVERS:
            assert types(ready, server)[2:] == ["port.requested", "port.observed"] * 6
        assert all(one.settled for one in ready.attachments())
