# SPDX-License-Identifier: Apache-2.0
"""What others made in Nova on servers of ours: shown to their projects, told once, and refused every verb of ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import grpc
import pytest

from bms.lifecycle.v1 import instance_pb2
from services.kernel.errors import PeerUnavailable
from services.lifecycle.domain.guests import Guest
from services.lifecycle.domain.instance import InstanceState
from services.lifecycle.domain.nodes import NodeSeen
from services.lifecycle.guests.watching import Guests
from services.lifecycle.observing import records
from tests.lifecycle.rig import BLUE, WEB, Rig, create_request
from tests.support.wire import admin, member, remedy

NOVA = "5f3c1f0e-1111-4222-8333-444455556666"
NAME = f"projects/demo/instances/nova-{NOVA}"
MADE = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Hosts:
    """A Nova with state; it never answers about what is `stuck`, and `meanwhile` happens while it is asked next."""

    guests: dict[str, Guest] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    silent: bool = False
    stuck: str = ""
    meanwhile: Callable[[], object] | None = None

    def guest(self, holder: str, server: str) -> Guest | None:
        self.asked.append(holder)
        if self.meanwhile is not None:
            first, self.meanwhile = self.meanwhile, None
            first()
        if self.silent or holder == self.stuck:
            msg = "Nova does not answer"
            raise PeerUnavailable(msg)
        return self.guests.get(holder)


def guest_on(uuid: str, status: str) -> Guest:
    """A tenant's server in Nova, on *uuid*."""
    return Guest(NOVA, "demo", uuid, "his", status, MADE, "bm.x", "g-7", (("10.0.0.9", "52:54:00:00:00:01"),))


class Watched:
    """A lifecycle whose server another holds in Ironic, and the loop that asks Nova about it."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.uuid = rig.available()
        self.hosts = Hosts()
        self.guests = Guests(rig.database, rig.store, self.hosts, rig.clock)

    def node(self, holder: str, uuid: str = "") -> None:
        """Ironic's node as it was read."""
        self.rig.clock.advance(1)
        seen = NodeSeen(uuid or self.uuid, self.rig.clock.now(), "active" if holder else "available", holder=holder)
        self.rig.database.transact(lambda tx: records.take(tx, [seen]), label="test")

    def boot(self, status: str = "ACTIVE") -> Guest:
        """Somebody's server in Nova runs there."""
        guest = guest_on(self.uuid, status)
        self.hosts.guests[NOVA] = guest
        self.node(NOVA)
        return guest

    def tick(self) -> None:
        """A minute later everything is asked about again."""
        self.rig.clock.advance(61)
        self.guests.tick(self.rig.clock.now())

    def told(self) -> list[tuple[str, str]]:
        """What was said of guests: type and state."""
        return [
            (event.header.type, event.body.facts["state"])
            for event in self.rig.events(f"servers/{self.uuid}")
            if event.header.type.startswith("guest.")
        ]

    def listed(self) -> list[str]:
        """The names of his project's instances."""
        request = instance_pb2.ListInstancesRequest(parent="projects/demo")
        return [one.name for one in self.rig.wire.ok("ListInstances", request).instances]

    def get(self) -> instance_pb2.Instance:
        """As his project reads it."""
        found: instance_pb2.Instance = self.rig.wire.ok("GetInstance", instance_pb2.GetInstanceRequest(name=NAME))
        return found


@pytest.fixture
def watched(rig: Rig) -> Watched:
    return Watched(rig)


def test_it_is_an_instance_of_its_project(watched: Watched) -> None:
    """
    With Nova's state and addresses, on our server, and a word on where it is changed; in lists beside ours, by name.
    """
    watched.boot()
    watched.tick()
    found = watched.get()

    assert (found.state, found.server) == (instance_pb2.Instance.STATE_ACTIVE, f"servers/{watched.uuid}")
    assert [(face.address, face.mac_address) for face in found.interfaces] == [("10.0.0.9", "52:54:00:00:00:01")]
    assert found.site_note == "made in Nova as his, flavor bm.x, image g-7; it is changed there"
    watched.rig.available(2)
    watched.rig.create(BLUE)
    assert watched.listed() == [NAME, WEB]
    wanted = instance_pb2.ListInstancesRequest(parent="projects/-", filter=f"server = servers/{watched.uuid}")
    (one,) = watched.rig.wire.ok("ListInstances", wanted, caller=admin()).instances
    assert one.name == NAME


