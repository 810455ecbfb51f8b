# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from bms.lifecycle.v1 import instance_pb2, server_status_pb2
from services.kernel.effect import observed
from services.kernel.errors import PeerUnavailable, Stale
from services.lifecycle.claims import claim
from services.lifecycle.domain.instance import InstanceState
from services.lifecycle.domain.server import PortClass, Report
from services.lifecycle.domain.states import State
from services.runtime.loop import Loop, Pool
from tests.lifecycle.rig import BLUE, WEB, Crash, Rig
from tests.lifecycle.test_crashes import At, kill, quarantine
from tests.support.clocks import FakeClock
from tests.support.wire import admin


def acts(rig: Rig, body: Callable[[], object]) -> list[str]:
    """The calls to the world that *body* makes, in order."""
    found: list[str] = []
    with observed(lambda label, when: found.append(label) if when == "before" and not label.startswith("db") else None):
        body()
    return found


def test_a_takeover_looks_before_it_acts(rig: Rig) -> None:
    """
    The worker before may have done anything: power and ports are read and recorded before the first act.
    """
    uuid = rig.available()
    rig.create(BLUE)
    started = len(rig.types(uuid))

    def at_deploy(label: str, when: str) -> None:
        if (label, when) == ("bmc.start_deploy", "after"):
            raise Crash(label)

    assert rig.killed_at(at_deploy)
    before = len(rig.types(uuid))
    done = acts(rig, rig.settle)
    after = [event.header for event in rig.events(f"servers/{uuid}")]

    assert done[:2] == ["bmc.read_power", "network.read"]
    assert after[before].type == "server.taken_over"
    assert before > started
    assert rig.server(uuid).state is State.ACTIVE
    assert [act for _, act in rig.hardware.history].count("deploy") == 1


def test_a_claim_given_back_in_good_order_needs_no_look(rig: Rig) -> None:
    """
    Only a claim that ran out is a takeover.
    """
    uuid = rig.active(BLUE)

    assert "server.taken_over" not in rig.types(uuid)


def test_an_overtaken_worker_writes_nothing_and_lets_go(rig: Rig) -> None:
    """
    Claimed by another while it was inside a call: its late write is refused, and the other's claim stays.
    """
    uuid = rig.available()
    rig.create(BLUE)
    stolen: list[int] = []

    def steal(label: str, when: str) -> None:
        if (label, when) == ("bmc.start_deploy", "after") and not stolen:
            late = rig.clock.now() + timedelta(seconds=61)
            (theirs,) = rig.database.transact(
                lambda tx: claim(tx, "servers", late, late + timedelta(seconds=60), 1), label="steal"
            )
            stolen.append(theirs.fence)

    events = 0
    with observed(steal):
        while not stolen:
            events = len(rig.types(uuid))
            rig.worker.tick(rig.clock.now())
            rig.clock.advance(0.1)
    held = rig.database.read(lambda tx: tx.one("SELECT fence, claim_until FROM servers"))

    assert held is not None
    assert held["fence"] == stolen[0]
    assert held["claim_until"] is not None
    assert all(event.body.cause.fence != stolen[0] for event in rig.events(f"servers/{uuid}")[events:])
    rig.clock.advance(130)
    rig.settle()
    assert rig.server(uuid).state is State.ACTIVE


@pytest.mark.parametrize("again", [False, True], ids=["gone", "another's"])
def test_a_worker_that_slept_until_the_instance_was_gone_lets_go(rig: Rig, *, again: bool) -> None:
    """
    Stopped after it had read the server: by the time it reads the instance others have ended that, and one of the same
    name may have another server.
    """
    uuid = rig.available()
    rig.hardware.machine(uuid).slow = True
    rig.create(BLUE)
    rig.pass_time(60)
    rig.hardware.machine(uuid).slow = False
    rig.clock.advance(600)
    now = rig.clock.now()
    (mine,) = rig.database.transact(lambda tx: claim(tx, "servers", now, now + timedelta(seconds=60), 1), label="claim")
    reads: list[str] = []

    def sleep(label: str, when: str) -> None:
        if (label, when) != ("db.read", "after"):
            return
        reads.append(label)
        if len(reads) == 1:
            rig.clock.advance(61)
            rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB))
            rig.settle()
            assert rig.instance() is None
            if again:
                quarantine(rig, uuid)
                other = rig.available(2)
                rig.create(BLUE)
                rig.settle()
                assert rig.server(other).instance == WEB

    with observed(sleep), pytest.raises(Stale):
        rig.worker._walker.walk(mine)
    assert rig.server(uuid).instance == ""


