# SPDX-License-Identifier: Apache-2.0
"""Networks by a Neutron: made there, taken over from there, refused, removed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from bms.network.v1 import network_pb2 as net
from services.kernel.effect import observed
from services.kernel.errors import Corrupt
from services.network.backends.neutron import NeutronFabric
from services.network.backends.neutron_networks import NeutronNetworks
from services.network.domain.networks import PortClass
from services.runtime.database import Database
from services.runtime.neutron import Neutron
from tests.network.conftest import CLASSES, Site, refusal
from tests.support.neutron import OWN, FakeNeutron
from tests.support.wire import Reply, member

DEMO = "de" * 16
OTHER = "b2" * 16
SITES = "c3" * 16


class Cloud(Site):
    """A network service over a Neutron that has no network yet."""

    def __init__(self, database: Database, folder: Path, fake: FakeNeutron, physical: str = "") -> None:
        api = Neutron(fake, OWN)
        super().__init__(
            database, folder, lambda clock: NeutronFabric(api, clock), NeutronNetworks(api, physical, [SITES])
        )

    def create(self, name: str, port_class: str = "tenant", vlan: int = 0, **more: Any) -> Reply:
        _, project, _, network_id = name.split("/")
        request = net.CreateNetworkRequest(
            parent=f"projects/{project}",
            network_id=network_id,
            network=net.Network(network_class=CLASSES[port_class], vlan_id=vlan),
            **more,
        )
        return self.wire.call("CreateNetwork", request)

    def delete(self, name: str, **more: Any) -> Reply:
        return self.wire.call("DeleteNetwork", net.DeleteNetworkRequest(name=name, **more))


@pytest.fixture
def fake() -> FakeNeutron:
    return FakeNeutron()


@pytest.fixture
def cloud(database: Database, tmp_path: Path, fake: FakeNeutron) -> Iterator[Cloud]:
    made = Cloud(database, tmp_path, fake)
    yield made
    made.close()


@pytest.fixture
def vlans(database: Database, tmp_path: Path, fake: FakeNeutron) -> Iterator[Cloud]:
    made = Cloud(database, tmp_path, fake, "physnet1")
    yield made
    made.close()


def ok(reply: Reply) -> Any:
    assert reply.code is grpc.StatusCode.OK, reply
    return reply.message


def named(ident: str, project: str = DEMO) -> str:
    return f"projects/{project}/networks/{ident}"


def test_a_network_is_made_there_and_here(cloud: Cloud, fake: FakeNeutron) -> None:
    """
    It belongs to the project, bears our mark in both places, and its segment is what Neutron chose.
    """
    made = ok(cloud.create(named("web")))

    (there,) = fake.networks.values()
    assert (there["project_id"], there["shared"]) == (DEMO, False)
    assert (there["description"], there["tags"]) == ("bms-network=web", ["bms-network=web"])
    assert (made.vlan_id, made.vni) == (there["provider:segmentation_id"], 0)
    ok(cloud.delete(named("web")))
    assert fake.networks == {}
    assert cloud.wire.call("GetNetwork", net.GetNetworkRequest(name=named("web"))).code is grpc.StatusCode.NOT_FOUND


def test_a_vxlan_has_no_vlan_of_its_own(cloud: Cloud, fake: FakeNeutron) -> None:
    """
    Two networks without a VLAN stand beside each other, and their identifiers are VNIs.
    """
    made = []
    for number in (50_001, 50_002):
        there = fake.network(DEMO, **{"provider:network_type": "vxlan", "provider:segmentation_id": number})
        made.append(ok(cloud.create(named(there["id"]))))

    assert [(one.vlan_id, one.vni) for one in made] == [(0, 50_001), (0, 50_002)]


def test_a_vlan_can_be_asked_for_where_a_physical_network_is_named(vlans: Cloud, fake: FakeNeutron) -> None:
    """
    It is made with that VLAN; one that is taken is refused and leaves nothing.
    """
    made = ok(vlans.create(named("web"), vlan=321))
    (there,) = fake.networks.values()
    taken = vlans.create(named("db"), vlan=321)

    assert (made.vlan_id, there["provider:segmentation_id"], there["provider:physical_network"]) == (
        321,
        321,
        "physnet1",
    )
    assert refusal(taken)[:2] == (grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS")
    assert len(fake.networks) == 1


def test_a_vlan_cannot_be_asked_for_where_neutron_chooses(cloud: Cloud, fake: FakeNeutron) -> None:
    """
    The field is named, nothing is made.
    """
    reply = cloud.create(named("web"), vlan=321)

    assert refusal(reply) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", ["network.vlan_id"])
    assert fake.told == []


def test_a_network_of_others_is_taken_over_and_left(cloud: Cloud, fake: FakeNeutron) -> None:
    """
    Its UUID is its id with us; it is not changed, and it stays when ours is removed.
    """
    there = fake.network(DEMO)
    before = dict(there)
    fake.told.clear()
    made = ok(cloud.create(named(there["id"])))
    ok(cloud.delete(named(there["id"])))

    assert made.vlan_id == there["provider:segmentation_id"]
    assert fake.networks[there["id"]] == before
    assert fake.told == []


@pytest.mark.parametrize(
    ("there", "port_class", "expected"),
    [
        ({"project_id": OTHER}, "tenant", (grpc.StatusCode.NOT_FOUND, "NOT_FOUND", [])),
        (
            {"provider:network_type": "flat"},
            "tenant",
            (grpc.StatusCode.FAILED_PRECONDITION, "ISOLATION_IMPOSSIBLE", []),
        ),
        (
            {"provider:network_type": "local"},
            "tenant",
            (grpc.StatusCode.FAILED_PRECONDITION, "ISOLATION_IMPOSSIBLE", []),
        ),
        (
            {"provider:network_type": None, "segments": [{}, {}]},
            "tenant",
            (grpc.StatusCode.FAILED_PRECONDITION, "ISOLATION_IMPOSSIBLE", []),
        ),
        ({"router:external": True}, "tenant", (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", ["network_id"])),
        ({}, "cleaning", (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", ["network_id"])),
        (
            {"project_id": OWN, "shared": True},
            "cleaning",
            (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", ["network_id"]),
        ),
    ],
)
def test_networks_that_are_not_taken_over(
    cloud: Cloud, fake: FakeNeutron, there: dict[str, Any], port_class: str, expected: tuple[Any, ...]
) -> None:
    """
    Another project's does not exist; one that keeps nobody apart, an external one, and a private class on a tenant's or
    a shared one are refused with their reason.
    """
    found = fake.network(**{"project_id": DEMO, **there})
    if "segments" in there:
        found["provider:network_type"] = None
    name = named(found["id"], "site" if port_class == "cleaning" else DEMO)

    assert refusal(cloud.create(name, port_class)) == expected
    assert refusal(cloud.create(name, port_class, validate_only=True)) == expected


def test_one_that_is_not_there_is_not_found(cloud: Cloud, fake: FakeNeutron) -> None:
    """
    An id that is a UUID is Neutron's, and is not made.
    """
    reply = cloud.create(named(str(uuid.uuid4())))

    assert refusal(reply)[:2] == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
    assert fake.networks == {}


def test_a_site_that_makes_flat_networks_is_told(cloud: Cloud, fake: FakeNeutron) -> None:
    """
    What Neutron made and nobody can be kept apart on is taken away again.
    """
    real = fake._new_network

    def flat(thing: dict[str, Any]) -> None:
        thing["provider:network_type"] = "flat"
        real(thing)

    fake._new_network = flat  # type: ignore[method-assign]  # this Neutron's tenant_network_types
    reply = cloud.create(named("web"))

    assert refusal(reply)[:2] == (grpc.StatusCode.FAILED_PRECONDITION, "ISOLATION_IMPOSSIBLE")
    assert fake.networks == {}


def test_private_networks_live_with_us_or_in_projects_that_were_named(cloud: Cloud, fake: FakeNeutron) -> None:
    """
    One made by us is in the project of our login; one of a project of the settings may be taken over; a tenant's
    project gets none.
    """
    ok(cloud.create("projects/site/networks/cleaning", "cleaning"))
    assert [one["project_id"] for one in fake.networks.values()] == [OWN]
    theirs = fake.network(SITES)
    ok(cloud.create(named(theirs["id"], "site"), "provisioning"))
    reply = cloud.create(named("rescue"), "rescue")

    assert refusal(reply) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", ["network_id"])
    assert len(fake.networks) == 2


def test_two_of_our_networks_are_never_one_of_neutrons(cloud: Cloud, fake: FakeNeutron) -> None:
    """
    Two classes, or two projects by a shared network, cannot be the same network there.
    """
    own = fake.network(OWN)
    ok(cloud.create(named(own["id"], "site"), "cleaning"))
    reply = cloud.create(named(own["id"], "lab"), "provisioning")
    assert refusal(reply)[:2] == (grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS")
    assert own["id"] in fake.networks

    shared = fake.network(OTHER, shared=True)
    ok(cloud.create(named(shared["id"])))
    reply = cloud.create(named(shared["id"], OTHER))
    assert refusal(reply)[:2] == (grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS")


def test_rights_and_names_are_refused_before_neutron_is_asked(cloud: Cloud, fake: FakeNeutron) -> None:
    """
    A tenant's private network and a name that is taken cost Neutron nothing.
    """
    ok(cloud.create(named("web")))
    fake.told.clear()
    request = net.CreateNetworkRequest(
        parent=f"projects/{DEMO}", network_id="x", network=net.Network(network_class=CLASSES["cleaning"])
    )

    forbidden = cloud.wire.call("CreateNetwork", request, caller=member(DEMO))
    assert refusal(forbidden)[:2] == (grpc.StatusCode.PERMISSION_DENIED, "FORBIDDEN")
    assert refusal(cloud.create(named("web")))[:2] == (grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS")
    assert fake.told == []


def test_validate_only_writes_nothing(cloud: Cloud, fake: FakeNeutron) -> None:
    """
    Neither here nor there; nor does a removal.
    """
    ok(cloud.create(named("web"), validate_only=True))
    assert fake.told == []
    ok(cloud.create(named("web")))
    fake.told.clear()
    ok(cloud.delete(named("web"), validate_only=True))

    assert fake.told == []
    assert len(fake.networks) == 1


def test_a_network_that_others_use_stays(cloud: Cloud, fake: FakeNeutron) -> None:
    """
    Neutron knows of virtual machines on it: the refusal is told, and nothing is removed on either side.
    """
    ok(cloud.create(named("web")))
    (there,) = fake.networks.values()
    fake.port(there["id"])
    reply = cloud.delete(named("web"))

    assert refusal(reply)[:2] == (grpc.StatusCode.FAILED_PRECONDITION, "STILL_IN_USE")
    assert cloud.wire.call("GetNetwork", net.GetNetworkRequest(name=named("web"))).code is grpc.StatusCode.OK
    fake.ports.clear()
    ok(cloud.delete(named("web")))


def test_a_quota_is_told_as_one(cloud: Cloud, fake: FakeNeutron) -> None:
    """
    Neutron's quota is RESOURCE_EXHAUSTED, not a failure of ours.
    """
    fake.quota["networks"] = 0

    assert refusal(cloud.create(named("web")))[:2] == (grpc.StatusCode.RESOURCE_EXHAUSTED, "EXHAUSTED")


@pytest.mark.parametrize("lost", [("POST", "networks"), ("PUT", "networks")])
def test_an_answer_that_is_lost_makes_nothing_twice(cloud: Cloud, fake: FakeNeutron, lost: tuple[str, str]) -> None:
    """
    The same request again takes what the first one made, by its mark.
    """
    request_id = str(uuid.uuid4())
    fake.loses = lost
    assert cloud.create(named("web"), request_id=request_id).code is grpc.StatusCode.UNAVAILABLE
    made = ok(cloud.create(named("web"), request_id=request_id))
    again = ok(cloud.create(named("web"), request_id=request_id))

    assert made == again
    assert len(fake.networks) == 1


class _Killed(Corrupt):
    """The process ends here: nothing of ours catches it, and nobody prints where it came from."""


def test_a_death_at_any_request_is_made_good_by_the_same_call(cloud: Cloud, fake: FakeNeutron) -> None:
    """
    Killed before or after any request to Neutron or statement, creating and deleting again end with one, and none.
    """
    points = 0
    for verb in (cloud.create, cloud.delete):
        at = 0
        while True:
            at += 1
            met = [0]

            def die(label: str, when: str, met: list[int] = met, at: int = at) -> None:
                met[0] += 1
                if met[0] == at:
                    raise _Killed("killed")

            request_id = str(uuid.uuid4())
            with observed(die):
                reply = verb(named("web"), request_id=request_id)
            if reply.code is grpc.StatusCode.OK:
                break
            points += 1
            ok(verb(named("web"), request_id=request_id))
            assert len(fake.networks) == (verb == cloud.create)
            ok(cloud.delete(named("web")) if verb == cloud.create else cloud.create(named("web")))
    assert points > 20
    assert fake.networks == {}


def test_of_two_replicas_one_network_remains(fake: FakeNeutron) -> None:
    """
    Both may have made one before either looked; the younger is taken away again, and both hold the older.
    """
    api = Neutron(fake, OWN)
    older = fake.network(DEMO, description="bms-network=web")
    created: list[str] = []
    real = fake.handle

    def blind(method: str, path: str, body: Any) -> tuple[int, Any]:
        status, answer = real(method, path, body)
        if method == "POST":
            created.append(path)
        if method == "GET" and not created:
            answer = {"networks": []}
        return status, answer

    fake.handle = blind  # type: ignore[method-assign]  # the other replica's is made after we looked
    segment = NeutronNetworks(api).make(named("web"), "", PortClass.TENANT, 0, dry=False)

    assert segment.fabric_id == older["id"]
    assert list(fake.networks) == [older["id"]]
