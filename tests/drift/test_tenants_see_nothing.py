# SPDX-License-Identifier: Apache-2.0
"""Private networks are administrators' alone: a tenant can neither see nor join them, here or in the controller."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from bms.network.v1 import attachment_pb2 as at
from bms.network.v1 import network_pb2 as net
from services.runtime.contrail import network_uuid
from tests.drift.hands import AtContrail, AtNeutron, Hands
from tests.drift.rig import PRIVATE, Fleet, uuid_of
from tests.lifecycle.rig import create_request
from tests.network.conftest import CLASSES, port
from tests.support.wire import member, service

REFUSED = {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED}


@pytest.mark.parametrize("kind", sorted(PRIVATE))
def test_a_tenant_can_neither_see_nor_join_one(fleet: Fleet, hands: Hands, kind: str) -> None:
    """
    By none of the ways there are: reading, listing, attaching, an instance, making or removing one.
    """
    name, tenant, wire = PRIVATE[kind], member("demo"), hands.site.wire
    fleet.server_at(1)
    for method, request in (
        ("GetNetwork", net.GetNetworkRequest(name=name)),
        ("DeleteNetwork", net.DeleteNetworkRequest(name=name)),
        ("ListNetworks", net.ListNetworksRequest(parent="projects/site")),
        ("ListNetworks", net.ListNetworksRequest(parent="projects/-")),
        ("AttachPorts", _attachment(name, kind)),
        ("CreateNetwork", _another("site", kind)),
        ("CreateNetwork", _another("demo", kind)),
        ("ListPortAttachments", at.ListPortAttachmentsRequest()),
        ("ReadServerPorts", at.ReadServerPortsRequest(server=f"servers/{uuid_of(1)}")),
    ):
        assert wire.call(method, request, caller=tenant).code in REFUSED, (method, request)
    own = wire.ok("ListNetworks", net.ListNetworksRequest(parent="projects/demo"), caller=tenant)
    assert {CLASSES["tenant"]} == {one.network_class for one in own.networks}
    assert fleet.site.classes(uuid_of(1)) == ["quarantine", "quarantine"]


@pytest.mark.parametrize("kind", sorted(PRIVATE))
def test_an_instance_on_one_is_refused(fleet: Fleet, kind: str) -> None:
    """
    By the very call, as a network that is not there.
    """
    fleet.server_at(1)
    assert fleet.wire.call("CreateInstance", create_request(PRIVATE[kind])).code in REFUSED


def test_even_a_service_puts_no_tenant_there(fleet: Fleet, hands: Hands) -> None:
    """
    A wish of class tenant for a private network is refused, whoever asks for it.
    """
    fleet.server_at(1)
    request = _attachment(PRIVATE["cleaning"], "tenant")
    reply = hands.site.wire.call("AttachPorts", request, caller=service())
    assert reply.code is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("hands", ["contrail"], indirect=True)
def test_what_is_made_in_contrail(fleet: Fleet, hands: AtContrail) -> None:
    """
    Neither shared nor given to anybody, in the site's own project, with nothing that leads in.
    """
    (home,) = {hands.fake.read("virtual-network", network_uuid(name))["parent_uuid"] for name in PRIVATE.values()}
    assert hands.fake.read("project", home)["fq_name"] == ["default-domain", "default-project"]
    for name in PRIVATE.values():
        made: dict[str, Any] = hands.fake.read("virtual-network", network_uuid(name))
        assert (made["is_shared"], made["perms2"]["global_access"], made["perms2"]["share"]) == (False, 0, [])
        leads = ("network_policy_refs", "route_target_list", "import_route_target_list", "export_route_target_list")
        assert not any(made.get(field) for field in (*leads, "bgpvpn_refs", "router_external"))
    assert fleet is not None


@pytest.mark.parametrize("hands", ["neutron"], indirect=True)
def test_what_is_made_in_neutron(fleet: Fleet, hands: AtNeutron) -> None:
    """
    Of our login's own project, not shared, not external, given to nobody by an RBAC policy.
    """
    for name in PRIVATE.values():
        made = hands.fake.networks[hands.network(name)]
        assert (made["shared"], made["router:external"], made["project_id"]) == (False, False, "0a" * 16)
    assert hands.fake.policies == []
    assert fleet is not None


def _attachment(network: str, kind: str) -> at.AttachPortsRequest:
    server = uuid_of(1)
    tags = [at.NetworkTag(network=network)]
    wish = at.PortWish(port=port(0, server), port_class=CLASSES[kind], networks=tags)
    return at.AttachPortsRequest(server=f"servers/{server}", wishes=[wish], fence=2**62, project="projects/demo")


def _another(project: str, kind: str) -> net.CreateNetworkRequest:
    network = net.Network(network_class=CLASSES[kind])
    return net.CreateNetworkRequest(parent=f"projects/{project}", network_id="mine", network=network)
