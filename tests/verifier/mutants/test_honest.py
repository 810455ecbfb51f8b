# SPDX-License-Identifier: Apache-2.0
"""Honest orders that look strange: none of them is found wrong. What tests/lifecycle lives through is judged there."""

from __future__ import annotations

import pytest

from bms.lifecycle.v1 import instance_pb2, server_status_pb2
from services.kernel.events import PowerSeen
from services.lifecycle.domain.server import PortClass, Tag
from services.lifecycle.domain.states import State
from services.lifecycle.ports import JobKind, Target
from services.verifier.verdict import Verdict
from tests.lifecycle.rig import BLUE, GREEN, WEB, Crash, Rig
from tests.lifecycle.test_crashes import settled
from tests.support.judging import judged, stored_events
from tests.support.wire import admin
from tests.verifier.mutants.mutant import Mutant


def verdict(rig: Rig, uuid: str) -> Verdict:
    return judged("lifecycle", stored_events(rig.database, rig.log))[f"servers/{uuid}"].verdict


def administer(rig: Rig, method: str, uuid: str, **fields: object) -> None:
    request = getattr(server_status_pb2, f"{method}ServerRequest")(name=f"servers/{uuid}", **fields)
    rig.ok(f"{method}Server", request, admin())


def recover(rig: Rig, uuid: str) -> None:
    administer(rig, "Recover", uuid, take_from_instance=True)
    rig.settle()


def die_at(rig: Rig, label: str) -> None:
    """The process dies behind the next effect called *label*."""

    def crash(at: str, when: str) -> None:
        if (at, when) == (label, "after"):
            raise Crash(label)

    assert rig.killed_at(crash)


STATES: dict[str, tuple[str, ...]] = {
    "free": (),
    "active": ("Create",),
    "stopped": ("Create", "Stop"),
    "started again": ("Create", "Stop", "Start"),
    "rebooted": ("Create", "Reboot"),
    "rescued": ("Create", "Rescue"),
    "unrescued": ("Create", "Rescue", "Unrescue"),
    "rebuilt": ("Create", "Rebuild"),
    "failed": ("Fail",),
}
"""What was done to a free server -> verbs on its instance, in order."""


def _create(rig: Rig, *networks: str) -> None:
    rig.create(*networks)
    rig.settle()


def _verb(rig: Rig, verb: str) -> None:
    rig.ok(f"{verb}Instance", getattr(instance_pb2, f"{verb}InstanceRequest")(name=WEB))
    rig.settle()


@pytest.mark.parametrize("state", STATES)
def test_an_administrator_takes_it_from_every_state_and_the_next_tenant_gets_it(mutant: Mutant, state: str) -> None:
    """
    Set aside and recovered, taken from its instance, cleaned, and given to a tenant of the same name: PASS throughout.
    """
    rig = mutant.rig
    uuid = rig.available()
    for verb in STATES[state]:
        if verb == "Fail":
            rig.hardware.machine(uuid).fail_jobs[JobKind.DEPLOY] = 3
        if verb in ("Create", "Fail"):
            _create(rig, BLUE, GREEN)
        else:
            _verb(rig, verb)
    if rig.server(uuid).state is not State.QUARANTINED:
        administer(rig, "Quarantine", uuid, reason="smoke")
        rig.settle()
    recover(rig, uuid)
    if rig.instance() is not None:
        _verb(rig, "Delete")
    _create(rig)

    assert rig.server(uuid).state is State.ACTIVE
    assert verdict(rig, uuid) is Verdict.PASS


def test_a_worker_that_finds_a_free_server_on_sets_it_aside(mutant: Mutant) -> None:
    """
    Reserved, then powered on by somebody while the worker died: the clean pass is void, and the deploy does not go on.
    """
    rig = mutant.rig
    uuid = rig.available()
    rig.create(BLUE)
    die_at(rig, "ipam.lease")
    assert rig.server(uuid).state is State.RESERVED
    rig.hardware.machine(uuid).on = True
    rig.settle()
    server = rig.server(uuid)

    assert (server.state, server.fault, server.clean_time) == (State.QUARANTINED, "POWER_ON_UNPLANNED", None)
    assert "deploy" not in [act for _, act in rig.hardware.history]
    assert verdict(rig, uuid) is Verdict.PASS
    recover(rig, uuid)
    assert rig.server(uuid).state is State.AVAILABLE
    assert verdict(rig, uuid) is Verdict.PASS


def test_a_worker_that_finds_a_cleaned_server_on_sets_it_aside(mutant: Mutant) -> None:
    """
    Powered on between its clean pass and the pool, while the worker died: it does not become available.
    """
    rig = mutant.rig
    uuid = rig.register()
    administer(rig, "Provide", uuid)
    seen: list[str] = []

    def crash(at: str, when: str) -> None:
        seen.append(at)
        if (at, when) == ("network.attach", "after") and "bmc.start_clean" in seen:
            raise Crash(at)

    assert rig.killed_at(crash)
    rig.hardware.machine(uuid).on = True
    rig.settle()

    assert (rig.server(uuid).state, rig.server(uuid).fault) == (State.QUARANTINED, "POWER_ON_UNPLANNED")
    assert verdict(rig, uuid) is Verdict.PASS


def test_a_server_that_comes_back_on_while_given_back_keeps_its_addresses(mutant: Mutant) -> None:
    """
    Read off, then found on by whoever takes over: cut off, quarantined, its addresses held until it is off again.
    """
    rig = mutant.rig
    uuid = rig.active(BLUE)
    rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB))
    die_at(rig, "network.attach")
    rig.hardware.machine(uuid).on = True
    rig.settle()

    assert rig.instance() is None
    assert rig.server(uuid).state is State.QUARANTINED
    assert rig.server(uuid).isolated
    assert verdict(rig, uuid) is Verdict.PASS


