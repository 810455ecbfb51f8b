# SPDX-License-Identifier: Apache-2.0
"""Networks by a Contrail: made there, taken over from there, refused, removed."""

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
from services.runtime.contrail import dashed, network_uuid
from services.runtime.database import Database
from tests.network.conftest import link, refusal, wish
from tests.network.contrail_rig import BLUE, DEMO, GREEN, PROVISIONING, SITES, Cloud, furnished, ok
from tests.support.wire import member

NETWORK = "virtual-network"


@pytest.fixture
def cloud(database: Database, tmp_path: Path) -> Iterator[Cloud]:
    made = Cloud(database, tmp_path, furnished())
    yield made
    made.close()


def named(ident: str, project: str = DEMO) -> str:
    return f"projects/{project}/networks/{ident}"


def theirs(cloud: Cloud, project: str = DEMO, **more: Any) -> str:
    """A network that somebody else made."""
    within = cloud.fake.read("project", dashed(project)) if len(project) == 32 else None
    names = within["fq_name"] if within else ["default-domain", "default-project"]
    return cloud.fake.add(NETWORK, [*names, f"theirs-{uuid.uuid4()}"], **more)


def test_a_network_is_made_there_and_here(cloud: Cloud) -> None:
    """
    It belongs to the Keystone project's project there; its uuid follows from our name, and goes with ours.
    """
    made = ok(cloud.create(BLUE))

    there = cloud.fake.read(NETWORK, network_uuid(BLUE))
    assert (there["fq_name"], there["is_shared"]) == (["default-domain", "demo", "blue"], False)
    assert (made.vlan_id, made.vni) == (0, there.get("virtual_network_network_id", 0))
    ok(cloud.delete(BLUE))
    assert cloud.fake.named(NETWORK, *there["fq_name"]) is None
    assert cloud.wire.call("GetNetwork", net.GetNetworkRequest(name=BLUE)).code is grpc.StatusCode.NOT_FOUND


def test_networks_of_words_of_our_own_share_a_project(cloud: Cloud) -> None:
    """
    The site's networks are in the project that the settings name, and are nobody else's there.
    """
    ok(cloud.create(PROVISIONING, "provisioning"))

    there = cloud.fake.read(NETWORK, network_uuid(PROVISIONING))
    assert there["fq_name"] == ["default-domain", "default-project", "site.provisioning"]
    assert (there["perms2"]["global_access"], there["perms2"]["share"]) == (0, [])


def test_a_tenant_neither_sees_nor_joins_a_private_network(cloud: Cloud) -> None:
    """
    He can make none of his, take none over by its uuid, and attach nothing to the site's.
    """
    ok(cloud.create(PROVISIONING, "provisioning"))
    ident = network_uuid(PROVISIONING)
    request = net.CreateNetworkRequest(
        parent=f"projects/{DEMO}", network_id=ident, network=net.Network(network_class=net.PORT_CLASS_TENANT)
    )
    reply = cloud.wire.call("CreateNetwork", request, caller=member(DEMO))
    assert reply.code is grpc.StatusCode.NOT_FOUND, reply
    seen = cloud.wire.call("ListNetworks", net.ListNetworksRequest(parent=f"projects/{DEMO}"), caller=member(DEMO))
    assert list(ok(seen).networks) == []
    ok(cloud.register(link(0)))
    joined = cloud.attach(wish(0, "tenant", PROVISIONING), project=DEMO)

    assert joined.code is grpc.StatusCode.INVALID_ARGUMENT, joined
    assert cloud.interfaces() == []


def test_a_vlan_is_kept_with_the_network(cloud: Cloud) -> None:
    """
    It is the VLAN of untagged frames on the switches: fabrics of enterprise style have one for each network.
    """
    made = ok(cloud.create(BLUE, vlan=321))
    ok(cloud.register(link(0)))
    ok(cloud.read())
    ok(cloud.attach(wish(0, "tenant", BLUE), project=DEMO))

    assert made.vlan_id == 321
    (there,) = cloud.at(0)
    assert there["virtual_port_group_refs"][0]["attr"] == {"native_vlan_tag": "321"}
    assert cloud.tags() == [(BLUE, 0)]


def test_a_network_of_others_is_taken_over_and_left(cloud: Cloud) -> None:
    """
    Its uuid is its id with us; it is not changed, and it stays when ours is removed.
    """
    ident = theirs(cloud)
    before = cloud.fake.read(NETWORK, ident)
    ok(cloud.create(named(ident)))
    ok(cloud.delete(named(ident)))

    assert cloud.fake.read(NETWORK, ident) == before


