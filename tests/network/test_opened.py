# SPDX-License-Identifier: Apache-2.0
"""Whether a private network is the site's alone still: what is asked for it, and what is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bms.network.v1 import attachment_pb2 as at
from services.network.backends.neutron_networks import NeutronNetworks
from services.runtime.contrail_networks import open_to_others
from services.runtime.database import Database
from services.runtime.neutron import Neutron
from tests.network.conftest import CLASSES, link, wish
from tests.network.contrail_rig import CLEANING, Cloud, furnished, ok
from tests.support.contrail import FakeContrail
from tests.support.neutron import OWN, FakeNeutron
from tests.support.wire import service

TENANT = "ee" * 16


@pytest.fixture
def database_kind() -> str:
    """One will do: how readings are stored is tested elsewhere."""
    return "sqlite"


@pytest.fixture
def cloud(database: Database, tmp_path: Path) -> Iterator[Cloud]:
    made = Cloud(database, tmp_path, furnished())
    made.network(CLEANING, "cleaning")
    yield made
    made.close()


def uuid_of(number: int) -> str:
    return f"00000000-0000-4000-8000-0000000000{number:02x}"


def test_one_request_for_all_servers(cloud: Cloud) -> None:
    """
    Five servers on the cleaning network, one request more than for five in quarantine; a reading of opened networks is
    kept as it is, told with why, and told again only when that changes.
    """
    for switch in ("leaf1", "leaf2"):
        for number in range(30, 70):
            cloud.fake.add("physical-interface", ["default-global-system-config", switch, f"xe-0/0/{number}"])
    servers = [uuid_of(number) for number in range(1, 6)]
    for server in servers:
        ok(cloud.register(link(0, server), server=server))
    request = at.BatchReadServerPortsRequest(
        requests=[at.ReadServerPortsRequest(server=f"servers/{server}") for server in servers]
    )
    for server in servers:
        ok(cloud.attach(wish(0, "cleaning", CLEANING, server=server), server=server))
    ok(cloud.wire.call("BatchReadServerPorts", request, caller=service()))
    cloud.fake.asked.clear()
    answer = ok(cloud.wire.call("BatchReadServerPorts", request, caller=service()))
    assert len(cloud.fake.asked) == 4
    assert {one.readings[0].breach for one in answer.servers} == {""}
    before = cloud.events()
    (network,) = [one for one in cloud.fake.objects.of("virtual-network") if one.fq_name[-1] == "site.cleaning"]
    network.body["is_shared"] = True
    for _ in range(2):
        answer = ok(cloud.wire.call("BatchReadServerPorts", request, caller=service()))
    said = {(one.readings[0].port_class, one.readings[0].breach) for one in answer.servers}

    why = f"{CLEANING} is the site's alone, and is shared with others"
    assert said == {(CLASSES["cleaning"], why)}
    assert [kind for kind, _ in cloud.events()[len(before) :]] == ["port.observed"]
    assert {one.observed.breach for one in cloud.attachments()} == {why}


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({}, None),
        ({"import_route_target_list": {"route_target": []}}, None),
        ({"export_route_target_list": {"route_target": ["target:64512:1"]}}, "export_route_target_list"),
        ({"is_shared": True}, "is shared with others"),
    ],
    ids=["made", "emptied", "exported", "shared"],
)
def test_what_opens_a_network_of_contrails(cloud: Cloud, more: dict[str, Any], why: str | None) -> None:
    """
    What leads out is told as what leads in: one may send where the other may not answer.
    """
    (network,) = [one for one in cloud.fake.objects.of("virtual-network") if one.fq_name[-1] == "site.cleaning"]
    network.body.update(more)
    found = cloud.servicer._switching._controller.opened([network.uuid])  # type: ignore[union-attr]  # it has one

    assert "bgpvpn_refs" in open_to_others({"bgpvpn_refs": [{"uuid": "b", "to": ["b"]}]})
    assert [why in text for text in found.values()] == ([True] if why else [])
    assert isinstance(cloud.fake, FakeContrail)


@pytest.mark.parametrize(
    ("target", "expected"),
    [(TENANT, f"is given to {TENANT} by an RBAC policy"), ("*", "is given to * by an RBAC policy"), (OWN, "")],
    ids=["a tenant", "all", "ours"],
)
def test_what_opens_a_network_of_neutrons(target: str, expected: str) -> None:
    """
    Whoever else it is given to; our own project is nobody else. A Neutron without RBAC policies has none.
    """
    fake = FakeNeutron()
    network = fake.network(name="cleaning")
    fake.policies.append({"id": "r", "object_type": "network", "object_id": network["id"], "target_tenant": target})
    networks = NeutronNetworks(Neutron(fake, OWN))

    assert networks.opened([network["id"]]).get(network["id"], "") == expected
    fake.aliases.discard("rbac-policies")
    assert networks.opened([network["id"]]) == {}
    assert networks.opened(["00000000-0000-4000-9000-00000000ffff"]) == {}, "one that is gone is not open"
