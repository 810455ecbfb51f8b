# SPDX-License-Identifier: Apache-2.0
"""Whose a server is: let go without an end, moved by those who no longer hold it, gone on with though it failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pytest

from bms.lifecycle.v1 import instance_pb2, server_status_pb2
from services.kernel.calls import Call
from services.kernel.events import AddressSeen, Event, Evidence, PortSeen
from services.lifecycle.domain import walk
from services.lifecycle.domain.instance import Instance
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.notes import note
from services.lifecycle.domain.plans import plan_of
from services.lifecycle.domain.server import Intent, PortClass, Server, Tag
from services.lifecycle.domain.states import State, Trigger
from services.lifecycle.domain.step import StepName
from services.lifecycle.domain.walk import Change
from services.lifecycle.operations.servers import ServerVerbs
from services.lifecycle.patrol import Patrol
from services.lifecycle.ports import JobKind
from services.lifecycle.steps.attaching import port_seen
from services.lifecycle.steps.outcomes import Context, Done, Outcome
from tests.lifecycle.rig import BLUE, GREEN, WEB
from tests.support.wire import admin
from tests.verifier.mutants.mutant import Act, Found, Mutant, Order, told

N, T = StepName, Trigger
DB = "projects/demo/instances/db"
STRANGER = "projects/other/instances/web"


def delete(mutant: Mutant, rounds: int = 60) -> None:
    mutant.rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB))
    mutant.rig.settle(rounds)


def quarantine(mutant: Mutant, uuid: str, rounds: int = 60) -> None:
    request = server_status_pb2.QuarantineServerRequest(name=f"servers/{uuid}", reason="smoke")
    mutant.rig.ok("QuarantineServer", request, admin())
    mutant.rig.settle(rounds)


def attaching(port: int, port_class: str, instance: str | None, *networks: str) -> Callable[[Context], Event]:
    """A port is asked onto *networks* for *instance*."""

    def tell(ctx: Context) -> Event:
        wish = PortSeen(ctx.server.ports[port].name, port_class, networks)
        return told(ctx, "port.attach_requested", Evidence(ports=(wish,)), instance=instance)

    return tell


# -- who holds it


@pytest.mark.parametrize(
    ("tell", "found"),
    [
        (attaching(0, "tenant", "", BLUE), ("I3", "clean.passed", "port.attach_requested")),
        (attaching(0, "tenant", WEB, BLUE), ("I3", "clean.passed", "port.attach_requested")),
        (attaching(0, "rescue", WEB), ("I3", "clean.passed", "port.attach_requested")),
        (
            lambda ctx: told(ctx, "image.write_requested", instance=WEB),
            ("I3", "clean.passed", "image.write_requested"),
        ),
    ],
    ids=["nobody", "no hold", "rescue", "an image"],
)
def test_a_free_server_is_nobodys(mutant: Mutant, tell: Callable[[Context], Event], found: Found) -> None:
    """
    I3: before it is reserved nothing of a tenant's comes to it.
    """
    uuid = mutant.rig.register()
    mutant.tells(N.REPORT, lambda ctx: tell(ctx) if ctx.server.state is State.AVAILABLE else told(ctx, "server.noted"))
    mutant.rig.ok("ProvideServer", server_status_pb2.ProvideServerRequest(name=f"servers/{uuid}"), admin())
    mutant.rig.settle()

    assert mutant.found(uuid) == found


@pytest.mark.parametrize(
    ("tell", "found"),
    [
        # In the same project, so that only the hold tells them apart.
        (attaching(1, "tenant", DB, GREEN), ("I2", "image.write_requested", "port.attach_requested")),
        (attaching(1, "tenant", STRANGER, "projects/other/networks/red"),
         ("I1", "port.attach_observed", "port.attach_requested")),
        (attaching(1, "provisioning", None), ("I1", "port.attach_observed", "port.attach_requested")),
        (attaching(1, "rescue", DB), ("I1", "port.attach_observed", "port.attach_requested")),
        (lambda ctx: told(ctx, "image.write_requested", instance=DB),
         ("I2", "image.write_requested", "image.write_requested")),
    ],
    ids=["another instance", "another project", "provisioning at once", "another's rescue", "another's rebuild"],
)  # fmt: skip
def test_a_held_server_is_one_holders(mutant: Mutant, tell: Callable[[Context], Event], found: Found) -> None:
    """
    I1 to I3: no other's networks, image or rescue system while an instance holds it, whoever's project it is.
    """
    uuid = mutant.rig.active(BLUE)
    mutant.tells(N.REBOOT, tell)
    mutant.rig.ok("RebootInstance", instance_pb2.RebootInstanceRequest(name=WEB))
    mutant.rig.settle()

    assert mutant.found(uuid) == found


def unfollowed(ctx: Context, honest: Act) -> Outcome:
    """Nobody follows the deletion."""
    outcome = honest(ctx)
    return replace(outcome, server=replace(outcome.server, intent=replace(ctx.intent, operation="")))


@pytest.mark.parametrize("name", ["web", "db"])
@pytest.mark.parametrize(
    ("order", "found"),
    [
        # The record is deleted, and the server is free.
        ((N.END_INSTANCE, (N.REPORT, T.CLEANED)), ("I4", "port.attach_observed", "instance.ended")),
        ((N.REPORT, (N.REPORT, T.CLEANED)), ("I4", "image.write_requested", "server.state_changed")),
    ],
)
def test_a_server_given_to_the_next_as_it_is(
    mutant: Mutant, monkeypatch: pytest.MonkeyPatch, order: Order, found: Found, name: str
) -> None:
    """
    I4 when it is let go, and I2 when the next one comes to it, even if that one has the same name.
    """
    uuid = mutant.rig.active(BLUE)
    # The patrol would find a free server on, and set it aside before the next one has it.
    monkeypatch.setattr(Patrol, "_set_aside", lambda _self, server, _instance, events, *_: Change(server, events))
    mutant.plan(IntentKind.RELEASE, order)
    mutant.move(State.RELEASING, T.CLEANED, State.AVAILABLE)
    mutant.act(N.REPORT, unfollowed)
    delete(mutant)
    mutant.rig.inventory.reserved.clear()
    # Nor does the controller keep the next one from it.
    mutant.rig.hardware.machine(uuid).holders = ()
    if name == "web" and mutant.rig.instance() is not None:
        mutant.rig.database.transact(lambda tx: tx.execute("DELETE FROM instances", ()), label="forget")
    mutant.rig.create(BLUE, name=name)
    mutant.rig.settle(60)

    assert mutant.found(uuid) == found
    assert ("I2", "image.write_requested", "image.write_requested") in [
        (one.invariant, one.witnesses[0].type, one.witnesses[1].type) for one in mutant.findings(uuid)
    ]


def test_a_free_server_that_was_on_is_taken(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    I4: what ran between the clean pass and the reservation voids the pass.
    """
    uuid = mutant.rig.available()
    monkeypatch.setattr(Patrol, "_set_aside", lambda _self, server, _instance, events, *_: Change(server, events))
    mutant.rig.hardware.machine(uuid).on = True
    mutant.rig.pass_time(1000)
    mutant.rig.hardware.machine(uuid).on = False
    mutant.rig.create(BLUE)
    mutant.rig.settle(60)

    assert mutant.found(uuid) == ("I4", "server.patrolled", "server.state_changed")


