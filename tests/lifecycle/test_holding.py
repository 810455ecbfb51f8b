# SPDX-License-Identifier: Apache-2.0
"""A step that fails where an instance has the use of its server: the brake is asked, and what it holds goes back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bms.lifecycle.v1 import brake_pb2, instance_pb2
from bms.lifecycle.v1 import server_status_pb2 as srv
from services.kernel.errors import BmsError, PeerUnavailable, WrongState
from services.kernel.events import PowerSeen
from services.lifecycle.domain.instance import InstanceState
from services.lifecycle.domain.server import PortClass, Tag
from services.lifecycle.domain.states import State
from tests.lifecycle.rig import BLUE, GREEN, Rig
from tests.lifecycle.test_brake import brake, fleet, summary, types_of
from tests.support.wire import admin

_COUNT = 5


def name_of(number: int) -> str:
    return f"projects/demo/instances/web{number}"


def attach(rig: Rig, number: int) -> str:
    network = instance_pb2.InstanceNetwork(network=GREEN)
    return rig.ok("AttachNetwork", instance_pb2.AttachNetworkRequest(name=name_of(number), network=network))


def deaf(rig: Rig) -> None:
    """Every write is taken and does nothing."""
    rig.networks.deaf = set(rig.networks.ports)


def refusing(error: BmsError) -> Callable[[Rig], None]:
    """Every write is answered with *error*."""

    def refuse(rig: Rig) -> None:
        rig.networks.refuses_writes = error

    return refuse


def mend(rig: Rig) -> None:
    """The controller writes again."""
    rig.networks.deaf, rig.networks.refuses_writes = set(), None


def on_blue(rig: Rig, uuid: str) -> bool:
    """Whether the fabric has the server on its tenant's network, whatever lifecycle believes."""
    ports = [port for port in rig.networks.ports.values() if port.server == uuid]
    return any(port.port_class is PortClass.TENANT and port.networks == (Tag(BLUE),) for port in ports)


def in_use(rig: Rig, uuids: list[str]) -> list[int]:
    """The numbers of those that are still their tenants'."""
    return [number for number, uuid in enumerate(uuids, 1) if rig.server(uuid).state is State.ACTIVE]


def waits(rig: Rig) -> dict[str, int]:
    return {wait.code: wait.count for wait in summary(rig).waits}


def release(rig: Rig) -> None:
    rig.wire.ok("ReleaseBrake", brake_pb2.ReleaseBrakeRequest(reason="mended"), caller=admin())


CONTROLLERS = {
    "deaf": deaf,
    "refuses": refusing(WrongState("the controller is read-only")),
    "fails": refusing(PeerUnavailable("the controller fails to write")),
}


@pytest.mark.parametrize("breaks", CONTROLLERS.values(), ids=CONTROLLERS)
def test_a_controller_that_refuses_all_writes_takes_no_fleet_down(rig: Rig, breaks: Callable[[Rig], None]) -> None:
    """
    Every tenant attaches a network, and nothing can be written: two servers are set aside, the third pulls the brake,
    the others stay their tenants'; every verb fails, nobody loses a network, and administrators are alarmed. Mended and
    released, what was changed is put back and nothing is left of it.
    """
    uuids = fleet(rig, _COUNT)
    breaks(rig)
    operations = {number: attach(rig, number) for number in range(1, _COUNT + 1)}
    rig.pass_time(900)
    held = in_use(rig, uuids)

    assert len(held) == _COUNT - 2
    assert all(on_blue(rig, uuid) for uuid in uuids)
    assert len(types_of(rig, "brake.pulled")) == 1
    # One that takes writes and does nothing reads as it was: there is nothing to be put back.
    unsettled = 0 if breaks is deaf else _COUNT - 2
    assert (brake(rig).pulled, brake(rig).held_count) == (True, unsettled)
    assert waits(rig).get("BRAKE_PULLED", 0) == unsettled
    assert summary(rig).overdue_count >= unsettled
    for operation in operations.values():
        assert rig.operation(operation)[0].HasField("error")
    for number in held:
        instance, server = rig.instance(name_of(number)), rig.server(uuids[number - 1])
        assert instance is not None
        assert (instance.state, instance.operation) == (InstanceState.ACTIVE, "")
        assert [wish.network for wish in instance.networks] == [BLUE]
        assert instance.error
        if unsettled:
            told = rig.wire.ok("DiagnoseServer", srv.DiagnoseServerRequest(name=server.name), caller=admin())
            assert (told.blocked_on, told.who_must_act) == ("BRAKE_PULLED", "administrator")
            assert server.wait is not None
            assert server.wait.alarmed
        types = rig.types(uuids[number - 1])
        assert (types.count("verb.held"), types.count("server.failed")) == (1, 0)

    mend(rig)
    release(rig)
    rig.pass_time(1200)
    for number in held:
        uuid = uuids[number - 1]
        server, instance = rig.server(uuid), rig.instance(name_of(number))
        assert (server.state, server.intent, server.wait) == (State.ACTIVE, None, None)
        assert on_blue(rig, uuid)
        assert all(port.requested is None for port in server.ports)
        assert instance is not None
        assert [face.network for face in instance.interfaces if face.connected] == [BLUE]
        assert [lease.network for lease in server.leases] == [BLUE]
    leased = [lease.network for lease, _, state in rig.addresses.leases.values() if state == "leased"]
    assert leased.count(GREEN) <= 2
    assert in_use(rig, uuids) == held