@pytest.mark.parametrize(
    ("project", "more", "port_class", "expected"),
    [
        (SITES, {}, "tenant", (grpc.StatusCode.NOT_FOUND, "NOT_FOUND", [])),
        (
            DEMO,
            {"router_external": True},
            "tenant",
            (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", ["network_id"]),
        ),
        (DEMO, {}, "cleaning", (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", ["network_id"])),
        (SITES, {"is_shared": True}, "rescue", (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", ["network_id"])),
        (SITES, {}, "cleaning", (grpc.StatusCode.OK, "", [])),
        ("site", {}, "rescue", (grpc.StatusCode.OK, "", [])),
    ],
    ids=["another project's", "external", "a tenant's", "shared", "named in the settings", "the site's"],
)
def test_which_networks_are_taken_over(
    cloud: Cloud, project: str, more: dict[str, Any], port_class: str, expected: tuple[Any, ...]
) -> None:
    """
    Another project's does not exist; external ones, and private classes on a tenant's or a shared one, are refused.
    """
    ident = theirs(cloud, project, **more)
    name = named(ident, "site" if port_class != "tenant" else DEMO)

    for dry in (True, False):
        reply = cloud.create(name, port_class, validate_only=dry)
        assert (refusal(reply) if reply.code is not grpc.StatusCode.OK else expected) == expected, reply


def test_a_private_network_that_others_reach_is_refused(cloud: Cloud) -> None:
    """
    A route target or a policy leads into it from networks of tenants.
    """
    ident = theirs(cloud, "site")
    cloud.fake.objects.things[ident].body["route_target_list"] = {"route_target": ["target:64512:7"]}
    reply = cloud.create(named(ident, "site"), "cleaning")

    assert refusal(reply) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", ["network_id"])
    assert "route_target_list" in reply.status.message


def test_contrails_own_networks_keep_nobody_apart(cloud: Cloud) -> None:
    """
    ip-fabric is the underlay, on which everything can reach everything.
    """
    found = cloud.fake.named(NETWORK, "default-domain", "default-project", "ip-fabric")
    assert found is not None

    reply = cloud.create(named(found["uuid"], "site"))
    assert refusal(reply) == (grpc.StatusCode.FAILED_PRECONDITION, "ISOLATION_IMPOSSIBLE", [])


def test_one_that_is_not_there_is_not_found(cloud: Cloud) -> None:
    """
    An id that is a uuid is Contrail's, and is not made; a project that Contrail does not know is said.
    """
    assert cloud.create(named(str(uuid.uuid4()))).code is grpc.StatusCode.NOT_FOUND
    reply = cloud.create(named("web", "ab" * 16))
    assert reply.code is grpc.StatusCode.NOT_FOUND
    assert "no project" in reply.status.message


def test_one_that_is_used_there_stays(cloud: Cloud) -> None:
    """
    Contrail refuses to delete what others refer to; that is told, and ours stays too.
    """
    ok(cloud.create(BLUE))
    names = ["default-domain", "demo", "vm-port"]
    refs = [{"to": ["default-domain", "demo", "blue"]}]
    cloud.fake.add("virtual-machine-interface", names, virtual_network_refs=refs)

    assert refusal(cloud.delete(BLUE))[0] is grpc.StatusCode.FAILED_PRECONDITION
    assert ok(cloud.wire.call("GetNetwork", net.GetNetworkRequest(name=BLUE))).name == BLUE


def test_a_name_that_another_has_is_refused(cloud: Cloud) -> None:
    """
    What is called so there was not made for us.
    """
    cloud.fake.add(NETWORK, ["default-domain", "demo", "blue"])

    assert refusal(cloud.create(BLUE))[:2] == (grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS")


def test_the_tag_of_untagged_frames_is_nobodys(cloud: Cloud) -> None:
    """
    Refused before it is recorded.
    """
    ok(cloud.create(BLUE))
    ok(cloud.create(GREEN, vlan=321))
    ok(cloud.register(link(0)))
    ok(cloud.read())
    for asked in ((BLUE, (GREEN, 4094)), (GREEN, (BLUE, 321))):
        reply = cloud.attach(wish(0, "tenant", *asked), project=DEMO)
        assert refusal(reply)[:2] == (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")
        assert "is the VLAN of its untagged frames" in reply.status.message
    ok(cloud.attach(wish(0, "tenant", (BLUE, 4094)), project=DEMO))
    ok(cloud.attach(wish(0, "tenant", BLUE, (GREEN, 321)), project=DEMO))


class _Killed(Corrupt):
    """The process ends here: nothing of ours catches it, and nobody prints where it came from."""


def test_a_death_at_any_request_makes_nothing_twice(cloud: Cloud) -> None:
    """
    The same call again takes what the first one made; so does the same removal.
    """
    points = 0
    for verb in (cloud.create, cloud.delete):
        at = 0
        while True:
            at += 1
            met = [0]

            def die(label: str, when: str, met: list[int] = met, at: int = at) -> None:
                met[0] += label.startswith("contrail.")
                if label.startswith("contrail.") and met[0] == at:
                    raise _Killed("killed")

            with observed(die):
                reply = verb(BLUE)
            if reply.code is grpc.StatusCode.OK:
                break
            points += 1
            ok(verb(BLUE))
            made = verb == cloud.create
            assert (cloud.fake.named(NETWORK, "default-domain", "demo", "blue") is not None) == made
            ok(cloud.delete(BLUE) if made else cloud.create(BLUE))
        if verb == cloud.create:
            continue
    assert points > 6