def test_a_free_server_found_on_at_a_takeover_is_set_aside_at_the_next_look(mutant: Mutant) -> None:
    """
    A worker dies while it looks at a free server: who takes over sees it on, and acts on it.
    """
    rig = mutant.rig
    uuid = rig.available()
    rig.clock.advance(1000)
    die_at(rig, "bmc.read_power")
    rig.hardware.machine(uuid).on = True
    rig.settle()

    assert (rig.server(uuid).state, rig.server(uuid).fault) == (State.QUARANTINED, "POWER_ON_UNPLANNED")
    assert verdict(rig, uuid) is Verdict.PASS


def test_a_bmc_that_cannot_tell_says_nothing(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Read as unknown on patrol, a free server is as off as before: taken, and given back untouched.
    """
    rig = mutant.rig
    uuid = rig.available()
    unknown = lambda _target: PowerSeen("unknown", rig.clock.now(), b"d" * 32)  # noqa: E731 -- one fault, in its place
    with monkeypatch.context() as patch:
        patch.setattr(rig.hardware, "read_power", unknown)
        rig.clock.advance(1000)
        rig.settle(5)
    rig.addresses.exhausted = {GREEN}
    _create(rig, BLUE, GREEN)

    assert rig.hardware.read_power(Target(uuid, 0)).power == "off"
    assert rig.server(uuid).state is State.AVAILABLE
    assert verdict(rig, uuid) is Verdict.PASS


def test_a_server_without_ports_is_set_aside(mutant: Mutant) -> None:
    """
    With nothing plugged in there is nothing to read: quarantine, and no finding.
    """
    rig = mutant.rig
    uuid = rig.register(ports=0)
    administer(rig, "Provide", uuid)
    rig.settle()

    assert rig.server(uuid).state is State.QUARANTINED
    assert verdict(rig, uuid) is Verdict.PASS


@pytest.mark.parametrize("label", ["network.attach", "network.read", "bmc.set_power", "bmc.start_deploy"])
def test_a_deploy_that_fails_after_a_takeover(mutant: Mutant, label: str) -> None:
    """
    The worker dies, the next one fails for good: quarantine, read back, then the tenant deletes and the next comes.
    """
    rig = mutant.rig
    uuid = settled()(rig)
    administer(rig, "Provide", uuid)
    rig.settle()
    rig.hardware.machine(uuid).corrupt = True
    rig.create(BLUE)
    die_at(rig, label)
    rig.settle()
    assert rig.server(uuid).state is State.QUARANTINED
    rig.hardware.machine(uuid).corrupt = False
    _verb(rig, "Delete")
    recover(rig, uuid)
    _create(rig)

    assert rig.server(uuid).state is State.ACTIVE
    assert verdict(rig, uuid) is Verdict.PASS


# -- out of quarantine


def test_recovery_waits_for_isolation(mutant: Mutant) -> None:
    """
    Refused while a port was not read in quarantine, with what to do; possible as soon as it was.
    """
    rig = mutant.rig
    uuid = rig.active(BLUE)
    rig.networks.unreadable = {rig.server(uuid).ports[0].name}
    administer(rig, "Quarantine", uuid, reason="smoke")
    rig.settle(10)
    request = server_status_pb2.RecoverServerRequest(name=f"servers/{uuid}", take_from_instance=True)
    refused = rig.wire.call("RecoverServer", request, caller=admin())

    assert refused.code.name == "FAILED_PRECONDITION"
    assert "may still be on a network" in refused.status.message
    rig.networks.unreadable = set()
    rig.settle()
    recover(rig, uuid)
    assert rig.server(uuid).state is State.AVAILABLE
    assert verdict(rig, uuid) is Verdict.PASS


def test_a_port_moved_in_quarantine_is_cut_again(mutant: Mutant) -> None:
    """
    Somebody moves a port of a server that rests in quarantine: found, cut off anew, and then it recovers to PASS.
    """
    rig = mutant.rig
    uuid = rig.active(BLUE)
    administer(rig, "Quarantine", uuid, reason="smoke")
    rig.settle()
    port = rig.networks.ports[rig.server(uuid).ports[0].name]
    port.port_class, port.networks = PortClass.TENANT, (Tag(GREEN),)
    rig.clock.advance(1000)
    rig.settle(5)

    assert (rig.server(uuid).isolated, rig.server(uuid).fault) == (True, "PORTS_MOVED_UNPLANNED")
    assert port.port_class is PortClass.QUARANTINE
    assert mutant.found(uuid) == ("I1", "port.detach_observed", "server.patrolled")
    recover(rig, uuid)
    assert rig.server(uuid).state is State.AVAILABLE
    report = judged("lifecycle", stored_events(rig.database, rig.log))[f"servers/{uuid}"]
    assert report.intervals[-1].verdict is Verdict.PASS


def test_an_administrator_has_the_ports_cut_again(mutant: Mutant) -> None:
    """
    At rest in quarantine and not isolated all the same: set aside anew its ports are cut, and then it recovers.
    """
    rig = mutant.rig
    uuid = rig.active(BLUE)
    administer(rig, "Quarantine", uuid, reason="smoke")
    rig.settle()
    rig.database.transact(lambda tx: tx.execute("UPDATE servers SET isolated = 0", ()), label="moved")
    request = server_status_pb2.RecoverServerRequest(name=f"servers/{uuid}", take_from_instance=True)
    assert rig.wire.call("RecoverServer", request, caller=admin()).code.name == "FAILED_PRECONDITION"

    administer(rig, "Quarantine", uuid, reason="cut again")
    rig.settle()
    recover(rig, uuid)
    assert rig.server(uuid).state is State.AVAILABLE
    assert verdict(rig, uuid) is Verdict.PASS