def test_a_peer_that_has_seen_a_newer_fence_stops_an_old_worker(rig: Rig) -> None:
    """
    Whom a receiver refuses for its fence has been overtaken: it lets go, and nothing fails for it.
    """
    uuid = rig.available()
    rig.networks.fences[uuid] = 2**62
    rig.create(BLUE)
    rig.settle(rounds=20)
    server = rig.server(uuid)

    assert server.state is State.PROVISIONING
    assert server.fault == ""
    rig.networks.fences[uuid] = 0
    rig.settle()
    assert rig.server(uuid).state is State.ACTIVE


def test_a_defect_in_one_walk_stops_no_other(rig: Rig, defect: Exception) -> None:
    """
    What nobody thought of ends its walk alone: others go on, and the server is taken up again when its claim ran out.
    """
    first, second = rig.register(1), rig.register(2)
    verify = rig.hardware.verify

    def broken(target: object) -> None:
        if target.server == first:  # type: ignore[attr-defined]
            raise defect
        verify(target)  # type: ignore[arg-type]

    rig.hardware.verify = broken  # type: ignore[method-assign]
    for uuid in (first, second):
        rig.ok("ProvideServer", server_status_pb2.ProvideServerRequest(name=f"servers/{uuid}"), admin())
    rig.settle(rounds=60)
    assert rig.server(second).state is State.AVAILABLE
    assert rig.server(first).state is State.VERIFYING
    rig.hardware.verify = verify  # type: ignore[method-assign]
    rig.clock.advance(61)
    rig.settle()
    assert rig.server(first).state is State.AVAILABLE


def test_no_more_walks_than_slots(rig: Rig) -> None:
    """
    A tick claims only what can be walked at once; the rest is left to others.
    """
    waiting: list[Callable[[], None]] = []
    rig.worker._run = waiting.append
    for number in range(1, 7):
        uuid = rig.register(number)
        rig.ok("ProvideServer", server_status_pb2.ProvideServerRequest(name=f"servers/{uuid}"), admin())

    rig.worker.tick(rig.clock.now())
    assert len(waiting) == 4
    assert rig.worker.tick(rig.clock.now()) is None
    waiting.pop()()
    rig.worker.tick(rig.clock.now())
    assert len(waiting) == 4


def test_a_wait_is_looked_at_ever_more_seldom_and_told_once(rig: Rig) -> None:
    """
    The delay grows with the wait's age up to five seconds; one event tells that somebody must act.
    """
    uuid = rig.register()
    rig.hardware.machine(uuid).silent = True
    rig.ok("ProvideServer", server_status_pb2.ProvideServerRequest(name=f"servers/{uuid}"), admin())
    delays = []
    for _ in range(40):
        rig.worker.tick(rig.clock.now())
        wait = rig.server(uuid).wait
        assert wait is not None
        assert wait.next_try is not None
        delays.append((wait.next_try - rig.clock.now()).total_seconds())
        rig.clock.advance(delays[-1])

    assert delays == sorted(delays)
    assert (delays[0], delays[-1]) == (0.05, 5.0)
    assert rig.types(uuid).count("server.waiting") == 1


def test_what_lasts_for_hours_is_looked_at_within_a_hundredth_of_its_age(rig: Rig) -> None:
    """
    A switch that is silent for half a day: five seconds at first, a minute at last, never later than one per cent.
    """
    uuid = rig.available()
    rig.networks.silent = True
    request = server_status_pb2.QuarantineServerRequest(name=f"servers/{uuid}", reason="smoke")
    rig.ok("QuarantineServer", request, admin())
    began, delays = rig.clock.now(), []
    while (age := (rig.clock.now() - began).total_seconds()) < 6 * 3600:
        rig.worker.tick(rig.clock.now())
        wait = rig.server(uuid).wait
        assert wait is not None
        assert wait.next_try is not None
        delays.append((wait.next_try - rig.clock.now()).total_seconds())
        assert delays[-1] <= max(5.0, age / 100 + 0.001)
        rig.clock.advance(delays[-1])

    assert delays == sorted(delays)
    assert delays[-1] == 60.0


# -- placement


