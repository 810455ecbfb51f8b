# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading

import grpc
import pytest

from bms.event.v1 import event_pb2
from bms.network.v1 import attachment_pb2 as at
from bms.network.v1 import network_pb2 as net
from services.network.ports import Plug, PortFact, PortOrder
from services.network.servicer import NetworkServicer
from services.network.switching import Switching
from services.simulated.state import Vlans
from tests.network.conftest import OTHER, SERVER, Site, link, new_request, port, refusal, wish
from tests.support.wire import admin, member, reason, remedy

RED = "projects/red/networks/a"
RED_TOO = "projects/red/networks/b"
BLUE = "projects/blue/networks/a"
CLEANING = "projects/site/networks/cleaning"
PROVISIONING = "projects/site/networks/provisioning"


@pytest.fixture
def ready(site: Site) -> Site:
    """A site with private networks, two tenants, and a server of two ports seen in quarantine."""
    site.private()
    for vlan, name in enumerate((RED, RED_TOO, BLUE), start=200):
        site.network(name, vlan=vlan)
    assert site.register(link(0), link(1)).code is grpc.StatusCode.OK
    assert site.classes() == ["quarantine", "quarantine"]
    return site


def test_registered_ports_are_in_quarantine(site: Site) -> None:
    """
    New ports are asked into quarantine, whatever was configured there; they are settled once that is read back.
    """
    site.by_hand(Vlans(999))
    (first,) = site.register(link()).message.attachments
    assert (first.requested.port_class, first.settled, first.HasField("observed")) == (
        net.PORT_CLASS_QUARANTINE,
        False,
        False,
    )
    assert site.actual() == Vlans()
    site.read()
    (after,) = site.attachments()
    assert (after.settled, after.observed.port_class, len(after.observed.reading_digest)) == (
        True,
        net.PORT_CLASS_QUARANTINE,
        32,
    )
    assert site.events() == [("port.registered", 1), ("port.observed", 2)]


def test_registering_again_changes_nothing(ready: Site) -> None:
    """
    The same ports registered again keep what they are, in every class, and leave no event; a new MAC address is taken.
    """
    ready.attach(wish(0, "cleaning", CLEANING))
    ready.read()
    before = ready.attachments()
    events = ready.events()
    assert list(ready.register(link(0), link(1)).message.attachments) == before
    assert ready.events() == events
    moved = link(0)
    moved.mac_address = "02:00:00:00:00:01"
    ready.register(moved, link(1))
    assert ready.attachments()[0].link.mac_address == "02:00:00:00:00:01"
    assert ready.classes() == ["cleaning", "quarantine"]


def test_ports_as_found_are_left_alone_and_read(ready: Site) -> None:
    """
    Registered as found, a port is asked nothing: the fabric keeps what it has, readings tell it, and whatever is asked
    later is asked as ever, from what was found.
    """
    ready.by_hand(Vlans(200), 2)

    (_, _, first) = ready.register(link(0), link(1), link(2), as_found=True).message.attachments
    assert (first.HasField("requested"), first.settled) == (False, False)
    assert ready.classes() == ["quarantine", "quarantine", "tenant"]
    (_, _, found) = ready.attachments()
    assert (found.HasField("requested"), found.settled) == (False, True)
    assert [tag.network for tag in found.observed.networks] == [RED]
    assert ready.register(link(0), link(1), link(2)).code is grpc.StatusCode.OK
    assert ready.classes() == ["quarantine", "quarantine", "tenant"]

    assert ready.attach(wish(2, "tenant", BLUE), project="blue").code is grpc.StatusCode.FAILED_PRECONDITION
    both = at.PortWish(
        port=port(2),
        port_class=net.PORT_CLASS_TENANT,
        networks=[at.NetworkTag(network=RED), at.NetworkTag(network=RED_TOO, vlan_tag=300)],
    )
    assert ready.attach(both, project="red").code is grpc.StatusCode.OK
    ready.read()
    assert ready.attachments()[2].settled


