# SPDX-License-Identifier: Apache-2.0
"""`bms lease boot`: addresses that servers boot with on private networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from services.cli.boot_ports import boot_ports
from services.cli.commands.lease import COLUMNS, lease
from services.cli.nouns import full_name
from services.cli.screen import as_dict
from services.cli.session import Session, changes

if TYPE_CHECKING:
    from bms.ipam.v1.lease_pb2 import AddressLease


@lease.command("boot")
@click.argument("network_name", metavar="NETWORK")
@changes
def boot(session: Session, network_name: str) -> None:
    """Lease an address on a private network for each port that a registered server boots by.

    Where a controller answers DHCP by MAC address, Contrail, this is what a server that is provisioned, cleaned or
    rescued gets its address from. A lease stays the server's; one that is there already is kept, so the line may be
    repeated for servers that came since. Those of servers that are gone are shown last: release them.
    """
    from bms.inventory.v1.server_pb2 import ListServersRequest
    from bms.ipam.v1.lease_pb2 import LeaseAddressRequest, ListLeasesRequest, Owner

    network = full_name(network_name, "networks", session.parent)
    servers = list(session.pages(session.inventory.ListServers, ListServersRequest(), "servers"))
    found: list[AddressLease] = []
    for server in servers:
        for port in boot_ports(server):
            mac = port.mac_address
            owner = Owner(kind=Owner.KIND_VIRTUAL_MACHINE, resource=server.name, interface=mac, mac_address=mac)
            wanted = LeaseAddressRequest(parent=session.parent, network=network, owner=owner)
            found.append(session.ipam.LeaseAddress(session.fill(wanted, mac)))
    session.screen.rows(found, COLUMNS, name=lambda each: each.name, as_data=as_dict)
    known = {lease.name for lease in found}
    query = ListLeasesRequest(parent=session.parent, filter=f'network = "{network}" AND state = "leased"')
    for each in session.pages(session.ipam.ListLeases, query, "leases"):
        if each.name not in known and each.owner.resource.startswith("servers/"):
            session.screen.note(f"Of a server or port that is gone: bms lease release {each.name}")
