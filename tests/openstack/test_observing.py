# SPDX-License-Identifier: Apache-2.0
"""Others act in a genuine Ironic: each thing they do is observed, explained and handled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from bms.lifecycle.v1 import server_status_pb2
from services.kernel.clock import SystemClock
from services.kernel.effect import observed
from services.lifecycle.backends.ironic_api import Deadline
from services.lifecycle.backends.ironic_listing import IronicNodes
from services.lifecycle.domain.states import State
from services.lifecycle.observing.listening import Listening
from services.lifecycle.observing.lister import Lister
from services.lifecycle.observing.observer import Observer
from services.runtime.loop import Loop
from services.verifier.verdict import Verdict
from tests.lifecycle.observing.broker import Broker, wait_until
from tests.lifecycle.rig import BLUE, Rig
from tests.openstack.shared_ironic import SharedIronic
from tests.support.judging import judged, stored_events
from tests.support.stores import MakeDatabase
from tests.support.wire import admin

pytestmark = [
    pytest.mark.openstack,
    pytest.mark.rabbitmq,
    pytest.mark.timeout(900),
    # Of the SDK's own parts.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"),
]


@pytest.fixture
def database_kind() -> str:
    """One database will do: it is Ironic that is looked at."""
    return "sqlite"


@dataclass
class Seen:
    """Lifecycle whose hardware is a fake and whose observer looks at the genuine Ironic."""

    rig: Rig
    ironic: SharedIronic
    observer: Observer
    lister: Lister

    def free(self, number: int) -> str:
        """An available server."""
        uuid = self.rig.available(number)
        self.ironic.make(uuid, "available", extra={"bms": {"job": {"kind": "clean"}}})
        return self._known(uuid)

    def running(self, number: int) -> str:
        """A server in use."""
        uuid = self.rig.available(number)
        self.rig.create(BLUE)
        self.rig.settle()
        assert self.rig.server(uuid).state is State.ACTIVE
        self.ironic.make(uuid, "active", extra={"bms": {"job": {"kind": "deploy"}}})
        return self._known(uuid)

    def _known(self, uuid: str) -> str:
        self.lister.list_anew()
        self.look()
        assert self.told(uuid) == []
        return uuid

    def look(self) -> None:
        """A listing, what it means, and whatever that leads to."""
        self.rig.clock.advance(31)
        self.lister.tick(self.rig.clock.now())
        self.act()

    def act(self) -> None:
        """Whatever was observed is judged and acted on."""
        for _ in range(2):
            self.observer.judge()
            self.rig.settle()

    def told(self, uuid: str) -> list[str]:
        """What others did, in order: the code, or what changed."""
        events = self.rig.events(f"servers/{uuid}")
        return [one.body.reason or one.body.message for one in events if one.header.type == "controller.observed"]

    def diagnosis(self, uuid: str) -> server_status_pb2.DiagnoseServerResponse:
        """What DiagnoseServer says."""
        request = server_status_pb2.DiagnoseServerRequest(name=f"servers/{uuid}")
        answer = self.rig.wire.ok("DiagnoseServer", request, caller=admin())
        assert isinstance(answer, server_status_pb2.DiagnoseServerResponse)
        return answer


@pytest.fixture
def seen(shared: SharedIronic, make_database: MakeDatabase) -> Iterator[Seen]:
    rig = Rig(make_database("services.lifecycle"))
    nodes = IronicNodes(shared.api, rig.clock)
    observer = Observer(rig.database, rig.store, nodes, rig.clock)
    yield Seen(rig, shared, observer, Lister(observer, nodes, whole=timedelta(hours=1)))
    for report in judged("lifecycle", stored_events(rig.database, rig.log)).values():
        assert report.verdict is Verdict.PASS


def test_maintenance_by_hand_comes_by_a_notification_and_ends_by_the_command_that_was_named(
    seen: Seen, broker: Broker
) -> None:
    """
    No listing is needed: the notification makes it read. The server is not offered until the maintenance is over.
    """
    uuid = seen.free(1)
    listening = Listening(broker.brokers, seen.observer, lambda: None)
    loop = Loop("notifications", listening.tick, SystemClock(), most=timedelta(seconds=5))
    loop.start()
    try:
        wait_until("it listens", lambda: listening._channel is not None)
        seen.ironic.maintain(uuid, "fan swap, password=hunter2")
        wait_until("it is told", lambda: seen.told(uuid) == ["CONTROLLER_MAINTENANCE"])
        seen.act()
        found = seen.diagnosis(uuid)
        assert found.blocked_on == "CONTROLLER_MAINTENANCE"
        assert f"openstack baremetal node maintenance unset {uuid}" in found.commands
        assert "fan swap" in found.status.wait.reason
        assert "hunter2" not in found.status.wait.reason
        assert not seen.rig.inventory.pool[uuid].available

        seen.ironic.maintain(uuid, "")
        wait_until("it is over", lambda: len(seen.told(uuid)) == 2)
        seen.act()
        assert seen.rig.inventory.pool[uuid].available
    finally:
        loop.stop()
        listening.close()


def test_power_switched_off_by_hand_is_looked_at_at_once(seen: Seen) -> None:
    """
    Ironic's row shows it, patrol reads it itself, the tenant is told.
    """
    uuid = seen.running(2)
    seen.ironic.api.power(uuid, "power on", Deadline())
    seen.ironic.stands(uuid, "power_state", "power on")
    seen.look()
    before = seen.told(uuid)
    seen.ironic.api.power(uuid, "power off", Deadline())
    seen.ironic.stands(uuid, "power_state", "power off")
    seen.rig.hardware.machine(uuid).on = False
    seen.look()

    assert seen.told(uuid)[len(before) :] == ["power on -> off"]
    assert seen.diagnosis(uuid).blocked_on == "POWER_LOST"


def test_a_server_undeployed_by_hand_is_set_aside(seen: Seen) -> None:
    """
    Whatever of the way a listing meets, deleting, cleaning or free again: quarantine, and the reason.
    """
    uuid = seen.running(3)
    seen.ironic.steer(uuid, clean="wait:2")
    seen.ironic.api.provision(uuid, "deleted", Deadline())
    wait_until("it left active", lambda: seen.ironic.node(uuid).state != "active")
    seen.look()

    server = seen.rig.server(uuid)
    assert (server.state, server.fault, server.isolated) == (State.QUARANTINED, "UNDEPLOYED_ELSEWHERE", True)
    assert "UNDEPLOYED_ELSEWHERE" in seen.told(uuid)
    assert seen.diagnosis(uuid).blocked_on == "INSTANCE_FAILED"


def test_a_clean_by_hand_that_fails_keeps_a_free_server_from_being_offered(seen: Seen) -> None:
    """
    Somebody leads it out of the pool, cleans it and that fails, for which Ironic sends no notice of maintenance; led
    back by hand it still has to pass our own clean.
    """
    uuid = seen.free(4)
    seen.ironic.lead(uuid, "manage", "manageable")
    seen.look()
    assert seen.told(uuid) == ["NODE_UNEXPECTED"]
    assert not seen.rig.inventory.pool[uuid].available
    seen.ironic.steer(uuid, clean="fail")
    seen.ironic.lead(uuid, "provide", "clean failed")
    seen.look()
    found = seen.diagnosis(uuid)
    assert found.blocked_on == "CONTROLLER_MAINTENANCE"
    assert f"openstack baremetal node maintenance unset {uuid}" in found.commands

    seen.ironic.maintain(uuid, "")
    seen.ironic.lead(uuid, "manage", "manageable")
    seen.ironic.steer(uuid)
    seen.ironic.lead(uuid, "provide", "available")
    seen.look()
    assert seen.rig.server(uuid).fault == "USED_ELSEWHERE"
    assert f"bms server recover {uuid}" in seen.diagnosis(uuid).commands


def test_a_bmc_that_dies_under_a_server_in_use_is_shown_and_comes_back_by_itself(seen: Seen) -> None:
    """
    Ironic finds out by its own looks and sets a fault without a notice; the tenant keeps his server.
    """
    uuid = seen.running(5)
    seen.ironic.steer(uuid, power="fail")
    seen.ironic.stands(uuid, "fault", "power failure")
    seen.rig.hardware.machine(uuid).silent = True
    seen.look()
    found = seen.diagnosis(uuid)
    assert (found.blocked_on, seen.rig.server(uuid).state) == ("BMC_SILENT", State.ACTIVE)

    seen.ironic.steer(uuid, power="ok")
    seen.ironic.stands(uuid, "fault", None)
    seen.rig.hardware.machine(uuid).silent = False
    seen.look()
    assert seen.diagnosis(uuid).blocked_on == ""
    assert seen.told(uuid)[0] == "BMC_SILENT"


def test_what_changed_costs_one_page_and_a_deleted_node_is_found_by_a_whole_listing(seen: Seen) -> None:
    """
    Genuine nodes sorted by their last change: a mark on one is on the first page, of two nodes, that is asked for.
    """
    uuid = seen.free(6)
    pages: list[str] = []
    with observed(lambda label, when: pages.append(label) if label.startswith("nodes.") and when == "before" else None):
        seen.look()
        assert pages == ["nodes.list"]
        pages.clear()
        seen.ironic.maintain(uuid, "looked into")
        seen.look()
        # One that withholds a server is read once more before it does.
        assert pages == ["nodes.list", "nodes.read"]
    assert seen.told(uuid) == ["CONTROLLER_MAINTENANCE"]
    # The node before, whose BMC came back, may be changed by Ironic's own look in the same second.
    first, more = IronicNodes(seen.ironic.api, seen.rig.clock).page(after="", size=2, latest=True)
    assert (uuid in [one.uuid for one in first], more) == (True, True)

    seen.ironic.delete(uuid)
    seen.lister.list_anew()
    seen.look()
    assert seen.told(uuid)[-1] == "NODE_GONE"
    assert seen.diagnosis(uuid).blocked_on == "NODE_GONE"
