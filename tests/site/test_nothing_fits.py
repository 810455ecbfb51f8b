# SPDX-License-Identifier: Apache-2.0
"""More is asked for than there is: what the tenant is told is what an administrator can look up, server by server."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.rpc import code_pb2, error_details_pb2

from bms.inventory.v1 import catalogue_pb2, pool_pb2
from bms.ipam.v1 import lease_pb2
from bms.lifecycle.v1 import instance_pb2
from bms.lifecycle.v1.audit_service_pb2 import AuditLeaksRequest
from bms.lifecycle.v1.audit_service_pb2_grpc import AuditServiceStub
from tests.site.client import Client, wait_for
from tests.site.furnish import bring_in, create_instance, lay_ground, provide
from tests.site.rig import Site, running_site

pytestmark = [pytest.mark.story, pytest.mark.timeout(600)]


def ended(site: Site, operation: operations_pb2.Operation) -> Any:
    """*operation* when it has ended, however it did."""
    stub = operations_pb2_grpc.OperationsStub(site.channel("lifecycle"))
    request = operations_pb2.GetOperationRequest(name=operation.name)

    def look() -> Any:
        found = stub.GetOperation(request, timeout=10, metadata=site.metadata("tenant-a"))
        return found if found.done else None

    return wait_for(f"{operation.name} ends", look, 120)


def test_the_reasons_are_those_of_explain_placement(tmp_path: Path) -> None:
    """
    Two servers are taken and one was never provided; or a label is wanted that none has: RESOURCE_EXHAUSTED with each
    counted under its first reason, and what to do; what failed holds nothing and can be deleted.
    """
    with running_site(tmp_path) as site:
        admin, tenant = Client(site, "admin"), Client(site, "tenant-a")
        lay_ground(admin, tenant)
        servers = bring_in(admin, 3)
        provide(admin, servers[:2])
        big = catalogue_pb2.Flavor(min_cpus=1, labels={"rack": "elsewhere"})
        admin.call("inventory", "CreateFlavor", catalogue_pb2.CreateFlavorRequest(flavor_id="big", flavor=big))
        for name in ("one", "two"):
            tenant.done(create_instance(tenant, name))
        for flavor, instance in (("any", "three"), ("big", "four")):
            error = ended(site, ask(tenant, instance, flavor)).error
            assert error.code == code_pb2.RESOURCE_EXHAUSTED, error
            info, help_ = error_details_pb2.ErrorInfo(), error_details_pb2.Help()
            assert any(detail.Unpack(info) for detail in error.details)
            assert any(detail.Unpack(help_) for detail in error.details)
            told = dict(part.split(" ")[::-1] for part in info.metadata["reasons"].split(", "))

            request = pool_pb2.ExplainPlacementRequest(flavor=f"flavors/{flavor}", image="images/debian")
            shown = admin.call("inventory", "ExplainPlacement", request)
            assert (info.metadata["eligible"], info.metadata["total"]) == ("0", "3")
            assert shown.eligible_count == 0
            assert {each: str(count) for each, count in firsts(shown).items()} == told
            assert "ExplainPlacement" in help_.links[0].description
            tenant.call(
                "lifecycle",
                "DeleteInstance",
                instance_pb2.DeleteInstanceRequest(name=f"projects/tenant-a/instances/{instance}"),
            )

        leases = tenant.pages("ipam", "ListLeases", lease_pb2.ListLeasesRequest(parent="projects/tenant-a"), "leases")
        assert {lease.owner.resource.rpartition("/")[2] for lease in leases} == {"one", "two"}
        audit = AuditServiceStub(site.channel("lifecycle"))
        assert not audit.AuditLeaks(AuditLeaksRequest(), timeout=30, metadata=site.metadata("admin")).leaks


def ask(tenant: Client, name: str, flavor: str) -> operations_pb2.Operation:
    """Asks for an instance of *flavor*."""
    network = instance_pb2.InstanceNetwork(network="projects/tenant-a/networks/blue")
    instance = instance_pb2.Instance(flavor=f"flavors/{flavor}", image="images/debian", networks=[network])
    request = instance_pb2.CreateInstanceRequest(parent="projects/tenant-a", instance_id=name, instance=instance)
    operation: operations_pb2.Operation = tenant.call("lifecycle", "CreateInstance", request)
    return operation


def firsts(shown: pool_pb2.ExplainPlacementResponse) -> Counter[str]:
    """The first thing that speaks against each server, counted; of others' instances a tenant learns only the word."""
    return Counter(
        {"reserved": "RESERVED", "available": first.found}.get(first.constraint, first.constraint)
        for first in (each.failures[0] for each in shown.candidates)
    )
