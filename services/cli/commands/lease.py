# SPDX-License-Identifier: Apache-2.0
"""`bms lease`."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING

import click

from services.cli.failures import BadUsage
from services.cli.nouns import Noun, full_name
from services.cli.screen import Column, age, as_dict, short, when, word
from services.cli.selector import quote
from services.cli.session import Session, changes, reads

if TYPE_CHECKING:
    from bms.ipam.v1.lease_pb2 import AddressLease


@click.group("lease", cls=Noun)
def lease() -> None:
    """Address leases, of bare metal and virtual machines."""


def _state(each: AddressLease) -> str:
    from bms.ipam.v1.lease_pb2 import AddressLease

    return word(AddressLease.State, each.state, "STATE_")


def _owner(each: AddressLease) -> str:
    return each.owner.resource.removeprefix("projects/").replace("/instances/", "/")


def _card(each: AddressLease) -> list[tuple[str, str]]:
    return [
        ("Name", each.name),
        ("Address", f"{each.address}/{each.prefix_length}"),
        ("State", _state(each)),
        ("Owner", _owner(each)),
        ("Interface", each.owner.interface),
        ("MAC", each.owner.mac_address),
        ("Network", each.network),
        ("VRF", each.vrf),
        ("Gateway", each.gateway),
        ("Name servers", ", ".join(each.dns_servers)),
        ("Host name", each.fqdn),
        ("PTR record", each.reverse_name if each.fqdn else ""),
        ("Epoch", str(each.epoch)),
        ("Granted", when(each.create_time)),
        ("Free at", when(each.free_time)),
        ("Kept for the owner until", when(each.keep_time)),
    ]


COLUMNS: Sequence[Column[AddressLease]] = (
    Column("ADDRESS", lambda each: each.address),
    Column("STATE", _state),
    Column("OWNER", _owner),
    Column("NETWORK", lambda each: short(each.network)),
    Column("EPOCH", lambda each: str(each.epoch)),
    Column("FREE AT", lambda each: when(each.free_time)),
    Column("VRF", lambda each: each.vrf, wide=True),
    Column("MAC", lambda each: each.owner.mac_address, wide=True),
    Column("HOST NAME", lambda each: each.fqdn, wide=True),
    Column("AGE", lambda each: age(each.create_time), wide=True),
    Column("LEASE", lambda each: short(each.name), wide=True),
)


@lease.command("list")
@click.option("--all", "-A", "everywhere", is_flag=True, help="Of all projects; for administrators.")
@click.option("--network", "network_name", default="", help="Only of this network.")
@click.option("--address", default="", help="Only of this address.")
@click.option("--owner", default="", help="Only of this owner: PROJECT/INSTANCE, or a virtual machine's id.")
@click.option("--state", type=click.Choice(["leased", "cooling", "freed"]), help="Only in this state.")
@reads
def list_(session: Session, everywhere: bool, network_name: str, address: str, owner: str, state: str | None) -> None:
    """List the leases of the project."""
    from bms.ipam.v1.lease_pb2 import ListLeasesRequest

    parent = "projects/-" if everywhere else session.parent
    terms = {
        "network": full_name(network_name, "networks", "" if "/" in network_name else session.parent)
        if network_name
        else "",
        "address": address,
        "owner": full_name(owner, "instances") if owner.count("/") == 1 else owner,
        "state": state or "",
    }
    filter_ = " AND ".join(f"{field} = {quote(value)}" for field, value in terms.items() if value)
    session.screen.rows(
        sorted(
            session.pages(session.ipam.ListLeases, ListLeasesRequest(parent=parent, filter=filter_), "leases"), key=_at
        ),
        COLUMNS,
        name=lambda each: each.name,
        as_data=as_dict,
    )


def _at(each: AddressLease) -> tuple[str, int, int]:
    """By address space and address: services list by id, which tells people nothing."""
    address = ip_address(each.address)
    return each.vrf, address.version, int(address)


@lease.command("show")
@click.argument("name")
@reads
def show(session: Session, name: str) -> None:
    """Show a lease."""
    from bms.ipam.v1.lease_pb2 import GetLeaseRequest

    full = full_name(name, "leases", "" if "/" in name else session.parent)
    found = session.ipam.GetLease(GetLeaseRequest(name=full))
    session.screen.one(found, _card(found))


@lease.command("create")
@click.option("--network", "network_name", required=True, help="The network to be on.")
@click.option("--owner", required=True, help="The virtual machine's id.")
@click.option("--interface", default="", help="Which of its interfaces.")
@click.option("--mac", "mac_address", default="", help="The MAC address that will use it.")
@click.option("--address", default="", help="The very address wanted.  [default: any]")
@click.option("--ip-version", type=click.Choice(["4", "6"]), help="Which version.  [default: that of the network]")
@click.option("--both", is_flag=True, help="An address of each IP version that the network has: all of them, or none.")
@click.option("--host-name", default="", help="Its host name, without the domain.")
@changes
def create(
    session: Session,
    network_name: str,
    owner: str,
    interface: str,
    mac_address: str,
    address: str,
    ip_version: str | None,
    both: bool,
    host_name: str,
) -> None:
    """Lease an address for a virtual machine. Instances on bare metal get theirs by themselves."""
    from bms.ipam.v1.lease_pb2 import LeaseAddressesRequest, LeaseAddressRequest, Owner

    network = full_name(network_name, "networks", session.parent)
    holder = Owner(kind=Owner.KIND_VIRTUAL_MACHINE, resource=owner, interface=interface, mac_address=mac_address)
    if both:
        if ip_version:
            raise BadUsage("--both and --ip-version are given", remedy="Give one of the two.")
        wanted = LeaseAddressesRequest(
            parent=session.parent,
            network=network,
            owner=holder,
            addresses=[address] if address else [],
            host_name=host_name,
        )
        leases = session.ipam.LeaseAddresses(session.fill(wanted)).leases
        session.screen.rows(leases, COLUMNS, name=lambda each: each.name, as_data=as_dict)
        return
    request = LeaseAddressRequest(
        parent=session.parent,
        network=network,
        owner=holder,
        address=address,
        ip_version=int(ip_version or 0),
        host_name=host_name,
    )
    made = session.ipam.LeaseAddress(session.fill(request))
    session.screen.one(made, _card(made))


@lease.command("release")
@click.argument("name")
@click.option("--epoch", type=int, help="The lease's epoch; another is refused.  [default: as it is now]")
@changes
def release(session: Session, name: str, epoch: int | None) -> None:
    """Give an address back; it rests for its prefix's cool-down."""
    from bms.ipam.v1.lease_pb2 import GetLeaseRequest, ReleaseLeaseRequest

    full = full_name(name, "leases", "" if "/" in name else session.parent)
    if epoch is None:
        epoch = session.ipam.GetLease(GetLeaseRequest(name=full)).epoch
    made = session.ipam.ReleaseLease(session.fill(ReleaseLeaseRequest(name=full, epoch=epoch)))
    session.screen.one(made, _card(made))