def test_ports_as_found_are_forgotten_as_they_are(ready: Site) -> None:
    """
    A port that nobody asked anything of is forgotten wherever it is; once something was asked, only in quarantine.
    """
    ready.by_hand(Vlans(200), 2)
    links = (link(0), link(1), link(2))
    ready.register(*links, as_found=True)
    ready.read()
    assert ready.register(link(0), link(1)).code is grpc.StatusCode.OK
    assert len(ready.attachments()) == 2

    ready.register(*links, as_found=True)
    ready.read()
    ready.attach(wish(2, "tenant", RED), project="red")
    ready.read()
    assert ready.register(link(0), link(1)).code is grpc.StatusCode.FAILED_PRECONDITION


def test_a_wrong_link_can_be_corrected(site: Site) -> None:
    """
    A port that was asked into quarantine alone, and never told anything of, may be plugged in elsewhere; one that was
    asked to be anything else may not, nor one that was found as it was and asked once.
    """
    site.private()
    site.register(link(0, plug="no such port"))
    (moved,) = site.register(link(0)).message.attachments
    assert moved.link.switch_port == link(0).switch_port
    site.attach(wish(0, "cleaning", CLEANING))
    site.attach(wish(0, "quarantine"))
    assert site.register().code is grpc.StatusCode.FAILED_PRECONDITION

    site.register(link(2, OTHER), server=OTHER, as_found=True)
    site.attach(wish(2, "quarantine", server=OTHER), server=OTHER)
    assert site.register(server=OTHER).code is grpc.StatusCode.FAILED_PRECONDITION


