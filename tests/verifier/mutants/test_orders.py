# SPDX-License-Identifier: Apache-2.0
"""Wrong orders of steps, most of them found in systems in use: each is found out by the two events that show it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from bms.lifecycle.v1 import instance_pb2, server_status_pb2
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.states import State, Trigger
from services.lifecycle.domain.step import StepName
from tests.lifecycle.rig import BLUE, GREEN, WEB
from tests.support.wire import admin
from tests.verifier.mutants.mutant import Found, Mutant, Order

N, T = StepName, Trigger

TO_CLEAN: Order = ((N.ATTACH_CLEANING, T.DETACHED), N.CLEAN, N.POWER_OFF, N.DETACH_ALL, (N.REPORT, T.CLEANED))
OFF: Order = (N.POWER_OFF, (N.DETACH_ALL, T.POWERED_OFF))
TO_TENANT: Order = (N.ATTACH_TENANT, N.POWER_ON, (N.REPORT, T.SWITCHED))
IMAGE: Order = ((N.ATTACH_PROVISIONING, T.PROVISION), N.WRITE_IMAGE)


@dataclass(frozen=True)
class Case:
    """A wrong order, and what must be found."""

    name: str
    order: Order
    found: Found


RELEASES = [
    # The interface's address goes with the interface, and power comes last.
    Case(
        "addresses go before power",
        (N.DETACH_ALL, N.COOL_ADDRESSES, N.POWER_OFF, (N.END_INSTANCE, T.POWERED_OFF), *TO_CLEAN),
        ("I4", "address.leased", "address.cooling"),
    ),
    Case(
        "the allocation goes first and the network last",
        (N.END_INSTANCE, N.POWER_OFF, N.COOL_ADDRESSES, (N.DETACH_ALL, T.POWERED_OFF), *TO_CLEAN),
        ("I4", "port.attach_observed", "instance.ended"),
    ),
    Case(
        "the instance ends before its ports are cut",
        (N.POWER_OFF, (N.END_INSTANCE, T.POWERED_OFF), N.DETACH_ALL, N.COOL_ADDRESSES, *TO_CLEAN),
        ("I4", "port.attach_observed", "instance.ended"),
    ),
    Case(
        "the instance ends while it may run",
        (N.DETACH_ALL, N.END_INSTANCE, N.POWER_OFF, (N.COOL_ADDRESSES, T.POWERED_OFF), *TO_CLEAN),
        ("I4", "power.requested", "instance.ended"),
    ),
    Case(
        "ports are cut as if it were off",
        (N.REPORT, (N.DETACH_ALL, T.POWERED_OFF), N.POWER_OFF, N.COOL_ADDRESSES, N.END_INSTANCE, *TO_CLEAN),
        ("I4", "power.requested", "server.state_changed"),
    ),
    Case(
        "cleaning joins before the tenant's networks are left",
        (N.POWER_OFF, (N.REPORT, T.POWERED_OFF), *TO_CLEAN),
        ("I1", "port.attach_observed", "port.attach_requested"),
    ),
    Case(
        "cleaning joins while addresses are held",
        (*OFF, N.END_INSTANCE, *TO_CLEAN[:-1], N.COOL_ADDRESSES, TO_CLEAN[-1]),
        ("I4", "address.leased", "port.attach_observed"),
    ),
    Case(
        "cleaning joins while the instance holds it",
        (*OFF, N.COOL_ADDRESSES, *TO_CLEAN[:-1], N.END_INSTANCE, TO_CLEAN[-1]),
        ("I4", "server.state_changed", "port.attach_requested"),
    ),
    Case(
        "cleaning joins before power off",
        (N.DETACH_ALL, N.REPORT, (N.REPORT, T.POWERED_OFF), *TO_CLEAN),
        ("I4", "power.requested", "server.state_changed"),
    ),
    Case(
        "nothing is erased",
        (*OFF, N.COOL_ADDRESSES, N.END_INSTANCE, (N.REPORT, T.DETACHED), (N.REPORT, T.CLEANED)),
        ("I4", "image.write_requested", "server.state_changed"),
    ),
    Case(
        "erasing begins before its ports are cut",
        (N.POWER_OFF, N.CLEAN, N.POWER_OFF, (N.DETACH_ALL, T.POWERED_OFF), N.COOL_ADDRESSES, N.END_INSTANCE,
         (N.REPORT, T.DETACHED), (N.REPORT, T.CLEANED)),
        ("I4", "clean.passed", "server.state_changed"),
    ),
    Case(
        "it is offered while it runs",
        (*OFF, N.COOL_ADDRESSES, N.END_INSTANCE, *TO_CLEAN[:2], N.DETACH_ALL, TO_CLEAN[-1]),
        ("I4", "clean.requested", "server.state_changed"),
    ),
    Case(
        "it is offered while it is on the cleaning network",
        (*OFF, N.COOL_ADDRESSES, N.END_INSTANCE, *TO_CLEAN[:3], TO_CLEAN[-1]),
        ("I4", "port.attach_observed", "server.state_changed"),
    ),
    Case(
        "it is offered with an address",
        (*OFF, N.END_INSTANCE, (N.CLEAN, T.DETACHED), N.POWER_OFF, (N.REPORT, T.CLEANED)),
        ("I4", "address.leased", "server.state_changed"),
    ),
]  # fmt: skip

DEPLOYS = [
    Case(
        "never powered off",
        (N.LEASE_ADDRESSES, *IMAGE, (N.DETACH_ALL, T.IMAGED), *TO_TENANT),
        ("I3", "image.write_requested", "port.attach_requested"),
    ),
    Case(
        "on again before its ports move",
        (N.LEASE_ADDRESSES, *IMAGE, N.POWER_OFF, (N.DETACH_ALL, T.IMAGED), N.POWER_ON, *TO_TENANT),
        ("I3", "power.requested", "port.attach_requested"),
    ),
    Case(
        "never written",
        (N.LEASE_ADDRESSES, IMAGE[0], N.POWER_OFF, (N.DETACH_ALL, T.IMAGED), *TO_TENANT),
        ("I3", "server.state_changed", "port.attach_requested"),
    ),
    Case(
        "joins its tenant's networks before it is written",
        (N.LEASE_ADDRESSES, (N.ATTACH_TENANT, T.PROVISION), N.WRITE_IMAGE, (N.POWER_OFF, T.IMAGED), *TO_TENANT[1:]),
        ("I3", "server.state_changed", "port.attach_requested"),
    ),
    Case(
        "from one network straight to the other",
        (N.LEASE_ADDRESSES, *IMAGE, (N.POWER_OFF, T.IMAGED), *TO_TENANT),
        ("I1", "port.attach_observed", "port.attach_requested"),
    ),
]

VERBS = [
    ("Rebuild", IntentKind.REBUILD, Case(
        "the tenant's system boots on the provisioning network",
        (N.DETACH_ALL, N.ATTACH_PROVISIONING, N.WRITE_IMAGE, N.POWER_OFF, (N.DETACH_ALL, T.IMAGED), *TO_TENANT),
        ("I3", "image.write_requested", "port.attach_requested"),
    )),
    ("Rebuild", IntentKind.REBUILD, Case(
        "tenant and provisioning at once",
        (N.POWER_OFF, N.ATTACH_PROVISIONING, N.WRITE_IMAGE, N.POWER_OFF, (N.DETACH_ALL, T.IMAGED), *TO_TENANT),
        ("I1", "port.attach_observed", "port.attach_requested"),
    )),
    ("Rebuild", IntentKind.REBUILD, Case(
        "written on the tenant's network",
        (N.POWER_OFF, N.WRITE_IMAGE, N.POWER_OFF, (N.DETACH_ALL, T.IMAGED), *TO_TENANT),
        ("I3", "port.attach_observed", "image.write_requested"),
    )),
    ("Rebuild", IntentKind.REBUILD, Case(
        "the writer runs on the tenant's network",
        (N.POWER_OFF, N.DETACH_ALL, N.ATTACH_PROVISIONING, N.WRITE_IMAGE, (N.DETACH_ALL, T.IMAGED), *TO_TENANT),
        ("I3", "image.write_requested", "port.attach_requested"),
    )),
    ("Rescue", IntentKind.RESCUE, Case(
        "the tenant's system boots on the rescue network",
        (N.DETACH_ALL, N.ATTACH_RESCUE, N.BOOT_RESCUE, (N.REPORT, T.BOOTED)),
        ("I3", "image.write_requested", "port.attach_requested"),
    )),
    ("Rescue", IntentKind.RESCUE, Case(
        "tenant and rescue at once",
        (N.POWER_OFF, N.ATTACH_RESCUE, N.BOOT_RESCUE, (N.REPORT, T.BOOTED)),
        ("I1", "port.attach_observed", "port.attach_requested"),
    )),
    ("Unrescue", IntentKind.UNRESCUE, Case(
        "the rescue system comes onto the tenant's network",
        ((N.DETACH_ALL, T.UNRESCUE), *TO_TENANT),
        ("I3", "rescue.requested", "port.attach_requested"),
    )),
    ("Unrescue", IntentKind.UNRESCUE, Case(
        "from the rescue network straight to the tenant's",
        (N.POWER_OFF, (N.ATTACH_TENANT, T.UNRESCUE), *TO_TENANT[1:]),
        ("I1", "port.attach_observed", "port.attach_requested"),
    )),
    ("Start", IntentKind.START, Case(
        "on before its ports return",
        (N.POWER_ON, N.ATTACH_TENANT),
        ("I3", "power.requested", "port.attach_requested"),
    )),
]  # fmt: skip


@pytest.mark.parametrize("case", RELEASES, ids=lambda case: case.name)
def test_a_server_given_back_in_a_wrong_order(mutant: Mutant, case: Case) -> None:
    """
    I4 (I1 where two worlds meet): the earlier event shows what still stood, the later one what was done all the same.
    """
    uuid = mutant.rig.active(BLUE)
    mutant.plan(IntentKind.RELEASE, case.order)
    mutant.rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB))
    mutant.rig.settle(rounds=60)

    assert mutant.found(uuid) == case.found


@pytest.mark.parametrize("case", DEPLOYS, ids=lambda case: case.name)
def test_a_server_given_out_in_a_wrong_order(mutant: Mutant, case: Case) -> None:
    """
    I3: the tenant's networks are left for last, for a server that was read off, with an image that was verified.
    """
    uuid = mutant.rig.available()
    mutant.plan(IntentKind.DEPLOY, case.order)
    mutant.rig.create(BLUE)
    mutant.rig.settle()

    assert mutant.rig.server(uuid).state is State.ACTIVE
    assert mutant.found(uuid) == case.found


@pytest.mark.parametrize(("verb", "kind", "case"), VERBS, ids=lambda one: getattr(one, "name", ""))
def test_a_verb_of_the_tenants_in_a_wrong_order(mutant: Mutant, verb: str, kind: IntentKind, case: Case) -> None:
    """
    Rebuild, rescue and start lead through private networks and quarantine in the same strict order.
    """
    uuid = mutant.rig.active(BLUE)
    for before in {"Unrescue": ("Rescue",), "Start": ("Stop",)}.get(verb, ()):
        mutant.rig.ok(f"{before}Instance", getattr(instance_pb2, f"{before}InstanceRequest")(name=WEB))
        mutant.rig.settle()
    mutant.plan(kind, case.order)
    mutant.rig.ok(f"{verb}Instance", getattr(instance_pb2, f"{verb}InstanceRequest")(name=WEB))
    mutant.rig.settle()

    assert mutant.rig.server(uuid).intent is None
    assert mutant.found(uuid) == case.found


def test_the_only_network_back_on_a_running_server(mutant: Mutant) -> None:
    """
    I3: a server that ran in quarantine may have been anybody's; it is powered off before its ports return.
    """
    uuid = mutant.rig.active(BLUE)
    mutant.rig.ok("DetachNetwork", instance_pb2.DetachNetworkRequest(name=WEB, network=BLUE))
    mutant.rig.settle()
    mutant.plan(IntentKind.ATTACH_RESTART, (N.LEASE_ADDRESSES, N.ATTACH_TENANT))
    green = instance_pb2.InstanceNetwork(network=GREEN)
    mutant.rig.ok("AttachNetwork", instance_pb2.AttachNetworkRequest(name=WEB, network=green))
    mutant.rig.settle()

    assert mutant.found(uuid) == ("I3", "power.requested", "port.attach_requested")


@pytest.mark.parametrize(
    ("order", "found"),
    [
        # "Not much else we can do": the addresses go though nobody knows whether it runs.
        (
            (N.DETACH_ALL, N.COUNT_ADDRESSES, (N.END_INSTANCE, T.QUARANTINE), N.COOL_ADDRESSES),
            ("I4", "address.leased", "address.cooling"),
        ),
        # "Mark it ready without delay."
        (
            (N.DETACH_ALL, (N.END_INSTANCE, T.QUARANTINE), (N.REPORT, T.CLEANED)),
            ("I4", "image.write_requested", "server.state_changed"),
        ),
    ],
)
def test_a_silent_bmc_is_taken_for_off(mutant: Mutant, order: Order, found: Found) -> None:
    """
    I4: what cannot be read is not off; addresses and server are kept.
    """
    uuid = mutant.rig.active(BLUE)
    mutant.plan(IntentKind.RELEASE_SILENT, order)
    mutant.move(State.QUARANTINED, T.CLEANED, State.AVAILABLE)
    mutant.rig.hardware.machine(uuid).silent = True
    mutant.rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB))
    mutant.rig.pass_time(400)

    assert mutant.found(uuid) == found


@pytest.mark.parametrize(
    ("order", "found"),
    [
        ((N.VERIFY_BMC, N.REGISTER_PORTS, N.POWER_OFF, (N.INSPECT, T.VERIFIED), (N.REPORT, T.INSPECTED),
          (N.REPORT, T.CLEANED)), ("I4", "server.state_changed", "server.state_changed")),
        ((N.VERIFY_BMC, N.REGISTER_PORTS, (N.INSPECT, T.VERIFIED), (N.ATTACH_CLEANING, T.INSPECTED), N.CLEAN,
          N.POWER_OFF, N.DETACH_ALL, (N.REPORT, T.CLEANED)), ("I4", "inspection.requested", "port.attach_requested")),
    ],
    ids=["nothing is erased", "what lay on its disks boots on the cleaning network"],
)  # fmt: skip
def test_a_server_provided_in_a_wrong_order(mutant: Mutant, order: Order, found: Found) -> None:
    """
    I4: registered is not available; a clean pass comes before the first tenant too.
    """
    uuid = mutant.rig.register()
    mutant.plan(IntentKind.PROVIDE, order)
    mutant.rig.ok("ProvideServer", server_status_pb2.ProvideServerRequest(name=f"servers/{uuid}"), admin())
    mutant.rig.settle()

    assert mutant.rig.server(uuid).state is State.AVAILABLE
    assert mutant.found(uuid) == found