# -- addresses


@pytest.mark.parametrize("dual", [(), (BLUE, GREEN)], ids=["IPv4", "of each version"])
def test_an_address_goes_before_its_port(
    mutant: Mutant, monkeypatch: pytest.MonkeyPatch, dual: tuple[str, ...]
) -> None:
    """
    I4: an address of a running instance rests once the port was read off the network, and no other. That as many others
    are left as there are networks is no excuse.
    """
    mutant.rig.addresses.dual |= {*dual}
    uuid = mutant.rig.active(BLUE, GREEN)
    monkeypatch.setattr("services.lifecycle.steps.addresses._still_on", lambda *_: "")
    mutant.plan(IntentKind.DETACH, (N.COOL_ADDRESSES, N.DETACH_NETWORK))
    mutant.rig.ok("DetachNetwork", instance_pb2.DetachNetworkRequest(name=WEB, network=GREEN))
    mutant.rig.settle()

    assert mutant.found(uuid) == ("I4", "port.attach_observed", "address.cooling")


def test_an_address_withdrawn_as_if_it_had_been_an_adoption(mutant: Mutant) -> None:
    """
    I4: only what was leased for an adoption that failed goes without proof.
    """
    uuid = mutant.rig.active(BLUE)
    (lease,) = mutant.rig.server(uuid).leases
    seen = AddressSeen(lease.name, lease.vrf, lease.address, lease.epoch, "cooling")
    mutant.tells(N.REBOOT, lambda ctx: told(ctx, "address.withdrawn", Evidence(addresses=(seen,))))
    mutant.rig.ok("RebootInstance", instance_pb2.RebootInstanceRequest(name=WEB))
    mutant.rig.settle()

    assert mutant.found(uuid) == ("I4", "address.leased", "address.withdrawn")


# -- claims


def test_a_worker_writes_after_it_was_overtaken(mutant: Mutant) -> None:
    """
    I5: nothing counts that was done under an older claim than the newest seen.
    """
    uuid = mutant.rig.active(BLUE)

    def late(ctx: Context) -> Event:
        server = replace(ctx.server, fence=1)
        return replace(told(ctx, "server.noted"), fence=server.fence)

    mutant.tells(N.REBOOT, late)
    mutant.rig.ok("RebootInstance", instance_pb2.RebootInstanceRequest(name=WEB))
    mutant.rig.settle()

    assert mutant.found(uuid)[0] == "I5"
    assert mutant.found(uuid)[2] == "server.noted"


