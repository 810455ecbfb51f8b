# SPDX-License-Identifier: Apache-2.0
"""Steps that believe what they should read, or are told less than they should ask for: each is found out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from bms.lifecycle.v1 import instance_pb2, server_status_pb2
from services.kernel.events import DiskSeen, Evidence, ImageSeen, PortSeen, PowerSeen
from services.lifecycle.domain.server import Port, PortClass, Power
from services.lifecycle.domain.states import State
from services.lifecycle.domain.step import StepName
from services.lifecycle.steps.outcomes import Context, Done, Outcome, Waiting
from tests.lifecycle.fake_inventory import SHA
from tests.lifecycle.rig import BLUE, WEB, Rig
from tests.support.wire import admin
from tests.verifier.mutants.mutant import Act, Found, Mutant, told

OLD = timedelta(minutes=1)
DIGEST = b"d" * 32


def delete(rig: Rig, rounds: int = 60) -> None:
    rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB))
    rig.settle(rounds)


def cut(ctx: Context) -> tuple[Port, ...]:
    """The server's ports as whoever does not look takes them to be."""
    return tuple(
        replace(port, observed=PortClass.QUARANTINE, networks=(), requested=None, wanted=())
        for port in ctx.server.ports
    )


# -- ports that nobody looked at


def as_read(read: Callable[[Context, Port], PortSeen]) -> Callable[[Context, Act], Outcome]:
    """Ports are told as *read* says; nothing is read."""

    def made(ctx: Context, _honest: Act) -> Outcome:
        server = replace(ctx.server, ports=cut(ctx), isolated=True)
        seen = Evidence(ports=tuple(read(ctx, port) for port in ctx.server.ports))
        return Done(server, (told(ctx, "port.detach_observed", seen),))

    return made


def assumed_removed(ctx: Context, _honest: Act) -> Outcome:
    """The peer answers that there is no such attachment: taken for done."""
    server = replace(ctx.server, ports=cut(ctx), isolated=True)
    return Done(server, (told(ctx, "port.detach_observed"),))


def not_even_told(ctx: Context, _honest: Act) -> Outcome:
    """As `assumed_removed`, and nothing is recorded."""
    return Done(replace(ctx.server, ports=cut(ctx), isolated=True))


def one_of_two(ctx: Context, _honest: Act) -> Outcome:
    """The first port is read, and the second is taken to be the same."""
    server = replace(ctx.server, ports=cut(ctx), isolated=True)
    last = ctx.server.ports[-1]
    return Done(
        server,
        (told(ctx, "port.detach_observed", Evidence(ports=(PortSeen(last.name, "quarantine", (), ctx.now, DIGEST),))),),
    )


