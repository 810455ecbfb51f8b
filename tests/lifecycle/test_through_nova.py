# SPDX-License-Identifier: Apache-2.0
"""Instances whose servers Nova deploys: held by that alone, in the order of any other; and what losing leaves."""

from __future__ import annotations

from services.kernel.effect import observed
from services.lifecycle.domain.instance import InstanceState
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.server import PortClass
from services.lifecycle.domain.states import State
from services.lifecycle.domain.step import StepName
from services.lifecycle.ports import Booking, JobKind, JobOrder
from tests.lifecycle.portrait import assert_sound
from tests.lifecycle.rig import BLUE, WEB, Rig
from tests.lifecycle.test_crashes import delete, quarantine, stop

NOVA = "flavors/nova"


def order_of(rig: Rig, uuid: str) -> JobOrder:
    """What the hardware was last told to deploy."""
    orders = [order for order, _ in rig.hardware.machine(uuid).jobs.values() if order.kind is JobKind.DEPLOY]
    return orders[-1]


def test_it_is_held_by_being_deployed_and_until_it_is_clean(rig: Rig) -> None:
    """
    Nova is told flavor, image and the leases whose ports it gets; nobody is told of a hold before. Given back, the hold
    lasts until the server is clean.
    """
    uuid = rig.available()
    before = len(rig.types(uuid))
    operation = rig.create(BLUE, flavor=NOVA)
    rig.settle()
    types, server = rig.types(uuid)[before:], rig.server(uuid)

    assert rig.operation(operation)[0].HasField("response")
    assert rig.operation(operation)[1].verb == "create"
    assert server.state is State.ACTIVE
    order = ("address.leased", "port.attach_requested", "server.held", "image.write_requested", "image.verified")
    assert sorted(order, key=types.index) == list(order)
    (lease,) = server.leases
    assert order_of(rig, uuid).booking == Booking(WEB, "demo", "f-1", "g-1", (lease.name,))
    (hold,) = rig.hardware.machine(uuid).holders

    stop(rig, uuid)
    rig.settle()
    assert rig.hardware.machine(uuid).holders == (hold,)
    delete(rig, uuid)
    rig.settle()
    assert rig.hardware.machine(uuid).holders == ()
    assert rig.server(uuid).state is State.AVAILABLE
    assert_sound(rig, uuid)


def test_another_flavor_is_deployed_by_the_controller_itself(rig: Rig) -> None:
    """
    Only the flavor says whose way it is.
    """
    uuid = rig.active(BLUE)
    assert order_of(rig, uuid).booking is None


def test_who_lost_before_it_began_leaves_no_trace(rig: Rig) -> None:
    """
    The controllers do not offer it any more: no address, no port, no power; another server is taken.
    """
    first, second = rig.available(1), rig.available(2)
    rig.hardware.machine(first).taken = True
    touched = len(rig.hardware.history), len(rig.networks.history)
    rig.create(BLUE, flavor=NOVA)
    rig.settle()
    instance = rig.instance()

    assert instance is not None
    assert (instance.state, instance.server) == (InstanceState.ACTIVE, second)
    assert {name for name, _ in rig.hardware.history[touched[0] :]} == {second}
    assert (rig.server(first).state, rig.server(first).fault) == (State.QUARANTINED, "TAKEN_ELSEWHERE")


def test_who_lost_late_takes_everything_back_before_seeking_anew(rig: Rig) -> None:
    """
    Somebody else got it while Nova was being asked: its ports are in quarantine again and its address rests before the
    instance is placed anew, and nothing is asked of its power.
    """
    first, second = rig.available(1), rig.available(2)
    rig.hardware.machine(first).taken_by_then = True
    done, acts = len(rig.types(first)), len(rig.hardware.history)
    operation = rig.create(BLUE, flavor=NOVA)
    rig.settle()
    instance, server, types = rig.instance(), rig.server(first), rig.types(first)[done:]

    assert instance is not None
    assert (instance.state, instance.server) == (InstanceState.ACTIVE, second)
    assert rig.operation(operation)[0].HasField("response")
    assert (server.state, server.fault, server.instance, server.leases) == (
        State.QUARANTINED, "TAKEN_ELSEWHERE", "", (),
    )  # fmt: skip
    assert server.isolated
    order = ("server.failed", "port.detach_requested", "port.detach_observed", "address.cooling", "instance.ended")
    assert sorted(order, key=types.index) == list(order)
    assert "image.write_requested" not in types
    assert {name for name, _ in rig.hardware.history[acts:]} == {second}
    assert {port.port_class for name, port in rig.networks.ports.items() if first in name} == {PortClass.QUARANTINE}
    assert rig.inventory.reserved == {WEB: second}
    assert_sound(rig, second)


def test_what_nova_has_not_is_refused_with_its_name(rig: Rig) -> None:
    """
    An image that is not in Glance: the deployment fails and says which, and the server was not touched.
    """
    uuid = rig.available()
    rig.inventory.in_glance = ""
    operation = rig.create(BLUE, flavor=NOVA)
    rig.settle()

    assert "images/debian is not in Glance" in rig.operation(operation)[0].error.message
    assert rig.server(uuid).state is State.AVAILABLE


def test_the_verb_is_one(rig: Rig) -> None:
    """
    Both ways are the verb create to people.
    """
    assert {one.verb for one in (IntentKind.DEPLOY, IntentKind.DEPLOY_NOVA, IntentKind.PLACE_ANEW)} == {"create"}


def test_who_is_set_aside_on_the_way_to_another_hears_of_it(rig: Rig) -> None:
    """
    An administrator quarantines the server while it is taken back: the tenant's operation ends, and says so.
    """
    uuid = rig.available()
    rig.hardware.machine(uuid).taken_by_then = True
    operation = rig.create(BLUE, flavor=NOVA)

    def away(label: str, _when: str) -> None:
        rig.addresses.silent |= label == "bmc.start_deploy"

    with observed(away):
        rig.pass_time(30)
    intent = rig.server(uuid).intent
    assert intent is not None
    assert (intent.kind, intent.step.name) == (IntentKind.PLACE_ANEW, StepName.COOL_ADDRESSES)
    quarantine(rig, uuid)
    rig.addresses.silent = False
    rig.settle()
    instance = rig.instance()

    assert instance is not None
    assert (instance.state, instance.operation) == (InstanceState.ERROR, "")
    assert "an administrator set the server aside" in rig.operation(operation)[0].error.message
