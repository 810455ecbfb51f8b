# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from bms.inventory.v1 import server_pb2
from bms.ipam.v1 import lease_pb2
from tests.cli.conftest import Shell
from tests.cli.fakes.world import World


def port(number: int, *, pxe: bool = False, plugged: bool = True) -> server_pb2.Port:
    """A port of a server."""
    mac = f"52:54:00:00:00:{number:02x}"
    made = server_pb2.Port(name=f"servers/x/ports/{number}", mac_address=mac, pxe_enabled=pxe)
    if plugged:
        made.switch_name, made.switch_port = "leaf1", f"xe-0/0/{number}"
    return made


def test_each_port_that_a_server_boots_by_gets_an_address(bms: Shell, world: World) -> None:
    """
    Those that say so, else the first that is plugged in; a server without any gets none. Owner is the server, and the
    interface the MAC address, so that a second line finds the same leases.
    """
    world.add_server("r1", ports=[port(1), port(2, pxe=True), port(3, pxe=True)])
    world.add_server("r2", ports=[port(5), port(4), port(6, plugged=False)])
    world.add_server("r3", ports=[port(7, pxe=True, plugged=False)])

    said = bms("--as site lease boot provisioning")

    assert said.code == 0, said.err
    asked = world.asked("LeaseAddress")
    r1, r2, _ = world.servers
    assert [(one.owner.resource, one.owner.interface[-2:], one.owner.mac_address[-2:]) for one in asked] == [
        (r1, "02", "02"), (r1, "03", "03"), (r2, "04", "04"),
    ]  # fmt: skip
    assert {one.network for one in asked} == {"projects/site/networks/provisioning"}
    assert {one.owner.kind for one in asked} == {lease_pb2.Owner.KIND_VIRTUAL_MACHINE}
    assert len({one.request_id for one in asked}) == 3
    assert len(said.out.splitlines()) == 1 + 3


def test_leases_of_servers_that_are_gone_are_shown(bms: Shell, world: World) -> None:
    """
    They are nobody's any more; the line that gives them back is told, and nothing is released by itself.
    """
    world.add_server("r1", ports=[port(1)])
    for name, owner in (("projects/site/leases/a", "servers/gone"), ("projects/site/leases/b", "vm-4711")):
        world.leases[name] = lease_pb2.AddressLease(name=name, owner=lease_pb2.Owner(resource=owner))

    said = bms("--as site lease boot provisioning")

    assert "bms lease release projects/site/leases/a" in said.err
    assert "leases/b" not in said.err
    assert not world.asked("ReleaseLease")
