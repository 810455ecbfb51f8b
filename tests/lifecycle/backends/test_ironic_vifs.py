# SPDX-License-Identifier: Apache-2.0
"""Nodes whose ports Ironic moves: what it is told of the tenant's ports, and what a deployment leaves out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from services.lifecycle.backends.ironic import IronicHardware
from services.lifecycle.backends.ironic_api import IronicApi
from services.lifecycle.backends.nova import NovaHardware
from services.lifecycle.backends.nova_servers import NovaServers
from services.lifecycle.ports import Booking, JobKind, JobPhase, NotNow, wait_for
from tests.lifecycle.backends.fake_ironic import Fake, serving
from tests.lifecycle.backends.fake_nova import FakeNova, FakePorts
from tests.lifecycle.backends.ironic_rig import ORDERS, SERVER, TARGET, Login, StepClock, impatient

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")

LEASES = ("projects/demo/leases/l1", "projects/demo/leases/l2")
ORDER = replace(ORDERS[JobKind.DEPLOY], instance="projects/demo/instances/web", leases=LEASES[:1])
MAC, PORT = "52:54:00:00:00:01", "00000000-0000-4000-8000-0000000000aa"
VIF = f"port of {LEASES[0]}"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    """An Ironic with one free node, whose ports it moves."""
    impatient(monkeypatch)
    with serving() as running:
        running.add(SERVER, "available", network_interface="neutron")
        running.ports = [{"node": SERVER, "uuid": PORT, "address": MAC.upper(), "portgroup_uuid": None}]
        yield running


@pytest.fixture
def ports() -> FakePorts:
    return FakePorts()


@pytest.fixture
def hardware(fake: Fake, ports: FakePorts) -> IronicHardware:
    return IronicHardware(IronicApi(endpoint=fake.url), Login(), StepClock(), vifs=ports)


def left_out(fake: Fake) -> list[str]:
    """The steps that the last deployment was to leave out."""
    bodies = [body for _, path, body in fake.asked if path.endswith("/states/provision")]
    return [step["step"] for step in bodies[-1]["deploy_steps"] if step["priority"] == 0]


def test_ironic_has_the_tenants_port_and_leaves_the_flip_to_us(fake: Fake, hardware: IronicHardware) -> None:
    """
    The lease's port is the node's VIF, on the port with its MAC address; nothing is switched to the tenant, nor booted.
    """
    hardware.start_job(TARGET, ORDER, request_id="j1")

    assert fake.vifs == {SERVER: {VIF: PORT}}
    assert left_out(fake) == ["boot_instance", "switch_to_tenant_network"]
    assert hardware.moves_ports


def test_what_was_left_of_somebody_goes(fake: Fake, hardware: IronicHardware) -> None:
    """
    Ironic binds every VIF it knows, so another's is gone before the node is deployed; ours, from a lost try, stays.
    """
    fake.vifs = {SERVER: {"somebody's": "", VIF: PORT}}
    hardware.start_job(TARGET, ORDER, request_id="j1")

    assert fake.vifs == {SERVER: {VIF: PORT}}
    verbs = [(method, path.rsplit("/", 1)[-1]) for method, path, _ in fake.asked]
    assert verbs.index(("DELETE", "somebody's")) < verbs.index(("PUT", "provision"))
    assert ("POST", "vifs") not in verbs


@pytest.mark.parametrize("known", ["group", "other"])
def test_ironic_chooses_where_nothing_can_be_named(
    fake: Fake, hardware: IronicHardware, ports: FakePorts, known: str
) -> None:
    """
    A member of a port group, a MAC address that no port of the node has.
    """
    if known == "group":
        fake.ports[0]["portgroup_uuid"] = "g"
    else:
        ports.mac_address = "52:54:00:00:00:99"
    hardware.start_job(TARGET, ORDER, request_id="j1")

    assert fake.vifs == {SERVER: {VIF: ""}}


def test_without_a_port_nothing_is_deployed(fake: Fake, hardware: IronicHardware, ports: FakePorts) -> None:
    """
    A lease that has no port in Neutron fails the job, and says what would help.
    """
    ports.missing = {LEASES[0]}
    hardware.start_job(TARGET, ORDER, request_id="j1")
    reading = hardware.read_job(TARGET, request_id="j1")

    assert reading.phase is JobPhase.FAILED
    assert "has no port in Neutron" in reading.message
    assert fake.verbs() == []


@pytest.mark.parametrize("kind", list(JobKind))
@pytest.mark.parametrize("moves", [True, False])
def test_who_moves_the_ports_must_be_one(fake: Fake, ports: FakePorts, kind: JobKind, *, moves: bool) -> None:
    """
    A node whose interface says otherwise than our settings is worked on for nobody; then two would move, or nobody.
    """
    state = {JobKind.RESCUE: "active", JobKind.DEPLOY: "available"}.get(kind, "manageable")
    fake.add(SERVER, state, network_interface="noop" if moves else "neutron")
    hardware = IronicHardware(IronicApi(endpoint=fake.url), Login(), StepClock(), vifs=ports if moves else None)

    with pytest.raises(NotNow, match="network interface in Ironic is") as caught:
        hardware.start_job(TARGET, ORDERS[kind], request_id="j1")

    assert wait_for(caught.value) == "CONTROLLER_MOVES_PORTS"
    assert f"--network-interface {'neutron' if moves else 'noop'}" in caught.value.remedy
    assert fake.verbs() == []


def test_nova_needs_a_template_that_leaves_out_both(fake: Fake, ports: FakePorts) -> None:
    """
    Where Ironic moves ports, leaving out booting alone would bring the server from our network to the tenant's at once.
    """
    boot = {"interface": "deploy", "step": "boot_instance", "args": {}, "priority": 0}
    nova, trait = FakeNova(fake), "CUSTOM_BMS_HELD"
    servers = NovaServers(nova.compute, nova, lambda project: f"keystone's {project}")
    hardware = NovaHardware(
        IronicApi(endpoint=fake.url), Login(), StepClock(), servers, ports, trait=trait, moves_ports=True
    )
    booking = Booking(ORDER.instance, "demo", "f-1", "g-1", LEASES[:1])
    fake.templates[trait] = [boot]
    with pytest.raises(Exception, match=r"deploy\.boot_instance and deploy\.switch_to_tenant_network") as caught:
        hardware.check_offer(TARGET, booking)
    assert '"switch_to_tenant_network"' in str(getattr(caught.value, "remedy", ""))

    fake.templates[trait] = [boot, {**boot, "step": "switch_to_tenant_network"}]
    hardware.check_offer(TARGET, booking)
