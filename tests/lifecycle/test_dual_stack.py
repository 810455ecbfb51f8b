# SPDX-License-Identifier: Apache-2.0
"""An address of each IP version: leased together, told to whoever boots, and given back together."""

from __future__ import annotations

import ipaddress

import orjson
import pytest

from bms.lifecycle.v1 import instance_pb2
from services.lifecycle.config_drive import config_drive
from services.lifecycle.domain.instance import InstanceState
from services.lifecycle.domain.server import PortClass, Tag
from services.lifecycle.domain.states import State
from services.verifier.verdict import Verdict
from tests.lifecycle.rig import BLUE, GREEN, WEB, Rig, create_request
from tests.lifecycle.test_adopting import in_use
from tests.support.judging import judged, stored_events
from tests.support.stores import MakeDatabase
from tests.support.wire import admin


@pytest.fixture
def rig(make_database: MakeDatabase) -> Rig:
    """One lifecycle, whose network blue has addresses of both versions."""
    rig = Rig(make_database("services.lifecycle"))
    rig.addresses.dual.add(BLUE)
    return rig


def addresses(rig: Rig) -> list[tuple[str, int]]:
    """The networks and IP versions of the instance's interfaces."""
    instance = rig.instance()
    assert instance is not None
    return [(face.network, ipaddress.ip_address(face.address).version) for face in instance.interfaces]


def states(rig: Rig) -> list[str]:
    """How the leases that were ever granted stand, in order."""
    return [state for _, _, state in rig.addresses.leases.values()]


def verdicts(rig: Rig) -> set[Verdict]:
    return {report.verdict for report in judged("lifecycle", stored_events(rig.database, rig.log)).values()}


def test_an_instance_has_one_of_each(rig: Rig) -> None:
    """
    Both are told by one event that says for which network; one logs in to IPv4, and the config drive has both.
    """
    uuid = rig.active(BLUE, GREEN)

    instance, server = rig.instance(), rig.server(uuid)
    assert instance is not None
    assert addresses(rig) == [(BLUE, 4), (BLUE, 6), (GREEN, 4)]
    assert all(face.connected and face.lease for face in instance.interfaces)
    assert instance.login_address == instance.interfaces[0].address
    leased = [event for event in rig.events(f"servers/{uuid}") if event.header.type == "address.leased"]
    assert [[one.network for one in event.body.evidence.addresses] for event in leased] == [[BLUE, BLUE], [GREEN]]
    drive = orjson.loads(config_drive(instance, b"", server.ports))["network_data"]
    assert [(one["type"], one["ip_address"]) for one in drive["networks"]] == [
        (f"ipv{version}", face.address) for (_, version), face in zip(addresses(rig), instance.interfaces, strict=True)
    ]
    assert drive["networks"][0]["link"] == drive["networks"][1]["link"]


def test_detached_it_has_none_of_that_network(rig: Rig) -> None:
    """
    Both rest once the port was read off, and the other network keeps its own.
    """
    uuid = rig.active(BLUE, GREEN)
    rig.ok("DetachNetwork", instance_pb2.DetachNetworkRequest(name=WEB, network=BLUE))
    rig.settle()

    assert addresses(rig) == [(GREEN, 4)]
    assert [lease.network for lease in rig.server(uuid).leases] == [GREEN]
    assert states(rig) == ["cooling", "cooling", "leased"]
    assert verdicts(rig) == {Verdict.PASS}


def test_given_back_both_rest(rig: Rig) -> None:
    """
    As one: the server is free only when it holds neither.
    """
    uuid = rig.active(BLUE)
    rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB))
    rig.settle()

    assert rig.server(uuid).state is State.AVAILABLE
    assert rig.server(uuid).leases == ()
    assert states(rig) == ["cooling", "cooling"]
    assert verdicts(rig) == {Verdict.PASS}


def test_the_very_addresses(rig: Rig) -> None:
    """
    One of each version may be named; one that somebody has fails the instance, which then holds neither.
    """
    rig.available(1)
    wish = instance_pb2.InstanceNetwork(network=BLUE, fixed_addresses=["2001:db8::77", "10.0.0.77"])
    request = create_request(BLUE)
    request.instance.networks[0].CopyFrom(wish)
    rig.ok("CreateInstance", request)
    rig.settle()
    instance = rig.instance()
    assert instance is not None
    assert [face.address for face in instance.interfaces] == ["10.0.0.77", "2001:db8::77"]
    assert list(rig.wire.ok("GetInstance", instance_pb2.GetInstanceRequest(name=WEB)).networks) == [wish]

    rig.available(2)
    request.instance_id = "other"
    request.instance.networks[0].fixed_addresses[1] = "10.0.0.78"
    rig.ok("CreateInstance", request)
    rig.settle()
    other = rig.instance(WEB.replace("web", "other"))
    assert other is not None
    assert other.state is InstanceState.ERROR
    assert states(rig) == ["leased", "leased"]


def test_a_server_that_is_adopted_keeps_what_it_has(rig: Rig) -> None:
    """
    It is given no address that nobody would tell it of.
    """
    uuid = in_use(rig, *((PortClass.TENANT, (Tag(network),)) for network in (BLUE, GREEN)))
    request = instance_pb2.AdoptServerRequest(
        name=f"servers/{uuid}", parent="projects/demo", instance_id="web",
        instance=instance_pb2.Instance(
            flavor="flavors/any",
            image="images/debian",
            networks=[
                instance_pb2.InstanceNetwork(network=BLUE, fixed_addresses=["10.0.0.8"]),
                instance_pb2.InstanceNetwork(network=GREEN, fixed_addresses=["10.0.0.9", "2001:db8::9"]),
            ],
        ),
    )  # fmt: skip
    rig.ok("AdoptServer", request, admin())
    rig.settle()

    assert rig.server(uuid).state is State.ACTIVE
    assert addresses(rig) == [(BLUE, 4), (GREEN, 4), (GREEN, 6)]
