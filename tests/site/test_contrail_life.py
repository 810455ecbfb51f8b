# SPDX-License-Identifier: Apache-2.0
"""One life of a server whose ports and addresses are a Contrail's; its hardware and switches are simulated.

Over SQLite, and over a real PostgreSQL.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bms.inventory.v1 import server_pb2
from bms.ipam.v1 import lease_pb2, prefix_pb2
from bms.lifecycle.v1 import instance_pb2, server_move_pb2, server_status_pb2
from services.cli.supervise.plan import SERVICES
from services.kernel.clock import SystemClock
from services.runtime.contrail import network_uuid, pairs_of
from services.simulated.rack import PortWrite, Rack
from services.simulated.state import Vlans
from services.verifier.verdict import Verdict
from tests.site import furnish
from tests.site.audit import CHAINED, logs_are_whole, read_logs
from tests.site.client import Client, wait_for
from tests.site.rig import Site, running_site
from tests.support.contrail import FakeContrail
from tests.support.contrail_http import served
from tests.support.judging import judged

pytestmark = [pytest.mark.story, pytest.mark.timeout(600)]

_CONFIG = "default-global-system-config"
_INTERFACE = "virtual-machine-interface"
BLUE = "projects/tenant-a/networks/blue"
"""A word of the site's own and no Keystone project: it has a part in the project of the settings."""
BOOT = {"provisioning": "10.50.0.0/24", "cleaning": "10.51.0.0/24"}
"""Private networks on which the server has an address to boot with."""


@dataclass
class Wires:
    """The rack's switches, which do what Contrail's port groups say.

    Attributes:
        used: addresses that an interface had in the meantime.
    """

    fake: FakeContrail
    used: set[str] = field(default_factory=set)
    ends: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def fake() -> FakeContrail:
    """A Contrail with the switches of `furnish.import_file`."""
    made = FakeContrail()
    made.add("fabric", [_CONFIG, "fab1"], fabric_enterprise_style=False)
    for switch in ("leaf0a", "leaf0b"):
        made.add("physical-router", [_CONFIG, switch], fabric_refs=[{"to": [_CONFIG, "fab1"]}])
        for number in range(4):
            made.add("physical-interface", [_CONFIG, switch, f"xe-0/0/{number}"])
    return made


@pytest.fixture
def wires(fake: FakeContrail) -> Wires:
    """Those to the switches of *fake*."""
    return Wires(fake)


@pytest.fixture
def site(fake: FakeContrail, wires: Wires, make_url: Callable[[str], str], tmp_path: Path) -> Iterator[Site]:
    """Five processes, of which network and ipam are on that Contrail, by HTTP."""
    databases = {f"BMS_{name.upper()}_DATABASE_URL": make_url(package) for name, package in SERVICES.items()}
    with served(fake) as url:
        settings = {
            **databases,
            "BMS_NETWORK_BACKEND": "contrail", "BMS_NETWORK_CONTRAIL_URLS": url,
            "BMS_IPAM_BACKEND": "contrail", "BMS_IPAM_CONTRAIL_URLS": url,
            "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1",
        }  # fmt: skip
        # So slow that a wire is laid before the work on it is over, which needs a network.
        with running_site(tmp_path, settings=settings, profile="demo") as running:
            switches = threading.Thread(target=_wire, args=(wires, running))
            switches.start()
            try:
                yield running
            finally:
                wires.ends.set()
                switches.join(30)


def _wire(wires: Wires, site: Site) -> None:
    """Has the rack's switches do, until it ends, what Contrail's port groups say."""
    rack = Rack(site.data.path / "rack.sqlite")
    vlans: dict[str, int] = {}
    known: dict[tuple[str, str], tuple[int, str, str]] = {}
    try:
        while not wires.ends.wait(0.05):
            now = {}
            wires.used |= {address for address, interfaces in addresses(wires.fake) if interfaces}
            for server, mac, network, place in plugged(wires.fake):
                now[place] = (vlans.setdefault(network, 100 + len(vlans)), server, mac)
            for place in known.keys() | now.keys():
                if known.get(place) != now.get(place):
                    _, server, mac = now.get(place) or known[place]
                    write = PortWrite(*place, Vlans(now[place][0] if place in now else 0), mac)
                    rack.write_ports(server, (write,), SystemClock().now())
            known = now
    finally:
        rack.close()


def plugged(fake: FakeContrail) -> list[tuple[str, str, str, tuple[str, str]]]:
    """Server, MAC address, network and switch port of every interface that is attached, in one moment."""
    found = []
    for group in _listed(fake, "virtual-port-group"):
        for ref in group.get("virtual_machine_interface_refs", ()):
            for interface in _listed(fake, _INTERFACE, f"&obj_uuids={ref['uuid']}"):
                host = pairs_of(interface, "virtual_machine_interface_bindings")["host_id"]
                (mac,) = interface["virtual_machine_interface_mac_addresses"]["mac_address"]
                network = interface["virtual_network_refs"][0]["uuid"]
                places = ((ref["to"][1], ref["to"][2]) for ref in group.get("physical_interface_refs", ()))
                found += [(host, mac, network, place) for place in places]
    return found