def test_a_held_attach_is_tried_no_further(rig: Rig) -> None:
    """
    Failed is failed: once the controller writes again the network is not attached after all, and the tenant may ask
    anew.
    """
    uuids = fleet(rig, 3)
    deaf(rig)
    for number in (1, 2, 3):
        attach(rig, number)
    rig.pass_time(900)
    (number,) = in_use(rig, uuids)
    before = len(rig.networks.history)
    mend(rig)
    rig.pass_time(60)

    uuid = uuids[number - 1]
    moved = [port_class for port, port_class in rig.networks.history[before:] if uuid in port]
    assert PortClass.TENANT not in moved
    assert (rig.server(uuid).intent, rig.server(uuid).wait) == (None, None)
    assert brake(rig).pulled
    operation = attach(rig, number)
    rig.pass_time(60)
    assert not rig.operation(operation)[0].HasField("error")
    assert {lease.network for lease in rig.server(uuid).leases} == {BLUE, GREEN}


def pull(rig: Rig) -> None:
    """The brake is pulled already, by something else."""

    def by_hand(tx: object) -> None:
        tx.execute("UPDATE brake SET pull_time = 1, why = 'smoke' WHERE id = 1")  # type: ignore[attr-defined]  # a transaction

    rig.database.transact(by_hand, label="test")


def begun(rig: Rig) -> str:
    """The one server of an instance called web1, the brake being pulled."""
    (uuid,) = fleet(rig, 1)
    pull(rig)
    return uuid


def call(rig: Rig, verb: str) -> str:
    return rig.ok(f"{verb}Instance", getattr(instance_pb2, f"{verb}InstanceRequest")(name=name_of(1)))


def test_a_held_start_is_stopped_as_it_was(rig: Rig) -> None:
    """
    Its ports cannot be moved to its networks: it is read in quarantine again first of all, and may be started later.
    """
    uuid = begun(rig)
    call(rig, "Stop")
    rig.settle()
    deaf(rig)
    operation = call(rig, "Start")
    rig.pass_time(600)
    instance, server = rig.instance(name_of(1)), rig.server(uuid)

    assert rig.operation(operation)[0].HasField("error")
    assert (server.state, server.intent, server.isolated) == (State.ACTIVE, None, True)
    assert instance is not None
    assert instance.state is InstanceState.STOPPED
    types = rig.types(uuid)
    assert types[types.index("server.failed") + 1 :][:1] == ["port.detach_requested"]
    mend(rig)
    call(rig, "Start")
    rig.settle()
    assert on_blue(rig, uuid)


def test_a_start_that_cannot_power_on_leaves_no_port_on_a_network(rig: Rig) -> None:
    """
    Held after its ports had moved: they are in quarantine before its power is waited for, however long the BMC is
    silent; then it is stopped.
    """
    uuid = begun(rig)
    call(rig, "Stop")
    rig.settle()
    set_power = rig.hardware.set_power

    def dying(*arguments: object, **named: object) -> PowerSeen:
        rig.hardware.machine(uuid).silent |= bool(named["on"])
        return set_power(*arguments, **named)  # type: ignore[arg-type]  # as it was called

    rig.hardware.set_power = dying  # type: ignore[method-assign]  # a BMC that dies of being switched on
    operation = call(rig, "Start")
    rig.pass_time(600)
    assert rig.operation(operation)[0].HasField("error")
    assert rig.server(uuid).isolated
    assert waits(rig) == {"BRAKE_PULLED": 1}
    rig.hardware.machine(uuid).silent = False
    rig.pass_time(60)
    instance = rig.instance(name_of(1))

    assert instance is not None
    assert (instance.state, rig.server(uuid).intent) == (InstanceState.STOPPED, None)