def test_a_server_our_own_gate_refuses_is_given_back_and_asked_for_again(rig: Rig) -> None:
    """
    Inventory offers a server that is in maintenance by now: the reservation goes back, and another server is taken.
    """
    first, second = rig.available(1), rig.available(2)
    rig.wire.ok(
        "SetMaintenance", server_status_pb2.SetMaintenanceRequest(name=f"servers/{first}", reason="fan"), caller=admin()
    )
    rig.inventory.pool[first] = Report(available=True, reason="", held_by="")
    rig.inventory.versions[first] = 2**40  # what lifecycle reports comes too late
    operation = rig.create(BLUE)
    rig.settle()
    found = rig.instance()

    assert found is not None
    assert (found.state, found.server) == (InstanceState.ACTIVE, second)
    assert found.excluded == (f"servers/{first}",) * 3
    assert rig.operation(operation)[0].done
    assert rig.server(first).state is State.AVAILABLE
    assert second not in rig.inventory.reserved.values() or rig.inventory.reserved[WEB] == second


def test_a_refusal_that_passes_excludes_nobody(rig: Rig) -> None:
    """
    The only server is busy for a moment: it is asked for again, not given up.
    """
    uuid = rig.available()
    rig.wire.ok(
        "SetMaintenance", server_status_pb2.SetMaintenanceRequest(name=f"servers/{uuid}", reason="fan"), caller=admin()
    )
    rig.inventory.pool[uuid] = Report(available=True, reason="", held_by="")
    rig.inventory.versions[uuid] = 2**40  # what lifecycle reports comes too late
    rig.create(BLUE)
    rig.worker.tick(rig.clock.now())
    refused = rig.instance()
    assert refused is not None
    assert refused.state is InstanceState.PENDING
    rig.wire.ok("ClearMaintenance", server_status_pb2.ClearMaintenanceRequest(name=f"servers/{uuid}"), caller=admin())
    rig.settle()
    found = rig.instance()

    assert found is not None
    assert rig.server(uuid).state is State.ACTIVE
    assert found.excluded == (f"servers/{uuid}",)


def test_placement_waits_for_inventory(rig: Rig) -> None:
    """
    While inventory is silent an instance waits, and its operation says for what; a deletion waits as well.
    """
    uuid = rig.available()
    operation = rig.create(BLUE)
    rig.inventory.silent = True
    rig.settle(rounds=20)
    assert rig.operation(operation)[1].wait.code == "INVENTORY_SILENT"

    deletion = rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB))
    rig.settle(rounds=20)
    assert rig.operation(deletion)[1].wait.code == "INVENTORY_SILENT"
    rig.inventory.silent = False
    rig.settle()
    assert rig.instance() is None
    assert rig.operation(deletion)[0].done
    assert rig.server(uuid).state is State.AVAILABLE


# -- patrol


def test_a_tenants_server_is_only_recorded(rig: Rig) -> None:
    """
    What a tenant does with his server's power is seen and written down, and nothing is taken from him.
    """
    uuid = rig.active(BLUE)
    rig.hardware.machine(uuid).on = False
    rig.clock.advance(1000)
    rig.settle()

    assert rig.types(uuid)[-1] == "server.patrolled"
    assert rig.server(uuid).state is State.ACTIVE
    rig.clock.advance(1000)
    rig.settle()
    assert rig.types(uuid).count("server.patrolled") == 1


@pytest.mark.finds("I1")
def test_a_free_server_found_on_a_network_is_set_aside(rig: Rig) -> None:
    """
    A port that somebody moved voids the clean pass: quarantine, and the port is put back.
    """
    uuid = rig.available()
    port = rig.server(uuid).ports[0].name
    rig.networks.ports[port].port_class = PortClass.TENANT
    rig.clock.advance(1000)
    rig.settle()
    server = rig.server(uuid)

    assert (server.state, server.fault, server.isolated) == (State.QUARANTINED, "PORTS_MOVED_UNPLANNED", True)
    assert server.clean_time is None
    assert rig.networks.ports[port].port_class is PortClass.QUARANTINE


def test_a_silent_world_is_no_evidence(rig: Rig) -> None:
    """
    A BMC or switch that does not answer on patrol leaves a free server free.
    """
    uuid = rig.available()
    rig.hardware.machine(uuid).silent = True
    rig.networks.unreadable = {port.name for port in rig.server(uuid).ports}
    rig.clock.advance(1000)
    rig.settle()

    assert rig.server(uuid).state is State.AVAILABLE
    rig.hardware.machine(uuid).silent = False
    rig.networks.silent = True
    rig.clock.advance(1000)
    rig.settle()
    assert rig.server(uuid).state is State.AVAILABLE


# -- loop and pool


