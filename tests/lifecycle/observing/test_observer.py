# SPDX-License-Identifier: Apache-2.0
"""What others do to servers in their controller: told once, explained, and acted on by its policy."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from bms.lifecycle.v1 import instance_pb2, server_status_pb2
from services.kernel.effect import observed
from services.lifecycle.domain.instance import InstanceState
from services.lifecycle.domain.states import State
from services.lifecycle.domain.walk import Change
from services.verifier.verdict import Verdict
from tests.lifecycle.observing.fake_nodes import FakeNodes, Watched, watched
from tests.lifecycle.rig import BLUE, WEB, Rig
from tests.support.judging import judged, stored_events
from tests.support.wire import admin


def free(rig: Rig, number: int = 1) -> tuple[Watched, str]:
    """An available server, whose node is seen to be."""
    uuid = rig.available(number)
    site = watched(rig)
    site.nodes.lead(uuid, "available", power="off", job="clean")
    site.see()
    assert site.told(uuid) == []
    return site, uuid


def running(rig: Rig) -> tuple[Watched, str]:
    """A server in use, whose node is seen to be."""
    uuid = rig.active(BLUE)
    site = watched(rig)
    site.nodes.lead(uuid, "active", power="on", job="deploy")
    site.see()
    assert site.told(uuid) == []
    return site, uuid


def diagnosis(rig: Rig, uuid: str) -> server_status_pb2.DiagnoseServerResponse:
    request = server_status_pb2.DiagnoseServerRequest(name=f"servers/{uuid}")
    answer = rig.wire.ok("DiagnoseServer", request, caller=admin())
    assert isinstance(answer, server_status_pb2.DiagnoseServerResponse)
    return answer


def verdict(rig: Rig, uuid: str) -> Verdict:
    return judged("lifecycle", stored_events(rig.database, rig.log))[f"servers/{uuid}"].verdict


def test_maintenance_by_hand_is_told_once_and_keeps_a_free_server_from_being_offered(rig: Rig) -> None:
    """
    However often it is seen; the diagnosis names the command, and when it is over the server is offered again.
    """
    site, uuid = free(rig)
    site.nodes.lead(uuid, maintenance=True, maintenance_reason="fan password=hunter2 swap")
    for _ in range(3):
        site.see()
        site.observer.look([uuid])

    assert [reason for reason, _ in site.told(uuid)] == ["CONTROLLER_MAINTENANCE"]
    assert rig.inventory.pool[uuid].reason == "CONTROLLER_MAINTENANCE"
    assert not rig.inventory.pool[uuid].available
    found = diagnosis(rig, uuid)
    assert found.blocked_on == "CONTROLLER_MAINTENANCE"
    assert f"openstack baremetal node maintenance unset {uuid}" in found.commands
    assert "swap" in found.status.wait.reason

    site.nodes.lead(uuid, maintenance=False, maintenance_reason="")
    site.see()

    assert rig.inventory.pool[uuid].available
    assert diagnosis(rig, uuid).blocked_on == ""
    assert len(site.told(uuid)) == 2
    assert verdict(rig, uuid) is Verdict.PASS


def test_our_own_gate_refuses_what_is_withheld(rig: Rig) -> None:
    """
    Inventory may not know yet: the reservation's last gate is the server's own row.
    """
    site, uuid = free(rig)
    site.nodes.lead(uuid, maintenance=True, maintenance_reason="fans")
    rig.clock.advance(31)
    site.lister.tick(rig.clock.now())
    rig.inventory.silent = True
    rig.worker.tick(rig.clock.now())
    rig.inventory.silent = False
    rig.inventory.pool[uuid] = replace(rig.inventory.pool[uuid], available=True)
    rig.create(BLUE)
    rig.worker.tick(rig.clock.now())

    assert rig.server(uuid).state is State.AVAILABLE


def test_what_others_deploy_on_is_left_alone_and_cleaned_before_it_is_offered_again(rig: Rig) -> None:
    """
    A free server that somebody else deploys is not offered nor touched, powered on or not; given back, it is set aside.
    """
    site, uuid = free(rig)
    site.nodes.lead(uuid, "deploying", holder="11111111-0000-4000-8000-000000000000")
    site.see()
    site.nodes.lead(uuid, "active", power="on")
    rig.hardware.machine(uuid).on = True
    before = list(rig.hardware.history)
    site.see()
    rig.pass_time(2000, 20)

    server = rig.server(uuid)
    assert (server.state, server.wait and server.wait.code) == (State.AVAILABLE, "TAKEN_ELSEWHERE")
    assert rig.hardware.history == before
    assert rig.inventory.pool[uuid].reason == "TAKEN_ELSEWHERE"
    assert diagnosis(rig, uuid).commands[0] == f"openstack baremetal node undeploy {uuid}"

    rig.hardware.machine(uuid).on = False
    site.nodes.lead(uuid, "available", power="off", holder="")
    site.see()

    server = rig.server(uuid)
    assert (server.state, server.fault) == (State.QUARANTINED, "USED_ELSEWHERE")
    assert not rig.inventory.pool[uuid].available
    rig.ok("RecoverServer", server_status_pb2.RecoverServerRequest(name=f"servers/{uuid}"), admin())
    rig.settle()
    site.nodes.lead(uuid, "available", power="off", job="clean")
    site.see()
    assert rig.inventory.pool[uuid].available
    assert verdict(rig, uuid) is Verdict.PASS


def test_a_use_by_others_that_nobody_saw_is_noticed_by_its_trace(rig: Rig) -> None:
    """
    Between two listings it was deployed and given back: it came to `available` at another time.
    """
    site, uuid = free(rig)
    rig.clock.advance(5)
    site.nodes.lead(uuid, "available")
    site.see()

    assert rig.server(uuid).fault == "USED_ELSEWHERE"
    told = len(rig.types(uuid))
    rig.pass_time(100)
    assert rig.types(uuid)[told:] == []
    assert f"bms server recover {uuid}" in diagnosis(rig, uuid).commands


def test_what_was_taken_before_anybody_looked_is_not_clean_when_it_comes_back(rig: Rig) -> None:
    """
    The first look at a server that became free finds somebody else's on it; given back, it is set aside all the same.
    """
    uuid = rig.available()
    site = watched(rig)
    site.nodes.lead(uuid, "active", holder="11111111-0000-4000-8000-000000000000", job="clean")
    site.see()
    assert rig.inventory.pool[uuid].reason == "TAKEN_ELSEWHERE"
    site.nodes.lead(uuid, "available", holder="")
    site.see()

    assert (rig.server(uuid).state, rig.server(uuid).fault) == (State.QUARANTINED, "USED_ELSEWHERE")


@pytest.mark.parametrize(("moved", "fault"), [("another time", "USED_ELSEWHERE"), ("", "")])
def test_our_note_tells_what_came_and_went_before_anybody_looked(rig: Rig, moved: str, fault: str) -> None:
    """
    Ironic keeps where the node stood when we offered it; whoever used it since left it at another time.
    """
    uuid = rig.available()
    site = watched(rig)
    site.nodes.lead(uuid, "available", job="clean")
    offered = moved or site.nodes.node(uuid).moved
    site.nodes.lead(uuid, offered=offered)
    site.see()

    assert rig.server(uuid).fault == fault


def test_a_life_between_two_listings_is_ours(rig: Rig) -> None:
    """
    Deployed and given back by us before anybody listed: the node came to `available` at another time, by our doing.
    What others do after that is seen as ever.
    """
    site, uuid = free(rig)
    rig.create(BLUE)
    rig.settle()
    rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB))
    rig.clock.advance(2)
    site.nodes.lead(uuid, "available", job="clean")
    rig.settle()
    assert rig.server(uuid).state is State.AVAILABLE
    site.see()
    site.see()
    assert (site.told(uuid), rig.server(uuid).fault) == ([], "")
    assert rig.inventory.pool[uuid].available

    site.nodes.lead(uuid, "available")
    site.see()
    assert rig.server(uuid).fault == "USED_ELSEWHERE"


@pytest.mark.parametrize("state", ["deleting", "cleaning", "clean failed", "error", "available", "manageable"])
def test_undeploying_a_server_in_use_sets_it_aside(rig: Rig, state: str) -> None:
    """
    Its isolation cannot be shown any more: quarantine, the instance in error, and the way out in the diagnosis.
    """
    site, uuid = running(rig)
    site.nodes.lead(uuid, state, power="off")
    site.see()

    server, instance = rig.server(uuid), rig.instance()
    assert (server.state, server.fault, server.isolated) == (State.QUARANTINED, "UNDEPLOYED_ELSEWHERE", True)
    assert instance is not None
    assert instance.state is InstanceState.ERROR
    assert "UNDEPLOYED_ELSEWHERE" in [reason for reason, _ in site.told(uuid)]
    assert diagnosis(rig, uuid).blocked_on == "INSTANCE_FAILED"
    assert verdict(rig, uuid) is Verdict.PASS


def test_many_undeployed_at_once_are_held_by_the_brake(rig: Rig) -> None:
    """
    A controller that lost its database shows all of them free: two are set aside, the rest stay connected and shown.
    """
    uuids = []
    site = watched(rig)
    for number in range(1, 5):
        uuid = rig.available(number)
        rig.create(BLUE, name=f"web{number}")
        rig.settle()
        site.nodes.lead(uuid, "active", power="on", job="deploy")
        uuids.append(uuid)
    site.see()
    for uuid in uuids:
        site.nodes.lead(uuid, "available", power="on", job="")
    site.see()

    states = [rig.server(uuid).state for uuid in uuids]
    held = [uuid for uuid in uuids if (wait := rig.server(uuid).wait) is not None and wait.code == "BRAKE_PULLED"]
    assert states.count(State.QUARANTINED) == 2
    assert len(held) == 2
    assert diagnosis(rig, held[0]).blocked_on == "BRAKE_PULLED"


def test_a_dead_bmc_of_a_server_in_use_is_shown_and_recovers_by_itself(rig: Rig) -> None:
    """
    The tenant keeps his server; when Ironic reaches the BMC again, nothing is left of it.
    """
    site, uuid = running(rig)
    rig.hardware.machine(uuid).silent = True
    site.nodes.lead(uuid, power="unknown", maintenance=True, fault="power failure", maintenance_reason="no route")
    site.see()

    found = diagnosis(rig, uuid)
    assert (found.blocked_on, rig.server(uuid).state) == ("BMC_SILENT", State.ACTIVE)
    assert "no route" in found.status.wait.reason

    rig.hardware.machine(uuid).silent = False
    site.nodes.lead(uuid, power="on", maintenance=False, fault="", maintenance_reason="")
    site.see()

    assert diagnosis(rig, uuid).blocked_on == ""
    assert rig.server(uuid).wait is None
    assert verdict(rig, uuid) is Verdict.PASS


def test_power_changed_by_hand_is_looked_at_at_once(rig: Rig) -> None:
    """
    Patrol would come in a quarter of an hour; the change makes it look now, and both tell of it.
    """
    site, uuid = running(rig)
    rig.hardware.machine(uuid).on = False
    site.nodes.lead(uuid, power="off")
    site.see()

    assert [message for _, message in site.told(uuid)] == ["power on -> off"]
    assert diagnosis(rig, uuid).blocked_on == "POWER_LOST"


def test_what_we_did_ourselves_is_no_news(rig: Rig) -> None:
    """
    A stop, a start, a release and its clean: the node goes where our plans lead it, and nothing is told of that.
    """
    site, uuid = running(rig)
    rig.ok("StopInstance", instance_pb2.StopInstanceRequest(name=WEB))
    rig.settle()
    site.nodes.lead(uuid, power="off")
    site.see()
    rig.ok("StartInstance", instance_pb2.StartInstanceRequest(name=WEB))
    rig.settle()
    site.nodes.lead(uuid, power="on")
    site.see()
    rig.hardware.machine(uuid).slow = True
    rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB))
    rig.settle()
    for state in ("deleting", "cleaning", "clean wait", "cleaning"):
        site.nodes.lead(uuid, state, power="on", job="clean")
        site.see()
    rig.hardware.machine(uuid).slow = False
    site.nodes.lead(uuid, "available", power="off")
    rig.settle()
    site.see()

    assert rig.server(uuid).state is State.AVAILABLE
    assert site.told(uuid) == []
    assert rig.inventory.pool[uuid].available


def test_servers_at_work_are_judged_together_and_in_silence(rig: Rig) -> None:
    """
    Each step changes a server, and its node's state with it: two transactions for all of them, and no event.
    """
    site = watched(rig)
    uuids = [rig.available(number) for number in range(1, 4)]
    for uuid in uuids:
        site.nodes.lead(uuid, "available", power="off", job="clean")
    site.see()
    now = rig.clock.now()
    for uuid in uuids:
        step = Change(rig.server(uuid))
        rig.database.transact(partial(rig.store.write, change=step, now=now, due=None), label="test")
    labels: list[str] = []
    with observed(lambda label, when: labels.append(label) if when == "before" and "observe" in label else None):
        judged_ = site.observer.judge()

    assert judged_ == 3
    assert labels.count("db.observe.silent") == 1
    assert "db.observe.judge" not in labels
    assert site.observer.judge() == 0
    assert [site.told(uuid) for uuid in uuids] == [[], [], []]


def test_a_reading_from_before_our_work_ended_is_no_sign_of_anything(rig: Rig) -> None:
    """
    A page shows the node being cleaned, and is judged when our clean has passed: it is asked again before anything.
    """
    site, uuid = free(rig)
    truth = site.nodes.nodes[uuid]
    old = replace(truth, state="cleaning", read_time=rig.clock.advance(1))
    rig.clock.advance(1)
    site.observer.take([old])
    site.observer.judge()

    assert site.told(uuid) == []
    assert rig.server(uuid).trouble is None


def test_a_node_deleted_in_ironic_is_told_and_made_anew_by_recovery(rig: Rig) -> None:
    """
    A listing that lacks it is not enough: it is asked for by name. The server is not offered; its way back is named.
    """
    site, uuid = free(rig)
    del site.nodes.nodes[uuid]
    rig.clock.advance(600)
    site.see()

    assert [reason for reason, _ in site.told(uuid)] == ["NODE_GONE"]
    assert not rig.inventory.pool[uuid].available
    found = diagnosis(rig, uuid)
    assert found.blocked_on == "NODE_GONE"
    assert f"bms server quarantine {uuid} --reason REASON" in found.commands


def test_a_login_that_sees_nothing_takes_no_server_away(rig: Rig) -> None:
    """
    All nodes missing at once are no deletion: nothing is told, nothing withheld.
    """
    site = watched(rig)
    uuids = [rig.available(number) for number in range(1, 6)]
    for uuid in uuids:
        site.nodes.lead(uuid, "available", power="off")
    site.see()
    site.nodes.blind = True
    rig.clock.advance(600)
    site.see()

    assert [site.told(uuid) for uuid in uuids] == [[]] * 5
    assert all(rig.inventory.pool[uuid].available for uuid in uuids)


@pytest.mark.parametrize(
    ("marks", "code"), [({"retired": True}, "CONTROLLER_RETIRED"), ({"protected": True}, "CONTROLLER_PROTECTED")]
)
def test_marks_on_a_server_in_use_are_told_and_shown(rig: Rig, marks: dict[str, Any], code: str) -> None:
    """
    Nothing is taken from the tenant for a mark, and whoever wonders is told the command.
    """
    site, uuid = running(rig)
    site.nodes.lead(uuid, **marks)
    site.see()

    found = diagnosis(rig, uuid)
    assert (found.blocked_on, rig.server(uuid).state) == (code, State.ACTIVE)
    assert [one for one in found.commands if one.startswith(f"openstack baremetal node unset {uuid}")]


def test_nothing_is_said_of_servers_that_were_never_touched(rig: Rig) -> None:
    """
    A registered server's node is somebody's: its changes are events, and nothing stands still for them.
    """
    uuid = rig.register()
    site = watched(rig)
    site.nodes.lead(uuid, "active", power="on")
    site.see()
    site.nodes.lead(uuid, "deleting", maintenance=True)
    site.see()

    assert [(reason, "active -> deleting" in message) for reason, message in site.told(uuid)] == [("", True)]
    assert diagnosis(rig, uuid).blocked_on == "ENROLLED"


def test_nodes_that_are_no_servers_of_ours_are_neither_kept_nor_read(rig: Rig) -> None:
    """
    A controller may have thousands of others.
    """
    site, _ = free(rig)
    site.nodes.lead("99999999-0000-4000-8000-000000000000", "active")
    reads = site.nodes.reads
    site.observer.look(["99999999-0000-4000-8000-000000000000"])
    site.see()

    assert site.nodes.reads == reads
    kept = rig.database.read(lambda tx: tx.all("SELECT uuid FROM observed_nodes"))
    assert len(kept) == 1


def test_fakes_count(rig: Rig) -> None:
    """
    The fake's pages end where its nodes do.
    """
    nodes = FakeNodes(rig.clock)
    nodes.lead("a", "active")
    assert nodes.page(after="", size=10, latest=True)[1] is False