def test_others_do_not_see_it(watched: Watched) -> None:
    """
    It is its project's alone, like any instance.
    """
    watched.boot()
    watched.tick()
    other = member("other")
    refused = watched.rig.wire.call("GetInstance", instance_pb2.GetInstanceRequest(name=NAME), caller=other)
    assert refused.code in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED)


@pytest.mark.parametrize(
    ("method", "request_type"),
    [
        ("DeleteInstance", instance_pb2.DeleteInstanceRequest),
        ("StopInstance", instance_pb2.StopInstanceRequest),
        ("RebuildInstance", instance_pb2.RebuildInstanceRequest),
    ],
)
def test_verbs_are_refused_with_where_to_ask(
    watched: Watched, method: str, request_type: type[instance_pb2.DeleteInstanceRequest]
) -> None:
    """
    What Nova has is Nova's to change.
    """
    watched.boot()
    watched.tick()
    refused = watched.rig.wire.call(method, request_type(name=NAME))
    assert refused.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "made in Nova" in refused.status.message
    assert NOVA in remedy(refused.status)


def test_it_is_told_once_and_when_it_changes(watched: Watched) -> None:
    """
    However often it is read: an event when it comes, when its state changes, and when it goes.
    """
    guest = watched.boot("BUILD")
    for _ in range(3):
        watched.tick()
    assert watched.told() == [("guest.observed", "deploying")]
    watched.hosts.guests[NOVA] = replace(guest, status="SHUTOFF")
    watched.tick()
    watched.tick()
    watched.node("")
    watched.tick()
    watched.tick()
    assert watched.told() == [
        ("guest.observed", "deploying"), ("guest.observed", "stopped"), ("guest.gone", "stopped"),
    ]  # fmt: skip
    refused = watched.rig.wire.call("GetInstance", instance_pb2.GetInstanceRequest(name=NAME))
    assert refused.code is grpc.StatusCode.NOT_FOUND


def test_what_nova_does_not_know_stays_without_a_name(watched: Watched) -> None:
    """
    An allocation's hold: nothing is shown, and Nova is not asked at every tick.
    """
    watched.node("an-allocation")
    watched.tick()
    asked = len(watched.hosts.asked)
    watched.guests.tick(watched.rig.clock.now() + timedelta(seconds=5))
    assert len(watched.hosts.asked) == asked == 1
    assert watched.told() == []


def test_a_silent_nova_takes_nothing_away(watched: Watched) -> None:
    """
    What was shown is shown on as it was, until Nova answers again.
    """
    watched.boot()
    watched.tick()
    watched.hosts.silent = True
    watched.tick()
    assert watched.get().state == instance_pb2.Instance.STATE_ACTIVE
    watched.hosts.silent = False
    watched.hosts.guests.clear()
    watched.tick()
    assert watched.told() == [("guest.observed", "active"), ("guest.gone", "active")]


def test_one_that_nova_cannot_show_keeps_no_other_from_being_shown(watched: Watched) -> None:
    """
    The first in line never gets an answer; the next round begins behind it.
    """
    behind = watched.rig.available(2)
    watched.hosts.guests[NOVA] = guest_on(behind, "ACTIVE")
    watched.hosts.stuck = "first"
    watched.node("first")
    watched.node(NOVA, behind)
    watched.tick()
    assert (watched.hosts.asked, watched.listed()) == (["first"], [])
    watched.guests.tick(watched.rig.clock.now())
    assert watched.listed() == [NAME]


def test_what_was_asked_for_by_us_is_shown_once(watched: Watched) -> None:
    """
    Nova's hold of a server of ours may be seen before it is noted whose it is: the server is our instance's.
    """
    watched.rig.create(BLUE)
    watched.rig.settle()
    watched.boot()
    watched.tick()
    assert watched.hosts.asked == []
    assert watched.told() == []