def test_a_switch_port_belongs_to_one(ready: Site) -> None:
    """
    A switch port that another port is plugged into is refused, and the refusal names that port.
    """
    reply = ready.register(link(0, OTHER, plug=link(0).switch_port), server=OTHER)
    assert refusal(reply)[:2] == (grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS")
    assert port(0) in reply.status.message


def test_forgetting_needs_quarantine(ready: Site) -> None:
    """
    A port left out is forgotten only if it was seen in quarantine; the same for one that is plugged in elsewhere now.
    """
    ready.attach(wish(0, "cleaning", CLEANING))
    for links in ((), (link(1),), (link(0, plug="xe-0/0/99"), link(1))):
        reply = ready.register(*links)
        assert refusal(reply)[:2] == (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")
        assert remedy(reply.status)
    ready.attach(wish(0, "quarantine"))
    assert ready.register().code is grpc.StatusCode.FAILED_PRECONDITION
    ready.read()
    (moved,) = ready.register(link(0, plug="xe-0/0/99")).message.attachments
    assert moved.link.switch_port == "xe-0/0/99"
    ready.read()
    assert list(ready.register().message.attachments) == []
    assert ready.attachments() == []
    assert [one for one, _ in ready.events()][-3:] == ["port.registered", "port.observed", "port.forgotten"]


def test_a_life_of_a_port(ready: Site) -> None:
    """
    Asked for and seen are kept apart through every class; each change of either is one event of the server's stream.
    """
    already = len(ready.events())
    for port_class, network, project in (
        ("provisioning", PROVISIONING, ""),
        ("quarantine", "", ""),
        ("tenant", RED, "red"),
        ("quarantine", "", ""),
        ("cleaning", CLEANING, ""),
        ("quarantine", "", ""),
        ("rescue", "projects/site/networks/rescue", ""),
    ):
        networks = (network,) if network else ()
        reply = ready.attach(wish(0, port_class, *networks), project=project)
        assert reply.code is grpc.StatusCode.OK, reply
        assert not reply.message.attachments[0].settled
        assert ready.classes() == [port_class, "quarantine"]
        assert ready.attachments()[0].settled
    kinds = [kind for kind, _ in ready.events()][already:]
    assert kinds == ["port.requested", "port.observed"] * 7
    assert [sequence for _, sequence in ready.events()] == list(range(1, already + 15))


def test_tags(ready: Site) -> None:
    """
    A tenant's port carries one untagged network and others with tags; they are read back as they were asked for.
    """
    reply = ready.attach(wish(0, "tenant", RED, (RED_TOO, 7)), project="projects/red")
    assert reply.code is grpc.StatusCode.OK, reply
    assert ready.actual() == Vlans(200, frozenset({(7, 201)}))
    (first, _) = ready.read().message.readings
    assert [(tag.network, tag.vlan_tag) for tag in first.networks] == [(RED, 0), (RED_TOO, 7)]


def test_groups(site: Site) -> None:
    """
    The ports of a group are attached together, whichever is named.
    """
    site.private()
    site.register(link(0), link(1, group="bond0"), link(2, group="bond0"))
    site.read()
    site.attach(wish(2, "cleaning", CLEANING))
    assert site.classes() == ["quarantine", "cleaning", "cleaning"]


@pytest.mark.parametrize(
    ("wishes", "field"),
    [
        ([wish(0, "unknown")], "wishes[0].port_class"),
        ([wish(0, "quarantine"), wish(0, "quarantine")], "wishes[1].port"),
        ([wish(0, "quarantine", server=OTHER)], "wishes[0].port"),
        ([wish(0, "quarantine", RED)], "wishes[0].networks"),
        ([wish(1, "cleaning")], "wishes[0].networks"),
        ([wish(0, "cleaning", PROVISIONING)], "wishes"),
        ([wish(0, "tenant", CLEANING)], "wishes"),
        ([wish(0, "tenant", "net-a")], "wishes[0].networks[0].network"),
        ([wish(0, "tenant", RED, RED_TOO)], "wishes[0].networks"),
        ([wish(0, "tenant", (RED, 4095))], "wishes[0].networks"),
    ],
)
def test_malformed_wishes(ready: Site, wishes: list[at.PortWish], field: str) -> None:
    """
    Each malformed wish is refused by its field, and nothing is recorded or sent.
    """
    events = ready.events()
    reply = ready.attach(*wishes, project="red")
    assert refusal(reply) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", [field])
    assert ready.events() == events
    assert ready.actual() == Vlans()


@pytest.mark.parametrize(
    ("links", "field"),
    [
        ([link(0), link(0)], "links[1].port"),
        ([link(0, OTHER)], "links[0].port"),
        ([link(0, plug="x"), link(2, plug="x")], "links[1].switch_port"),
        ([at.PortLink(port=port(0), mac_address="0C-C4", switch_name="a", switch_port="b")], "links[0].mac_address"),
        ([link(0, group="g" * 64)], "links[0].port_group"),
        ([link(index) for index in range(65)], "links"),
    ],
)
def test_malformed_links(site: Site, links: list[at.PortLink], field: str) -> None:
    """
    Each malformed link is refused by its field.
    """
    assert refusal(site.register(*links))[2] == [field]


def test_a_tenants_network_is_the_tenants(ready: Site) -> None:
    """
    A TENANT wish names its project; a network of another project, or none at all, does not exist for it.
    """
    assert refusal(ready.attach(wish(0, "tenant", RED)))[2] == ["project"]
    for network in (BLUE, "projects/red/networks/none"):
        reply = ready.attach(wish(0, "tenant", network), project="red")
        assert refusal(reply)[:2] == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
    missing = ready.attach(wish(9, "quarantine"))
    assert refusal(missing)[:2] == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")


def test_isolation_does_not_hang_on_the_caller(ready: Site) -> None:
    """
    A port that was not seen in quarantine since it was elsewhere is not put onto a tenant's network, whoever asks.
    """
    ready.attach(wish(0, "cleaning", CLEANING))
    ready.read()
    tenant = wish(0, "tenant", RED)
    assert refusal(ready.attach(tenant, project="red"))[:2] == (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")
    ready.attach(wish(0, "quarantine"))
    assert ready.attach(tenant, project="red").code is grpc.StatusCode.FAILED_PRECONDITION
    ready.read()
    assert ready.attach(tenant, project="red").code is grpc.StatusCode.OK
    ready.read()
    assert ready.attach(wish(0, "tenant", BLUE), project="blue").code is grpc.StatusCode.FAILED_PRECONDITION
    assert ready.attach(wish(0, "tenant", RED_TOO), project="red").code is grpc.StatusCode.OK


def test_fences(ready: Site) -> None:
    """
    A lower fence than one seen before is refused by every call, reading included; fence 0 is a mere look.
    """
    ready.read(fence=5)
    for reply in (
        ready.attach(wish(0, "quarantine"), fence=4),
        ready.register(link(0), link(1), fence=4),
        ready.read(fence=4),
    ):
        assert refusal(reply)[:2] == (grpc.StatusCode.ABORTED, "STALE")
    assert ready.read(fence=0).code is grpc.StatusCode.OK
    assert ready.attach(wish(0, "quarantine"), fence=5).code is grpc.StatusCode.OK
    assert refusal(ready.attach(wish(0, "quarantine"), fence=-1))[2] == ["fence"]
    assert refusal(ready.attach(wish(0, "quarantine"), fence=0))[2] == ["fence"]


def test_a_failed_write_is_repeated(ready: Site) -> None:
    """
    When the fabric does not take a wish the caller is told so and the wish stays; the same request sends it again.
    """
    ready.fault("switch-write-fails", count=2)
    request = new_request()
    cleaning = wish(0, "cleaning", CLEANING)
    for _ in range(2):
        reply = ready.attach(cleaning, request_id=request)
        assert refusal(reply)[:2] == (grpc.StatusCode.UNAVAILABLE, "PEER_UNAVAILABLE")
    assert ready.classes() == ["quarantine", "quarantine"]
    assert ready.attachments()[0].requested.port_class == net.PORT_CLASS_CLEANING
    assert ready.attach(cleaning, request_id=request).code is grpc.StatusCode.OK
    assert ready.classes() == ["cleaning", "quarantine"]


def test_an_old_repeat_does_not_bring_the_old_wish_back(ready: Site) -> None:
    """
    A request repeated after a newer one sends what is recorded now, and not what it once asked for.
    """
    request = new_request()
    cleaning = wish(0, "cleaning", CLEANING)
    ready.attach(cleaning, request_id=request)
    ready.attach(wish(0, "quarantine"))
    assert ready.attach(cleaning, request_id=request).code is grpc.StatusCode.OK
    assert ready.classes() == ["quarantine", "quarantine"]


def test_a_trial_touches_nothing(ready: Site) -> None:
    """
    With validate_only every check is made, and neither the records nor the switch change.
    """
    before = ready.attachments()
    reply = ready.attach(wish(0, "cleaning", CLEANING), validate_only=True)
    assert reply.message.attachments[0].requested.port_class == net.PORT_CLASS_CLEANING
    assert ready.attachments() == before
    assert ready.actual() == Vlans()
    assert ready.attach(wish(0, "cleaning", RED), validate_only=True).code is grpc.StatusCode.INVALID_ARGUMENT


def test_a_lying_switch_is_found_out(ready: Site) -> None:
    """
    A switch that takes a wish and does nothing leaves the port unsettled: it counts as both.
    """
    ready.fault("switch-lies")
    ready.attach(wish(0, "cleaning", CLEANING))
    assert ready.classes() == ["quarantine", "quarantine"]
    unsettled = ready.attachments("settled = false")
    assert [one.name for one in unsettled] == [port(0)]
    assert ready.attachments(f"network = {CLEANING}") == unsettled


def test_a_lagging_switch_is_waited_for(ready: Site) -> None:
    """
    A late change is not seen before it is there.
    """
    ready.fault("switch-lags", seconds=10)
    ready.attach(wish(0, "cleaning", CLEANING))
    assert ready.classes()[0] == "quarantine"
    ready.clock.advance(10)
    assert ready.classes()[0] == "cleaning"


def test_a_silent_switch(ready: Site) -> None:
    """
    A port whose switch does not answer is UNKNOWN, without a digest, with words; its neighbour is read all the same.
    """
    ready.fault("switch-read-fails", count=1)
    silent, other = ready.read().message.readings
    assert (silent.port_class, silent.reading_digest, silent.detail) == (
        net.PORT_CLASS_UNKNOWN,
        b"",
        "leaf1 does not answer",
    )
    assert other.port_class == net.PORT_CLASS_QUARANTINE
    assert not ready.attachments()[0].settled
    assert ready.attach(wish(0, "tenant", RED), project="red").code is grpc.StatusCode.FAILED_PRECONDITION
    assert ready.classes() == ["quarantine", "quarantine"]
    assert ready.attach(wish(0, "tenant", RED), project="red").code is grpc.StatusCode.OK


def test_what_a_hand_configured_is_seen(ready: Site) -> None:
    """
    A VLAN that belongs to no network makes the port UNKNOWN and says which; a reading is never answered from a store.
    """
    ready.by_hand(Vlans(999))
    first = ready.read().message.readings[0]
    assert (first.port_class, first.detail) == (net.PORT_CLASS_UNKNOWN, "VLAN 999 belongs to no network")
    ready.by_hand(Vlans(200))
    assert ready.classes()[0] == "tenant"


def test_a_server_without_ports(site: Site) -> None:
    """
    A server that is not plugged in has no readings, for a worker as for a mere look.
    """
    assert list(site.read(fence=0).message.readings) == []
    assert list(site.read(fence=3).message.readings) == []


def test_listing_attachments(ready: Site) -> None:
    """
    Ports are listed by name in pages, filtered by server, network, switch and whether they are settled.
    """
    ready.register(link(0, OTHER), server=OTHER)
    assert [one.name for one in ready.attachments()] == [port(0), port(1), port(0, OTHER)]
    assert [one.name for one in ready.attachments(f"server = servers/{OTHER}")] == [port(0, OTHER)]
    assert [one.name for one in ready.attachments("switch_name != leaf1")] == [port(1)]
    assert [one.name for one in ready.attachments("settled = true")] == [port(0), port(1)]
    first = ready.wire.ok("ListPortAttachments", at.ListPortAttachmentsRequest(page_size=2))
    request = at.ListPortAttachmentsRequest(page_size=2, page_token=first.next_page_token)
    assert [one.name for one in ready.wire.ok("ListPortAttachments", request).attachments] == [port(0, OTHER)]
    for text in ("settled = perhaps", "server = 7", "colour = red"):
        assert refusal(ready.wire.call("ListPortAttachments", at.ListPortAttachmentsRequest(filter=text)))[2] == [
            "filter"
        ]


def test_who_may_touch_ports(ready: Site) -> None:
    """
    Attaching and registering are the services' alone; administrators may look; tenants see nothing of ports or events.
    """
    asked = at.AttachPortsRequest(server=f"servers/{SERVER}", wishes=[wish(0, "quarantine")], fence=1)
    assert ready.wire.call("AttachPorts", asked, caller=admin()).code is grpc.StatusCode.PERMISSION_DENIED
    assert ready.read(fence=0, caller=admin()).code is grpc.StatusCode.OK
    tenant = member("red")
    for method, request in (
        ("ReadServerPorts", at.ReadServerPortsRequest(server=f"servers/{SERVER}")),
        ("ListPortAttachments", at.ListPortAttachmentsRequest()),
        ("ListEvents", event_pb2.ListEventsRequest()),
    ):
        assert ready.wire.call(method, request, caller=tenant).code is grpc.StatusCode.PERMISSION_DENIED


def test_events_tell_what_was_read(ready: Site) -> None:
    """
    The event of a reading cites each port's class, networks, time and digest; that of a wish cites no reading.
    """
    ready.attach(wish(0, "tenant", RED), project="red", fence=7, request_id=new_request())
    ready.read(fence=7)
    requested, observed = ready.told(len(ready.events()))[-2:]
    (asked,) = requested.body.evidence.ports
    assert (asked.port, asked.port_class, list(asked.networks), asked.reading_digest) == (port(0), "tenant", [RED], b"")
    (seen,) = observed.body.evidence.ports
    assert (seen.port_class, list(seen.networks), len(seen.reading_digest)) == ("tenant", [RED], 32)
    assert requested.body.cause.fence == 7
    assert requested.body.project == "red"
    assert not requested.digest


class _Overtaken:
    """A fabric in which somebody else's wish is recorded while the first one is being written."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.orders: list[tuple[PortOrder, ...]] = []

    def write(self, server: str, orders: tuple[PortOrder, ...], *, request_id: str) -> None:
        self.orders.append(orders)
        if len(self.orders) == 1:
            # Another process: it has locks of its own.
            self._site.attach(wish(0, "quarantine"), fence=2)
        self._site.fabric.write(server, orders, request_id=request_id)

    def read(self, plugs: tuple[Plug, ...]) -> tuple[PortFact, ...]:
        return self._site.fabric.read(plugs)


def test_an_overtaken_worker_does_not_have_the_last_word(ready: Site) -> None:
    """
    A worker whose wish was replaced while he was writing it writes the newer one after his own.
    """
    overtaken = _Overtaken(ready)
    ready.attach(wish(0, "cleaning", CLEANING))
    switching = Switching(ready.database, ready.servicer.store, overtaken)
    switching.send(SERVER, [port(0)], request_id="")
    assert [one[0].config.untagged for one in overtaken.orders] == ["12", ""]
    assert ready.actual() == Vlans()


def test_a_slow_reading_does_not_replace_a_newer_one(ready: Site) -> None:
    """
    A reading that began before a wish settles nothing of it, even if it is recorded last.
    """
    begun, go_on = threading.Event(), threading.Event()

    class Slow:
        def write(self, server: str, orders: tuple[PortOrder, ...], *, request_id: str) -> None:
            raise NotImplementedError

        def read(self, plugs: tuple[Plug, ...]) -> tuple[PortFact, ...]:
            facts = ready.fabric.read(plugs)
            begun.set()
            assert go_on.wait(10)
            return facts

    slow: NetworkServicer = ready.servicer
    other = Switching(ready.database, slow.store, Slow())
    from services.kernel.calls import Call

    call = Call(admin(), "/x", "c", ready.clock.now())
    thread = threading.Thread(target=other.read, args=(call, SERVER, 0))
    thread.start()
    assert begun.wait(10)
    ready.attach(wish(0, "cleaning", CLEANING))
    ready.attach(wish(0, "quarantine"))
    go_on.set()
    thread.join(10)
    assert not ready.attachments()[0].settled
    ready.read()
    assert ready.attachments()[0].settled


def test_two_workers_at_once(ready: Site) -> None:
    """
    Calls for one server at once leave a stream without gaps, and the switch as the records say.
    """
    results: list[str] = []

    def work(number: int) -> None:
        for step in range(6):
            name = ("cleaning", CLEANING) if (number + step) % 2 else ("quarantine",)
            reply = ready.attach(wish(0, *name))
            results.append(reason(reply.status) if reply.code is not grpc.StatusCode.OK else "")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == [""] * 24
    sequences = [sequence for _, sequence in ready.events()]
    assert sequences == list(range(1, len(sequences) + 1))
    ready.read()
    assert ready.attachments()[0].settled
