# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import datetime

import grpc
import pytest

from bms.network.v1 import attachment_pb2 as at
from bms.network.v1 import network_pb2 as net
from services.kernel.effect import observed
from services.network.ports import Plug, PortFact
from services.simulated.state import Vlans
from tests.network.conftest import OTHER, SERVER, Site, link, refusal, wish
from tests.support.wire import Reply, admin, member, service

CLEANING = "projects/site/networks/cleaning"


def look(site: Site, *servers: str, fence: int = 1) -> Reply:
    site.clock.advance(1)
    requests = [at.ReadServerPortsRequest(server=f"servers/{server}", fence=fence) for server in servers]
    request = at.BatchReadServerPortsRequest(requests=requests)
    return site.wire.call("BatchReadServerPorts", request, caller=service())


def shown(reply: Reply) -> dict[str, list[str]]:
    assert reply.code is grpc.StatusCode.OK, reply
    return {
        one.server.removeprefix("servers/"): [net.PortClass.Name(each.port_class)[11:].lower() for each in one.readings]
        for one in reply.message.servers
    }


def seen_at(site: Site, server: str = SERVER) -> list[datetime]:
    return [
        one.observed.read_time.ToDatetime() for one in site.attachments() if one.name.startswith(f"servers/{server}/")
    ]


@pytest.fixture
def two(site: Site) -> Site:
    """Two servers of two ports each, in quarantine and read."""
    site.private()
    site.network("projects/demo/networks/blue", vlan=200)
    for server in (SERVER, OTHER):
        site.register(link(0, server), link(1, server), server=server)
        site.read(server)
    return site


def test_many_servers_are_read_at_once(two: Site) -> None:
    """
    One reading of the fabric and one transaction for all; that they were read is kept, and no event tells of it.
    """
    before, labels = two.events(), []
    with observed(lambda label, when: labels.append(label) if when == "before" else None):
        reply = look(two, SERVER, OTHER)

    assert shown(reply) == {SERVER: ["quarantine"] * 2, OTHER: ["quarantine"] * 2}
    assert labels.count("fabric.read") == 1
    assert labels.count("db.network.observe_many") == 1
    assert "db.network.observe" not in labels
    assert two.events() == before
    for server in (SERVER, OTHER):
        assert {one.timestamp() for one in seen_at(two, server)} == {two.clock.now().replace(tzinfo=None).timestamp()}


def test_what_changed_is_recorded_as_by_a_single_reading(two: Site) -> None:
    """
    A port that shows something else is told of by one event, and the other server's are not.
    """
    two.by_hand(Vlans(200))
    first = shown(look(two, SERVER, OTHER))

    assert first == {SERVER: ["tenant", "quarantine"], OTHER: ["quarantine"] * 2}
    assert [kind for kind, _ in two.events()][-1] == "port.observed"
    events = two.events()
    assert shown(look(two, SERVER)) == {SERVER: ["tenant", "quarantine"]}
    assert two.events() == events


def test_what_was_asked_since_the_last_reading_is_settled_by_a_look(two: Site) -> None:
    """
    The first reading after a wish is no repetition of the one before it, even if it shows the same.
    """
    two.attach(wish(0, "cleaning", CLEANING), fence=1)
    two.attach(wish(0, "quarantine"), fence=1)
    assert [one.settled for one in two.attachments()][:1] == [False]
    look(two, SERVER)

    assert [one.settled for one in two.attachments()] == [True] * 4


def test_a_silent_switch_is_shown_for_its_ports_alone(two: Site) -> None:
    """
    UNKNOWN with what it said; the ports at the other switch are read.
    """
    two.fault("switch-read-fails", count=1)
    reply = look(two, SERVER)

    assert shown(reply) == {SERVER: ["unknown", "quarantine"]}
    assert reply.message.servers[0].readings[0].detail


def test_who_was_overtaken_is_left_out(two: Site) -> None:
    """
    A fence lower than one seen: that server is somebody else's now, the others are answered. 0 is a mere look.
    """
    two.read(SERVER, fence=7)

    assert shown(look(two, SERVER, OTHER, fence=6)) == {OTHER: ["quarantine"] * 2}
    assert list(shown(look(two, SERVER, fence=0))) == [SERVER]


def test_who_was_overtaken_meanwhile_records_nothing(two: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The newer worker comes while the fabric is being read, and something moved: the late reading is not recorded.
    """
    genuine = two.fabric.read
    overtaking: list[bool] = []

    def read(plugs: tuple[Plug, ...]) -> tuple[PortFact, ...]:
        facts = genuine(plugs)
        if not overtaking:
            overtaking.append(True)
            two.by_hand(Vlans())
            two.read(SERVER, fence=9)
        return facts

    two.by_hand(Vlans(200))
    monkeypatch.setattr(two.fabric, "read", read)
    events = two.events()

    assert shown(look(two, SERVER, OTHER, fence=2)) == {OTHER: ["quarantine"] * 2}
    assert two.events() == events
    assert not any(one.observed.networks for one in two.attachments())


def test_a_wish_made_meanwhile_is_not_answered_by_a_look_that_began_before(
    two: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The reading shows what it showed before, and says nothing of what was asked for since.
    """
    genuine, asked = two.fabric.read, []

    def read(plugs: tuple[Plug, ...]) -> tuple[PortFact, ...]:
        facts = genuine(plugs)
        asked.append(two.attach(wish(0, "cleaning", CLEANING), fence=1))
        return facts

    monkeypatch.setattr(two.fabric, "read", read)
    before = seen_at(two)
    look(two, SERVER)

    assert seen_at(two)[0] == before[0]
    assert seen_at(two)[1] > before[1]
    assert [one.settled for one in two.attachments()][:2] == [False, True]


def test_servers_without_ports_and_unknown_ones(two: Site) -> None:
    """
    They have nothing to read, which is answered.
    """
    unknown = "00000000-0000-4000-8000-0000000000ff"

    assert shown(look(two, unknown)) == {unknown: []}
    assert shown(look(two, unknown, OTHER)) == {unknown: [], OTHER: ["quarantine"] * 2}


@pytest.mark.parametrize(
    ("servers", "fields"),
    [
        ([f"servers/{SERVER}"] * 2, ["requests[1].server"]),
        (["servers/x"], ["server"]),
        ([f"servers/{number:08d}-0000-4000-8000-000000000000" for number in range(257)], ["requests"]),
    ],
)
def test_malformed_looks(two: Site, servers: list[str], fields: list[str]) -> None:
    """
    The same server twice, what is no server, and too many are refused.
    """
    request = at.BatchReadServerPortsRequest(requests=[at.ReadServerPortsRequest(server=one) for one in servers])
    reply = two.wire.call("BatchReadServerPorts", request, caller=service())

    assert refusal(reply) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", fields)


def test_who_may_look(two: Site) -> None:
    """
    Services and administrators.
    """
    request = at.BatchReadServerPortsRequest(requests=[at.ReadServerPortsRequest(server=f"servers/{SERVER}")])

    assert two.wire.call("BatchReadServerPorts", request, caller=admin()).code is grpc.StatusCode.OK
    assert (
        two.wire.call("BatchReadServerPorts", request, caller=member("demo")).code is grpc.StatusCode.PERMISSION_DENIED
    )