def test_a_loop_goes_on_after_whatever_its_tick_raises() -> None:
    """
    A peer that is away, or a defect, costs one round and not the loop; waking is heard at once.
    """
    called: list[int] = []
    enough = threading.Event()

    def tick(_now: datetime) -> datetime | None:
        called.append(len(called))
        if len(called) == 1:
            raise PeerUnavailable("away")
        if len(called) == 2:
            raise ZeroDivisionError
        enough.set()
        return None

    loop = Loop("test", tick, FakeClock())
    loop.start()
    while not enough.wait(0.01):
        loop.wake()
    loop.stop()

    assert not loop._thread.is_alive()


def test_a_pool_lets_the_walks_under_way_end() -> None:
    """
    Stopping waits for what runs.
    """
    pool = Pool(1)
    begun, go, ended = threading.Event(), threading.Event(), threading.Event()

    def walk() -> None:
        begun.set()
        go.wait(10)
        ended.set()

    pool.run(walk)
    assert begun.wait(10)
    stopping = threading.Thread(target=pool.stop)
    stopping.start()
    go.set()
    stopping.join(10)

    assert ended.is_set()


# -- following inventory


def test_a_log_that_is_heard_twice_changes_nothing(rig: Rig) -> None:
    """
    Repeated events, and those of other streams, leave one server with one event.
    """
    uuid = rig.register()
    before = rig.server(uuid)
    rig.inventory.log.append(replace(rig.inventory.log[0], position=2, stream="flavors/any", type="flavor.created"))
    for position in (3, 4):
        rig.inventory.log.append(replace(rig.inventory.log[0], position=position))
    rig.hear()
    rig.hear()

    assert rig.types(uuid) == ["server.enrolled"]
    assert rig.server(uuid) == before


def test_a_follower_that_is_killed_hears_it_again(rig: Rig) -> None:
    """
    Its place is kept in the transaction of what it led to.
    """
    uuid = "00000001-0000-4000-8000-000000000000"
    for number in range(4):
        with observed(At(number, kill, both=True)):
            try:
                rig.register()
            except Crash:
                rig.start()
        rig.inventory.log = rig.inventory.log[:1]
        rig.hear()
        assert rig.types(uuid) == ["server.enrolled"]


def test_changes_are_learned_at_rest(rig: Rig) -> None:
    """
    A name is taken over at once; a port plugged in elsewhere counts as never read, the others keep what was read.
    """
    uuid = rig.available()
    registered = rig.inventory.servers[uuid]
    first, second = registered.ports
    moved = replace(second, switch_port="xe-9/9/9")
    rig.inventory.servers[uuid] = replace(registered, display_name="renamed", ports=(first, moved))
    rig.inventory.tell(uuid, "server.updated")
    rig.hear()
    server = rig.server(uuid)

    assert server.display_name == "renamed"
    assert [port.observed for port in server.ports] == [PortClass.QUARANTINE, PortClass.UNKNOWN]
    rig.create(BLUE)
    rig.settle()
    assert rig.server(uuid).state is State.ACTIVE


def test_a_server_deleted_while_at_work_is_let_go_when_it_rests(rig: Rig) -> None:
    """
    The deletion is remembered until the server has come to rest.
    """
    uuid = rig.register()
    rig.hardware.machine(uuid).slow = True
    rig.ok("ProvideServer", server_status_pb2.ProvideServerRequest(name=f"servers/{uuid}"), admin())
    rig.settle(rounds=10)
    rig.inventory.tell(uuid, "server.deleting")
    rig.hear()
    assert not rig.server(uuid).closed
    rig.hardware.machine(uuid).slow = False
    rig.settle()
    rig.hear()
    rig.settle()

    assert rig.server(uuid).closed
    assert rig.inventory.closed == {uuid}


def test_a_server_that_is_gone_already_is_passed_over(rig: Rig) -> None:
    """
    Registered and deleted before anybody looked: nothing is enrolled, and the log goes on.
    """
    rig.inventory.tell("00000009-0000-4000-8000-000000000000", "server.created")
    rig.hear()
    rig.register()

    assert rig.wire.ok("ListServerStatuses", server_status_pb2.ListServerStatusesRequest(), caller=admin()).statuses


def test_a_deleted_instance_is_not_found_by_a_late_claim(rig: Rig) -> None:
    """
    A claim on what is gone is void.
    """
    rig.create(BLUE)
    (mine,) = rig.database.transact(
        lambda tx: claim(tx, "instances", rig.clock.now(), rig.clock.now() + timedelta(60), 1), label="claim"
    )
    rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB))
    rig.clock.advance(10**7)
    rig.settle()
    assert rig.instance() is None

    with pytest.raises(Stale):
        rig.worker._placement.place(mine)
