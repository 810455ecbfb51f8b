# SPDX-License-Identifier: Apache-2.0
"""A tenant makes a server in a genuine Nova, past us, on one of ours: shown as his, left alone, and erased after."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from bms.event.v1 import event_pb2
from bms.lifecycle.v1 import instance_pb2, server_status_pb2
from bms.telemetry.v1 import telemetry_pb2
from services.verifier.verdict import StreamReport, Verdict
from tests.openstack import test_nova_life as nova_life
from tests.openstack.cloud.nodes import offered
from tests.openstack.test_nova_life import Life
from tests.site.audit import read_logs
from tests.site.client import wait_for
from tests.site.furnish import provide
from tests.support.judging import judged

pytestmark = [
    pytest.mark.openstack_full,
    pytest.mark.timeout(900),
    # Of the SDK's own parts.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"),
]

node, life = nova_life.node, nova_life.life

SOON = 180.0
"""Seconds: a listing of Ironic's nodes, a look at Nova, and a slow machine."""

_Shown = instance_pb2.Instance
_Server = server_status_pb2.ServerStatus


@dataclass(slots=True)
class Stay:
    """What the tests share: each goes on where the one before it ended.

    Attributes:
        server: Nova's id of what the tenant made.
    """

    life: Life
    server: str

    @property
    def name(self) -> str:
        """It as an instance."""
        return f"projects/{self.life.project}/instances/nova-{self.server}"

    def listed(self) -> dict[str, _Shown]:
        """His project's instances, by name."""
        request = instance_pb2.ListInstancesRequest(parent=f"projects/{self.life.project}")
        return {one.name: one for one in self.life.ours.pages("lifecycle", "ListInstances", request, "instances")}

    def uve(self) -> tuple[str, str]:
        """Whose the server is and what its evidence comes to, as analytics show it."""
        request = telemetry_pb2.GetUveRequest(name=f"uves/server/{self.life.node}")
        contents = self.life.ours.call("telemetry", "GetUve", request).contents
        return str(contents["IronicNode"]["instance_uuid"] or ""), str(contents["BmsServerVerdict"]["verdict"])

    def report(self) -> StreamReport:
        """What the verifier says of the server's log."""
        return judged("lifecycle", read_logs(self.life.site).events["lifecycle"])[f"servers/{self.life.node}"]


@pytest.fixture(scope="module")
def stay(life: Life) -> Iterator[Stay]:
    """A server that we offer, and the tenant's in Nova on it; gone afterwards, whatever the tests did."""
    provide(life.ours, [f"servers/{life.node}"], 300)
    wait_for("Placement offers it", lambda: offered(life.admin, life.node), 60, every=0.5)
    flavor = wait_for("our flavor is Nova's", lambda: life.tenant.compute.find_flavor("bm.booked"), 60, every=0.5)
    made = life.tenant.compute.create_server(
        name="past-us",
        flavor_id=flavor.id,
        image_id=life.tenant.image.find_image("tiny").id,
        networks=[{"uuid": life.tenant.network.find_network("net-a").id}],
        config_drive=True,
    )
    try:
        yield Stay(life, str(made.id))
    finally:
        life.tenant.compute.delete_server(made.id, ignore_missing=True)
        life.tenant.compute.wait_for_delete(made, wait=SOON, interval=0.5)


def settled(life: Life, server: str) -> Any:
    """Nova's server once Nova has made up its mind about it; None before."""
    found = life.tenant.compute.get_server(server)
    return found if found.status in ("ACTIVE", "ERROR") else None


def has(stay: Stay, state: int) -> Callable[[], bool]:
    """Whether our list shows it in *state*."""
    return lambda: stay.listed().get(stay.name, _Shown()).state == state


def test_what_a_tenant_made_in_nova_is_an_instance_of_his_project(stay: Stay) -> None:
    """
    With Nova's address, on our server, beside no other; his server is not offered any more.
    """
    found = wait_for("Nova deploys", lambda: settled(stay.life, stay.server), SOON, every=0.5)
    assert found.status == "ACTIVE", found.fault
    assert stay.life.ironic().instance_id == stay.server
    wait_for("our list shows it", has(stay, _Shown.STATE_ACTIVE), SOON, every=0.5)

    (shown,) = stay.listed().values()
    assert (shown.name, shown.server) == (stay.name, f"servers/{stay.life.node}")
    (address,) = (each["addr"] for network in found.addresses.values() for each in network)
    assert [face.address for face in shown.interfaces] == [address]
    assert "made in Nova as past-us, flavor bm.booked" in shown.site_note
    status = stay.life.status()
    assert (status.state, status.wait.code) == (_Server.STATE_AVAILABLE, "TAKEN_ELSEWHERE")


def test_nothing_is_known_of_what_it_did_there(stay: Stay) -> None:
    """
    UNKNOWN, and nothing that we did wrong, for whoever reads the log as for analytics.
    """
    report = stay.report()
    assert (report.verdict, list(report.findings)) == (Verdict.UNKNOWN, [])
    wanted = (f"nova-{stay.server}", "unknown")
    wait_for("analytics show it", lambda: stay.uve() == wanted, 60, every=0.5)


def test_our_verbs_leave_it_to_nova(stay: Stay) -> None:
    """
    Refused with the command that shows it there; the machine is as it was.
    """
    with pytest.raises(grpc.RpcError) as refused:
        stay.life.ours.call("lifecycle", "DeleteInstance", instance_pb2.DeleteInstanceRequest(name=stay.name))
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    node = stay.life.ironic()
    assert (node.instance_id, node.provision_state) == (stay.server, "active")


def test_gone_in_nova_it_is_gone_here_and_the_server_is_set_aside(stay: Stay) -> None:
    """
    Nobody is given what others used before it was erased for us; then it is as good as new.
    """
    stay.life.tenant.compute.delete_server(stay.server)
    wait_for("our list has it no more", lambda: not stay.listed(), SOON, every=0.5)

    def aside() -> bool:
        status = stay.life.status()
        return status.state == _Server.STATE_QUARANTINED and not status.operation

    wait_for("it is set aside", aside, 300, every=0.5)
    assert stay.report().verdict is Verdict.UNKNOWN
    request = server_status_pb2.RecoverServerRequest(name=f"servers/{stay.life.node}")
    stay.life.ours.done(stay.life.ours.call("lifecycle", "RecoverServer", request), 300)

    assert stay.life.status().state == _Server.STATE_AVAILABLE
    report = stay.report()
    assert (report.intervals[-1].verdict, list(report.findings)) == (Verdict.PASS, [])
    assert report.verdict is Verdict.UNKNOWN, "of all its time, some is not known for ever"
    assert _types(stay)[-1] == "guest.gone"
    wait_for("analytics show that too", lambda: stay.uve() == ("", "pass"), 60, every=0.5)


def _types(stay: Stay) -> list[str]:
    """What happened to guests of the server, in order."""
    found = [event_pb2.EventHeader.FromString(one.header) for one in read_logs(stay.life.site).events["lifecycle"]]
    return [one.type for one in found if one.stream == f"servers/{stay.life.node}" and one.type.startswith("guest.")]