@pytest.mark.parametrize(
    ("made", "found"),
    [
        (assumed_removed, ("I5", "port.detach_observed", "port.detach_observed")),
        (not_even_told, ("I4", "port.detach_requested", "address.cooling")),
        (one_of_two, ("I4", "port.detach_requested", "address.cooling")),
        (
            as_read(lambda ctx, port: PortSeen(port.name, "quarantine", (), ctx.now, b"")),
            ("I5", "port.detach_observed", "port.detach_observed"),
        ),
        (
            as_read(lambda _ctx, port: PortSeen(port.name, "quarantine", (), None, DIGEST)),
            ("I5", "port.detach_observed", "port.detach_observed"),
        ),
        (
            as_read(lambda ctx, port: PortSeen(port.name, "quarantine", (), ctx.now - OLD, DIGEST)),
            ("I5", "port.detach_requested", "port.detach_observed"),
        ),
        (
            as_read(lambda ctx, port: PortSeen(port.name, "quarantine", (), ctx.now - 60 * OLD, DIGEST)),
            ("I5", "port.attach_observed", "port.detach_observed"),
        ),
        (
            as_read(lambda ctx, port: PortSeen(port.name, "unknown", (), ctx.now, DIGEST)),
            ("I5", "port.detach_observed", "port.detach_observed"),
        ),
    ],
    ids=["no such port", "nothing told", "one port of two", "no digest", "no time", "read before it was asked",
         "read long before", "unreadable"],
)  # fmt: skip
def test_a_detach_that_nobody_read(
    mutant: Mutant, made: Callable[[Context, Act], Outcome], found: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    I5: off the network is what was read from the fabric after it was asked for; else I4 when it is relied on.
    """
    uuid = mutant.rig.active(BLUE)
    mutant.rig.clock.advance(600)
    mutant.act(StepName.DETACH_ALL, made)
    monkeypatch.setattr("services.lifecycle.steps.addresses._still_on", lambda *_: "")
    delete(mutant.rig)

    assert mutant.found(uuid) == found


# -- power that nobody looked at


def off(read: Callable[[Context], PowerSeen]) -> Callable[[Context, Act], Outcome]:
    """Power off is told as *read* says; nothing is read."""

    def made(ctx: Context, _honest: Act) -> Outcome:
        return Done(replace(ctx.server, power=Power.OFF), (told(ctx, "power.observed", Evidence(power=read(ctx))),))

    return made


@pytest.mark.parametrize(
    ("made", "found"),
    [
        (off(lambda ctx: PowerSeen("off", ctx.now, b"")), ("I5", "power.observed", "power.observed")),
        (off(lambda ctx: PowerSeen("off", ctx.now - OLD, DIGEST)), ("I5", "power.requested", "power.observed")),
        (off(lambda ctx: PowerSeen("off", ctx.now - 60 * OLD, DIGEST)), ("I5", "power.observed", "power.observed")),
        # A wait that took too long is taken for done: "giving up on host clean up".
        (lambda ctx, _honest: Done(ctx.server), ("I4", "power.requested", "server.state_changed")),
        (
            lambda ctx, _honest: Done(
                ctx.server,
                (told(ctx, "power.observed", Evidence(power=PowerSeen("unknown", ctx.now, DIGEST))),),
            ),
            ("I4", "power.requested", "server.state_changed"),
        ),
    ],
    ids=["no digest", "read before it was asked", "read long before", "given up", "unknown"],
)
def test_a_power_off_that_nobody_read(mutant: Mutant, made: Callable[[Context, Act], Outcome], found: Found) -> None:
    """
    I5: off is what the BMC was read to say after it was asked; else I4 when the ports are taken off.
    """
    uuid = mutant.rig.active(BLUE)
    mutant.rig.clock.advance(600)
    mutant.act(StepName.POWER_OFF, made)
    delete(mutant.rig)

    assert mutant.found(uuid) == found


def test_an_off_from_before_the_disks_were_erased(mutant: Mutant) -> None:
    """
    I5: what was read off before a controller powered it on says nothing of now.
    """
    uuid = mutant.rig.active(BLUE)
    readings: list[PowerSeen] = []

    def made(ctx: Context, honest: Act) -> Outcome:
        outcome = honest(ctx)
        if ctx.server.state is State.CLEANING:
            return Done(ctx.server, (told(ctx, "power.observed", Evidence(power=readings[0])),))
        if isinstance(outcome, Done) and outcome.events[0].evidence and outcome.events[0].evidence.power:
            readings[:] = [outcome.events[0].evidence.power]
            mutant.rig.clock.advance(60)
        return outcome

    mutant.act(StepName.POWER_OFF, made)
    delete(mutant.rig)

    assert mutant.found(uuid) == ("I5", "power.requested", "power.observed")


# -- disks that nobody erased


def passed(covered: Callable[[Context], tuple[DiskSeen, ...]]) -> Callable[[Context, Act], Outcome]:
    """A clean pass is told of the disks that *covered* says, whatever became of it."""

    def made(ctx: Context, honest: Act) -> Outcome:
        if isinstance(outcome := honest(ctx), Waiting):
            return outcome
        return Done(ctx.server, (told(ctx, "clean.passed", Evidence(disks=covered(ctx))),))

    return made


def erased(ctx: Context, serial: str, ago: timedelta = timedelta()) -> DiskSeen:
    """A disk, erased *ago*."""
    return DiskSeen(serial, 10**12, "nvme_format", ctx.now - ago, ctx.now - ago, DIGEST)


@pytest.mark.parametrize(
    "covered",
    [
        lambda ctx: (erased(ctx, "disk-1"),),
        lambda ctx: (erased(ctx, "disk-1"), DiskSeen("disk-2", 10**12)),
        lambda ctx: (erased(ctx, "disk-1"), replace(erased(ctx, "disk-2"), end_time=None)),
        lambda ctx: (erased(ctx, "disk-1", 60 * OLD), erased(ctx, "disk-2", 60 * OLD)),
        lambda ctx: (erased(ctx, "disk-1"), erased(ctx, "disk-2", OLD)),
        lambda ctx: (erased(ctx, "disk-1"), erased(ctx, "disk-2"), erased(ctx, "disk-9")),
        lambda _ctx: (),
    ],
    ids=["skipped a disk", "left a disk", "never ended", "of an earlier pass", "partly of before", "a disk appeared",
         "no disk"],
)  # fmt: skip
def test_a_clean_pass_that_is_none(mutant: Mutant, covered: Callable[[Context], tuple[DiskSeen, ...]]) -> None:
    """
    I4: available only behind a pass that began after the detach and erased exactly what inspection found.
    """
    uuid = mutant.rig.active(BLUE)
    mutant.rig.clock.advance(60)
    mutant.act(StepName.CLEAN, passed(covered))
    delete(mutant.rig)

    assert mutant.found(uuid) == ("I4", "clean.passed", "server.state_changed")


@pytest.mark.parametrize(
    ("made", "found"),
    [
        # "FAILED_DISK_ERASING -> READY"
        (lambda ctx, _honest: Done(ctx.server), ("I4", "clean.requested", "server.state_changed")),
        (passed(lambda ctx: (erased(ctx, "disk-1"), erased(ctx, "disk-2"))), None),
    ],
)
def test_a_failed_erasure_is_passed_over(
    mutant: Mutant, made: Callable[[Context, Act], Outcome], found: Found | None
) -> None:
    """
    I4: a pass that did not end well is none; one that did is one, whoever tells it.
    """
    uuid = mutant.rig.active(BLUE)
    mutant.act(StepName.CLEAN, made)
    delete(mutant.rig)

    assert [mutant.found(uuid)] == [found] if found else mutant.findings(uuid) == ()


def test_a_pass_over_the_disks_of_an_older_inspection(mutant: Mutant) -> None:
    """
    I4: a disk that the newest inspection found and the pass did not is a disk of somebody's.
    """
    uuid = mutant.rig.active(BLUE)
    mutant.rig.ok(
        "QuarantineServer", server_status_pb2.QuarantineServerRequest(name=f"servers/{uuid}", reason="smoke"), admin()
    )
    mutant.rig.settle()
    mutant.rig.hardware.machine(uuid).disks["disk-3"] = "somebody's"
    mutant.act(StepName.CLEAN, passed(lambda ctx: (erased(ctx, "disk-1"), erased(ctx, "disk-2"))))
    request = server_status_pb2.RecoverServerRequest(name=f"servers/{uuid}", take_from_instance=True)
    mutant.rig.ok("RecoverServer", request, admin())
    mutant.rig.settle(60)

    assert mutant.found(uuid) == ("I4", "clean.passed", "server.state_changed")


def test_two_disks_that_answer_to_one_name(mutant: Mutant) -> None:
    """
    I4: of two disks with the same serial number, or none, both must be erased.
    """
    uuid = mutant.rig.register()

    def twice(ctx: Context, honest: Act) -> Outcome:
        if isinstance(outcome := honest(ctx), Done):
            disks = (DiskSeen("", 10**12), DiskSeen("", 10**12))
            return replace(outcome, events=(told(ctx, "disks.inspected", Evidence(disks=disks)),))
        return outcome

    mutant.act(StepName.INSPECT, twice)
    mutant.act(StepName.CLEAN, passed(lambda ctx: (erased(ctx, ""),)))
    mutant.rig.ok("ProvideServer", server_status_pb2.ProvideServerRequest(name=f"servers/{uuid}"), admin())
    mutant.rig.settle(60)

    assert mutant.found(uuid) == ("I4", "clean.passed", "server.state_changed")


# -- images that nobody verified


def verified(image: ImageSeen, instance: str | None = None) -> Callable[[Context, Act], Outcome]:
    """*image* is told as verified, for *instance* if one is given."""

    def made(ctx: Context, honest: Act) -> Outcome:
        if isinstance(outcome := honest(ctx), Waiting):
            return outcome
        return Done(ctx.server, (told(ctx, "image.verified", Evidence(image=image), instance=instance),))

    return made


@pytest.mark.parametrize(
    "made",
    [
        lambda ctx, _honest: Done(ctx.server),
        verified(ImageSeen("images/debian", SHA, "sha256:00", "disk-1")),
        verified(ImageSeen("images/debian", "", "", "disk-1")),
        verified(ImageSeen("images/other", SHA, SHA, "disk-1")),
        verified(ImageSeen("images/debian", SHA, SHA, "disk-1"), "projects/demo/instances/db"),
    ],
    ids=["not at all", "corrupt", "against no checksum", "another image", "for another instance"],
)
def test_an_image_that_nobody_verified(mutant: Mutant, made: Callable[[Context, Act], Outcome]) -> None:
    """
    I3: the tenant's networks are for the image he asked for, read back from the disk, in this hold.
    """
    uuid = mutant.rig.available()
    mutant.act(StepName.WRITE_IMAGE, made)
    mutant.rig.create(BLUE)
    mutant.rig.settle(60)

    assert mutant.found(uuid) == ("I3", "server.state_changed", "port.attach_requested")


def test_a_disk_that_the_deploy_saw_and_passed_over(mutant: Mutant) -> None:
    """
    I2: a disk that no clean pass covered was there when the image was written, and the tenant gets it all the same.
    """

    def blind(ctx: Context, honest: Act) -> Outcome:
        return honest(replace(ctx, server=replace(ctx.server, disks=())))

    uuid = mutant.rig.available()
    mutant.rig.hardware.machine(uuid).disks["disk-9"] = "somebody's"
    mutant.act(StepName.WRITE_IMAGE, blind)
    mutant.rig.create(BLUE)
    mutant.rig.settle(60)

    assert mutant.found(uuid) == ("I2", "image.verified", "port.attach_requested")


def test_the_verification_of_the_tenant_before(mutant: Mutant) -> None:
    """
    I3: what was verified in another hold says nothing of this one, of the same image and name either.
    """
    uuid = mutant.rig.active(BLUE)
    delete(mutant.rig, 400)
    mutant.act(StepName.WRITE_IMAGE, lambda ctx, _honest: Done(ctx.server))
    mutant.rig.create(BLUE)
    mutant.rig.settle(60)

    assert mutant.found(uuid) == ("I3", "server.state_changed", "port.attach_requested")