def test_a_port_moved_by_a_worker_that_was_overtaken(mutant: Mutant) -> None:
    """
    I1: a wish that comes late, after the new worker read the ports, shows at the next reading.
    """
    uuid = mutant.rig.active(BLUE)

    def after_the_late_one(ctx: Context, _honest: Act) -> Outcome:
        port = mutant.rig.networks.ports[ctx.server.ports[0].name]
        port.port_class, port.networks = PortClass.TENANT, (Tag(GREEN),)
        readings = mutant.rig.networks.read(ctx.server.uuid, ctx.server.fence)
        evidence = Evidence(ports=tuple(port_seen(reading) for reading in readings))
        return Done(replace(ctx.server, leases=()), (told(ctx, "address.cooling", evidence),))

    mutant.act(N.COOL_ADDRESSES, after_the_late_one)
    delete(mutant)

    assert mutant.found(uuid) == ("I1", "port.detach_observed", "address.cooling")


# -- failures


def going_on(server: Server, instance: Instance | None, events: tuple[Event, ...], now: datetime) -> Change:
    """The next step, as if this one had ended well."""
    return walk.advance(server, instance, events, now)


def at(step: StepName) -> int:
    """Where *step* stands in a deploy."""
    return [each.name for each in plan_of(IntentKind.DEPLOY)].index(step)


def trying_elsewhere(server: Server, instance: Instance | None, events: tuple[Event, ...], now: datetime) -> Change:
    """The whole thing again, on whatever network."""
    intent = Intent(
        "again", IntentKind.DEPLOY, server.task.operation, "lifecycle", now, now, index=at(N.ATTACH_PROVISIONING)
    )
    change = walk.begin(server, instance, intent, now)
    return replace(change, events=(*events, *change.events))


def writing_again(server: Server, instance: Instance | None, events: tuple[Event, ...], now: datetime) -> Change:
    """The image again, at once."""
    intent = Intent("again", IntentKind.DEPLOY, server.task.operation, "lifecycle", now, now, index=at(N.WRITE_IMAGE))
    change = walk.begin(server, instance, intent, now)
    return replace(change, events=(*events, *change.events))


@pytest.mark.parametrize(
    ("then", "later"),
    [
        (going_on, "server.state_changed"),
        (trying_elsewhere, "port.attach_requested"),
        (writing_again, "image.write_requested"),
    ],
)
def test_a_deploy_goes_on_after_it_failed(
    mutant: Mutant,
    monkeypatch: pytest.MonkeyPatch,
    then: Callable[[Server, Instance | None, tuple[Event, ...], datetime], Change],
    later: str,
) -> None:
    """
    I6: after a failure every port is read in quarantine before anything else happens.
    """

    def fail(
        server: Server, instance: Instance | None, events: tuple[Event, ...], now: datetime, *_: object, **__: object
    ) -> Change:
        failed = note(server, server, "server.failed", now, reason="IMAGE_WRITE_FAILED")
        return then(server, instance, (*events, failed), now)

    uuid = mutant.rig.available()
    monkeypatch.setattr(walk, "fail", fail)
    mutant.rig.hardware.machine(uuid).fail_jobs[JobKind.DEPLOY] = 3
    mutant.rig.create(BLUE)
    mutant.rig.settle(60)

    assert mutant.found(uuid) == ("I6", "server.failed", later)


@pytest.mark.parametrize("failed", [True, False])
def test_a_server_led_out_of_quarantine_before_it_is_in_it(
    mutant: Mutant, monkeypatch: pytest.MonkeyPatch, failed: bool
) -> None:
    """
    I6: nothing leaves quarantine before every port was read there, whether a failure or an administrator brought it.
    """
    uuid = mutant.rig.available() if failed else mutant.rig.active(BLUE)
    mutant.rig.networks.unreadable = {mutant.rig.server(uuid).ports[0].name}
    if failed:
        mutant.rig.create(BLUE)
        mutant.rig.pass_time(400)
    else:
        quarantine(mutant, uuid)
    genuine = ServerVerbs.recover

    def recover(self: ServerVerbs, books: object, call: Call, uuid: str, *, take: bool) -> object:
        calm = replace(books.server(uuid), isolated=True)  # type: ignore[attr-defined] # the verb's own books

        class Books:
            """As the verb has them, but for the server."""

            def __getattr__(self, name: str) -> object:
                return (lambda _uuid: calm) if name == "server" else getattr(books, name)

        return genuine(self, Books(), call, uuid, take=take)  # type: ignore[arg-type] # books enough

    monkeypatch.setattr(ServerVerbs, "recover", recover)
    request = server_status_pb2.RecoverServerRequest(name=f"servers/{uuid}", take_from_instance=True)
    mutant.rig.ok("RecoverServer", request, admin())
    mutant.rig.settle(5)

    assert mutant.found(uuid) == ("I6", "server.failed" if failed else "port.detach_requested", "server.state_changed")