def addresses(fake: FakeContrail) -> list[tuple[str, list[dict[str, Any]]]]:
    """The addresses that ipam keeps, and the interfaces that each points to."""
    kept = _listed(fake, "instance-ip")
    return [(one["instance_ip_address"], one.get("virtual_machine_interface_refs", [])) for one in kept]


def _listed(fake: FakeContrail, kind: str, more: str = "") -> list[dict[str, Any]]:
    status, answer = fake.handle("GET", f"/{kind}s?detail=true{more}", None)
    assert status == 200, answer
    return [row[kind] for row in answer[f"{kind}s"]]


def lease_to_boot(admin: Client, server: str) -> set[str]:
    """An address for the server's boot port on each of `BOOT`, as `bms lease boot` takes them."""
    found = set()
    for name, cidr in BOOT.items():
        network, mac = f"projects/site/networks/{name}", "0c:00:00:00:00:01"
        prefix = prefix_pb2.Prefix(cidr=cidr, network=network)
        new = prefix_pb2.CreatePrefixRequest(parent="projects/site", prefix_id=name, prefix=prefix)
        admin.call("ipam", "CreatePrefix", new)
        vm = lease_pb2.Owner.KIND_VIRTUAL_MACHINE
        owner = lease_pb2.Owner(kind=vm, resource=server, interface=mac, mac_address=mac)
        wanted = lease_pb2.LeaseAddressRequest(parent="projects/site", network=network, owner=owner)
        found.add(admin.call("ipam", "LeaseAddress", wanted).address)
    return found


def test_a_life_over_contrail(fake: FakeContrail, wires: Wires, site: Site) -> None:
    """
    Cleaned, deployed, moved to another switch port, given back and cleaned again. While the instance is active its
    server's port is attached to the tenant's network in Contrail, and the address that ipam keeps there points to it;
    before and after, neither is so. On the private networks it had the address to boot with.
    The verifier passes every log.
    """
    admin, tenant = Client(site, "admin"), Client(site, "tenant-a")
    furnish.lay_ground(admin, tenant)
    (server,) = furnish.bring_in(admin, 1)
    boot = lease_to_boot(admin, server)
    furnish.provide(admin, [server], 240)
    assert plugged(fake) == []

    tenant.done(furnish.create_instance(tenant, "web"), 240)
    ((host, mac, network, _),) = plugged(fake)
    assert (f"servers/{host}", network) == (server, network_uuid(BLUE))
    assert mac.startswith("0c:00:00:")
    ((address, (interface,)),) = own = [one for one in addresses(fake) if one[0] not in boot]
    assert address.startswith("10.1.0.")
    assert interface["to"][-1].startswith("bms-")

    record = admin.call("inventory", "GetServer", server_pb2.GetServerRequest(name=server))
    old = next(port for port in record.ports if port.mac_address == mac)
    move = server_move_pb2.PortMove(port=old.name, switch_name=old.switch_name, switch_port="xe-0/0/3")
    asked = server_move_pb2.MoveServerRequest(name=server, ports=[move], reason="new rack", cabled=True)
    admin.done(admin.call("lifecycle", "MoveServer", asked), 240)
    assert plugged(fake) == [(host, mac, network, (old.switch_name, "xe-0/0/3"))]
    assert [one for one in addresses(fake) if one[0] not in boot] == own, "by an interface of the same name"
    left = fake.named("physical-interface", _CONFIG, old.switch_name, old.switch_port)
    taken = fake.named("physical-interface", _CONFIG, old.switch_name, "xe-0/0/3")
    assert left is not None
    assert taken is not None
    assert not left.get("virtual_port_group_back_refs")
    assert not left.get("port_refs")
    assert len(taken["virtual_port_group_back_refs"]) == 1

    request = instance_pb2.DeleteInstanceRequest(name="projects/tenant-a/instances/web")
    tenant.done(tenant.call("lifecycle", "DeleteInstance", request), 240)

    def available() -> bool:
        (status,) = furnish.statuses_of(admin)
        return status.state == server_status_pb2.ServerStatus.STATE_AVAILABLE and not status.operation

    wait_for("the server is offered again", available, 240, every=0.5)
    assert plugged(fake) == []
    rest: dict[str, list[Any]] = {one: [] for one in (address, *boot)}
    assert dict(addresses(fake)) == rest, "the address rests, the others stay, and none leads anywhere"
    assert wires.used == {address, *boot}
    logs = read_logs(site)
    logs_are_whole(logs)
    for service in CHAINED:
        reports = judged(service, logs.events[service])
        assert reports
        assert {stream: report.verdict for stream, report in reports.items()} == dict.fromkeys(reports, Verdict.PASS)