def test_a_held_unrescue_stays_rescued(rig: Rig) -> None:
    """
    Its power cannot be read off: nothing was changed, and its tenant has the rescue system still.
    """
    (uuid,) = fleet(rig, 1)
    call(rig, "Rescue")
    rig.settle()
    pull(rig)
    rig.hardware.machine(uuid).stuck_on = True
    operation = call(rig, "Unrescue")
    rig.pass_time(600)
    instance = rig.instance(name_of(1))

    assert rig.operation(operation)[0].HasField("error")
    assert (rig.server(uuid).state, rig.server(uuid).intent) == (State.RESCUED, None)
    assert instance is not None
    assert instance.state is InstanceState.RESCUED


@pytest.mark.parametrize("verb", ["Rebuild", "Rescue"])
def test_what_cannot_go_back_waits_under_the_brake(rig: Rig, verb: str) -> None:
    """
    Rebuilt or rescued, and never read off: the server stays on its tenant's networks, told once, asked for no power
    beyond its budget; released, it is set aside; or goes on if it was read off meanwhile.
    """
    uuid = begun(rig)
    rig.hardware.machine(uuid).stuck_on = True
    operation = call(rig, verb)
    rig.pass_time(300)
    asked = len(rig.hardware.history)
    rig.pass_time(1800)
    server = rig.server(uuid)

    assert on_blue(rig, uuid)
    assert server.wait is not None
    assert (server.wait.code, server.wait.alarmed) == ("BRAKE_PULLED", True)
    assert "smoke" not in server.wait.reason
    assert len(rig.hardware.history) == asked
    assert not rig.operation(operation)[0].done
    told = [event.body.reason for event in rig.events(server.name) if event.header.type == "server.waiting"]
    assert told.count("BRAKE_PULLED") == 1
    release(rig)
    rig.pass_time(60)
    assert rig.server(uuid).state is State.QUARANTINED


def test_whoever_comes_right_goes_on(rig: Rig) -> None:
    """
    Read off at last, a rebuild that the brake held goes on to its end.
    """
    uuid = begun(rig)
    rig.hardware.machine(uuid).stuck_on = True
    operation = call(rig, "Rebuild")
    rig.pass_time(600)
    rig.hardware.machine(uuid).stuck_on = False
    rig.hardware.machine(uuid).on = False
    rig.pass_time(120)

    assert rig.operation(operation)[0].done
    assert not rig.operation(operation)[0].HasField("error")
    assert rig.server(uuid).state is State.ACTIVE


def test_one_failing_attach_is_set_aside_as_ever(rig: Rig) -> None:
    """
    The brake is not pulled: quarantine on all ports, and the failure counts.
    """
    (uuid,) = fleet(rig, 1)
    rig.networks.deaf = {rig.server(uuid).ports[1].name}
    attach(rig, 1)
    rig.networks.deaf = set(rig.networks.ports)
    rig.pass_time(300)
    mend(rig)
    rig.pass_time(300)

    assert (rig.server(uuid).state, rig.server(uuid).isolated) == (State.QUARANTINED, True)
    assert brake(rig).quarantined_count == 1


def test_a_deletion_takes_over_what_is_put_back(rig: Rig) -> None:
    """
    A held server may be deleted at any time: its ports go first, as ever.
    """
    uuid = begun(rig)
    CONTROLLERS["refuses"](rig)
    attach(rig, 1)
    rig.pass_time(300)
    assert waits(rig) == {"BRAKE_PULLED": 1}
    call(rig, "Delete")
    mend(rig)
    rig.settle()

    assert rig.server(uuid).state is State.AVAILABLE
    assert rig.instance(name_of(1)) is None


def test_a_brake_not_written_is_not_asked(rig: Rig) -> None:
    """
    The question and what follows are one transaction: a write that is refused leaves no sign behind.
    """
    (uuid,) = fleet(rig, 1)
    deaf(rig)
    attach(rig, 1)
    rig.pass_time(235)
    assert rig.server(uuid).state is State.ACTIVE
    write = rig.store.write
    lost: list[str] = []

    def losing(*arguments: object, **named: object) -> object:
        change = arguments[1]
        if not lost and change.server.state is State.QUARANTINED:  # type: ignore[attr-defined]  # a Change
            lost.append(uuid)
            raise PeerUnavailable("the database is away")
        return write(*arguments, **named)  # type: ignore[arg-type]  # as it was called

    object.__setattr__(rig.store, "write", losing)
    for _ in range(100):
        rig.worker.tick(rig.clock.now())
        if lost:
            break
        rig.clock.advance(1)
    assert lost
    assert brake(rig).quarantined_count == 0
    assert rig.server(uuid).state is State.ACTIVE
    rig.pass_time(60)
    assert (rig.server(uuid).state, brake(rig).quarantined_count) == (State.QUARANTINED, 1)