def test_an_instance_of_ours_that_comes_meanwhile_is_the_only_one(watched: Watched) -> None:
    """
    While Nova is asked the server is given to an instance of ours: what Nova answers is late.
    """

    def given() -> None:
        watched.rig.create(BLUE)
        watched.rig.settle()

    watched.boot()
    watched.hosts.meanwhile = given
    watched.tick()
    assert watched.rig.server(watched.uuid).instance == WEB
    assert watched.listed() == [WEB]
    assert watched.told() == []


def test_two_replicas_tell_it_once(watched: Watched) -> None:
    """
    Both read that nothing is shown yet, and both ask; the one that writes later finds it told.
    """
    watched.boot()
    rig = watched.rig
    other = Guests(rig.database, rig.store, watched.hosts, rig.clock)
    watched.hosts.meanwhile = lambda: other.tick(rig.clock.now())
    watched.tick()
    assert len(watched.hosts.asked) == 2
    assert watched.told() == [("guest.observed", "active")]


def test_it_goes_with_its_server(watched: Watched) -> None:
    """
    A server that leaves our care takes along what was shown on it; its log has ended, and is told nothing more.
    """
    watched.boot()
    watched.tick()
    rig = watched.rig
    rig.database.transact(lambda tx: tx.execute("UPDATE servers SET closed = 1"), label="test")
    watched.tick()
    assert watched.listed() == []
    assert watched.told() == [("guest.observed", "active")]


def test_what_went_while_nobody_looked_is_gone(watched: Watched) -> None:
    """
    After a restart, with the node deleted from Ironic as well: what was shown is in the database, and is missed.
    """
    watched.boot()
    watched.tick()
    rig = watched.rig
    gone = NodeSeen(watched.uuid, rig.clock.now(), gone=True)
    rig.database.transact(lambda tx: records.take(tx, [gone]), label="test")
    watched.guests = Guests(rig.database, rig.store, watched.hosts, rig.clock)
    watched.tick()
    assert watched.told() == [("guest.observed", "active"), ("guest.gone", "active")]


def test_nodes_of_no_server_of_ours_are_nobodys_business(watched: Watched) -> None:
    """
    What Ironic has beside our inventory is not kept, and Nova is not asked about it.
    """
    watched.node(NOVA, "99999999-0000-4000-8000-000000000000")
    watched.tick()
    assert watched.hosts.asked == []


def test_lists_have_pages_of_both(watched: Watched) -> None:
    """
    One at a time, each comes once, by name.
    """
    watched.boot()
    watched.tick()
    rig = watched.rig
    rig.available(2)
    rig.create(BLUE)
    found, token = [], ""
    for _ in range(3):
        request = instance_pb2.ListInstancesRequest(parent="projects/demo", page_size=1, page_token=token)
        page = rig.wire.ok("ListInstances", request)
        found += [one.name for one in page.instances]
        token = page.next_page_token
        if not token:
            break
    assert (found, token) == ([NAME, WEB], "")


def test_no_instance_of_ours_has_such_a_name(watched: Watched) -> None:
    """
    Or one would hide the other.
    """
    refused = watched.rig.wire.call("CreateInstance", create_request(BLUE, name=f"nova-{NOVA}"))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "made in Nova" in refused.status.message


def test_another_on_the_same_server_takes_its_place(watched: Watched) -> None:
    """
    Deleted and booted anew between two looks: the first is gone, the second is there.
    """
    guest = watched.boot()
    watched.tick()
    second = NOVA.replace("5f3c", "6f3c")
    watched.hosts.guests = {second: replace(guest, holder=second)}
    watched.node(second)
    watched.tick()
    assert [type_ for type_, _ in watched.told()] == ["guest.observed", "guest.gone", "guest.observed"]
    assert watched.listed() == [NAME.replace("5f3c", "6f3c")]


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("REBUILD", "deploying"),
        ("RESCUE", "rescued"),
        ("ERROR", "error"),
        ("PAUSED", "active"),
        ("DELETED", "deleting"),
    ],
)
def test_states_are_ours(status: str, state: str) -> None:
    """
    Nova has more words than we have.
    """
    guest = Guest(NOVA, "demo", "u", "his", status, MADE)
    assert guest.shown(MADE).state is InstanceState(state)
    assert replace(guest, deleting=True).shown(MADE).state is InstanceState.DELETING
