# SPDX-License-Identifier: Apache-2.0
"""Servers whose controller moves ports for its own jobs: asked for before, read within; cut and given back by us."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.kernel.effect import observed
from services.lifecycle.domain.instance import InstanceState
from services.lifecycle.domain.server import PortClass, Tag
from services.lifecycle.domain.states import State
from services.lifecycle.ports import JobKind
from tests.lifecycle.portrait import assert_sound, portrait
from tests.lifecycle.rig import BLUE, WEB, Rig, World
from tests.lifecycle.test_crashes import (
    CASES,
    At,
    Prepared,
    delete,
    kill,
    points,
    provide,
    quarantine,
    rebuild,
    rescue,
    unrescue,
)
from tests.support.judging import findings, stored_events
from tests.support.stores import MakeDatabase

_PORTS = ("port.attach_requested", "port.attach_observed", "port.detach_requested", "port.detach_observed")


@pytest.fixture
def rig(make_database: MakeDatabase) -> Iterator[Rig]:
    """A process in a world whose controller moves ports; what it recorded passes the verifier."""
    made = Rig(make_database("services.lifecycle"), world=World(observed=True))
    yield made
    assert findings("lifecycle", stored_events(made.database, made.log)) == []


def boot_port(rig: Rig, uuid: str) -> tuple[PortClass, PortClass | None]:
    """What the boot port was last read as, and what is out for it."""
    port = rig.server(uuid).ports[0]
    return port.observed, port.requested


def test_a_clean_is_read_on_its_network_within_it(rig: Rig) -> None:
    """
    Cleaning is asked for before the clean and read within it; by its end the controller has taken it off again.
    """
    uuid = rig.register()
    provide(rig, uuid)
    rig.settle()

    assert rig.server(uuid).state is State.AVAILABLE
    types = rig.types(uuid)
    order = [
        "port.attach_requested",
        "clean.requested",
        "port.attach_observed",
        "clean.passed",
        "port.detach_requested",
    ]
    at = [types.index(type_, types.index("port.attach_requested")) for type_ in order]
    assert at == sorted(at)
    boot = rig.server(uuid).ports[0].name
    assert rig.networks.history == [(boot, PortClass.CLEANING), (boot, PortClass.QUARANTINE)]
    assert_sound(rig, uuid)


def test_a_deployment_is_cut_from_provisioning_and_given_to_the_tenant_by_us(rig: Rig) -> None:
    """
    Provisioning is read within the job; then power off is read, the port cut, read in quarantine, and bound for the
    tenant, before the server is switched on. The controller is told the leases whose ports those are.
    """
    uuid = rig.available()
    before, moves = len(rig.types(uuid)), len(rig.networks.history)
    operation = rig.create(BLUE)
    rig.settle()
    types, boot = rig.types(uuid)[before:], rig.server(uuid).ports[0].name

    assert rig.operation(operation)[0].HasField("response")
    assert [type_ for type_ in types if type_ in (*_PORTS, "image.verified", "power.observed")] == [
        "port.attach_requested", "port.attach_observed", "image.verified", "power.observed", "port.detach_requested",
        "port.detach_observed", "port.attach_requested", "port.attach_observed", "power.observed",
    ]  # fmt: skip
    assert rig.networks.history[moves:] == [
        (boot, PortClass.PROVISIONING), (boot, PortClass.QUARANTINE), (boot, PortClass.TENANT),
    ]  # fmt: skip
    (order,) = [order for order, _ in rig.hardware.machine(uuid).jobs.values() if order.kind is JobKind.DEPLOY]
    assert (order.instance, order.leases) == (WEB, tuple(lease.name for lease in rig.server(uuid).leases))
    assert len(order.leases) == 1
    delete(rig, uuid)
    rig.settle()
    assert rig.server(uuid).state is State.AVAILABLE
    assert_sound(rig, uuid)


def test_rebuilding_and_rescuing_go_the_same_way(rig: Rig) -> None:
    """
    Whatever runs on a private network is cut from it by us before the tenant's come back.
    """
    uuid = rig.active(BLUE)
    for verb, last in (
        (rebuild, [PortClass.QUARANTINE, PortClass.PROVISIONING, PortClass.QUARANTINE, PortClass.TENANT]),
        (rescue, [PortClass.QUARANTINE, PortClass.RESCUE]),
        (unrescue, [PortClass.QUARANTINE, PortClass.TENANT]),
    ):
        moves = len(rig.networks.history)
        verb(rig, uuid)
        rig.settle()
        assert [to for _, to in rig.networks.history[moves:]] == last, verb
        assert rig.server(uuid).intent is None
    assert rig.server(uuid).state is State.ACTIVE
    assert_sound(rig, uuid)


def test_a_job_that_never_was_on_its_network_proves_nothing(rig: Rig) -> None:
    """
    The controller uses another network than ours: the clean is over, and the server goes to quarantine all the same.
    """
    uuid = rig.register()
    rig.hardware.unplugged = True
    provide(rig, uuid)
    rig.settle()
    server = rig.server(uuid)

    assert (server.state, server.fault) == (State.QUARANTINED, "PORTS_UNSEEN")
    assert server.isolated
    assert "clean.passed" not in rig.types(uuid)


def test_a_port_that_goes_to_a_tenant_within_a_job_fails_it(rig: Rig) -> None:
    """
    The port that nobody asked for anything reads on a network while the image is written.
    """
    uuid = rig.available()
    second = rig.server(uuid).ports[1].name

    def elsewhere(label: str, when: str) -> None:
        if (label, when) == ("bmc.start_deploy", "after"):
            port = rig.networks.ports[second]
            port.port_class, port.networks = PortClass.TENANT, (Tag(BLUE),)

    operation = rig.create(BLUE)
    with observed(elsewhere):
        rig.settle()

    assert "which nobody here asked for" in rig.operation(operation)[0].error.message
    assert (rig.server(uuid).state, rig.server(uuid).fault) == (State.QUARANTINED, "PORTS_MOVED_UNPLANNED")
    assert rig.server(uuid).isolated


def test_an_image_that_was_written_unseen_is_written_again(rig: Rig) -> None:
    """
    A deployment may be begun anew; the second time it is read where it shall be.
    """
    uuid = rig.available()
    rig.hardware.unplugged = True
    rig.create(BLUE)

    def mended(label: str, when: str) -> None:
        if (label, when) == ("bmc.start_deploy", "after"):
            rig.hardware.unplugged = False

    with observed(mended):
        rig.settle()
    written = [act for server, act in rig.hardware.history if (server, act) == (uuid, "deploy")]

    assert (rig.server(uuid).state, len(written)) == (State.ACTIVE, 2)
    assert_sound(rig, uuid)


def test_a_fabric_that_is_silent_at_the_end_is_waited_for(rig: Rig) -> None:
    """
    A deployment leaves its ports where they were, so they are read as soon as the fabric answers.
    """
    uuid = rig.available()
    rig.create(BLUE)

    def silent(label: str, when: str) -> None:
        if (label, when) == ("bmc.start_deploy", "after"):
            rig.networks.silent = True

    with observed(silent):
        rig.pass_time(20)
    wait = rig.server(uuid).wait
    assert wait is not None
    assert wait.code == "NETWORK_SILENT"
    assert boot_port(rig, uuid) == (PortClass.QUARANTINE, PortClass.PROVISIONING)
    rig.networks.silent = False
    rig.settle()
    assert rig.server(uuid).state is State.ACTIVE


@pytest.mark.parametrize(
    "name",
    ["create", "delete", *(pytest.param(name, marks=pytest.mark.slow) for name in ("rebuild", "rescue", "unrescue"))],
)
def test_a_kill_anywhere_changes_nothing(name: str, tmp_path: Path) -> None:
    """
    As in any other world. Where the new worker found the ports where a job runs, that look is what the log has of it.
    """
    case = CASES[name]
    prepared = Prepared(tmp_path, case, World(observed=True))
    forks = prepared.forks()
    rig = next(forks)
    case.verb(rig, prepared.uuid)
    found, wanted = points(rig), portrait(rig, prepared.uuid)
    assert wanted.resting
    assert_sound(rig, prepared.uuid)

    for number, point in enumerate(found):
        rig = next(forks)
        case.verb(rig, prepared.uuid)
        assert rig.killed_at(At(number, kill)), point
        rig.settle()
        assert replace(portrait(rig, prepared.uuid), events=wanted.events) == wanted, (number, point)
        assert_sound(rig, prepared.uuid)
    forks.close()


def test_who_is_set_aside_within_a_job_is_cut_off(rig: Rig) -> None:
    """
    An administrator quarantines a server on the provisioning network: that is a cut, and ours.
    """
    uuid = rig.available()
    rig.hardware.machine(uuid).slow = True
    rig.create(BLUE)
    rig.pass_time(20)
    assert boot_port(rig, uuid) == (PortClass.PROVISIONING, None)
    quarantine(rig, uuid)
    rig.settle()
    instance = rig.instance()

    assert (rig.server(uuid).state, rig.server(uuid).isolated) == (State.QUARANTINED, True)
    assert instance is not None
    assert instance.state is InstanceState.ERROR
