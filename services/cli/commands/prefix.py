# SPDX-License-Identifier: Apache-2.0
"""`bms prefix`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from services.cli.failures import BadUsage
from services.cli.nouns import Noun, Span, full_name
from services.cli.screen import Column, age, as_dict, seconds, short
from services.cli.session import Session, changes, reads

if TYPE_CHECKING:
    from bms.ipam.v1.prefix_pb2 import Prefix


@click.group("prefix", cls=Noun)
def prefix() -> None:
    """Prefixes: the address ranges of networks."""


def _card(each: Prefix) -> list[tuple[str, str]]:
    return [
        ("Name", each.name),
        ("Range", each.cidr),
        ("Network", each.network),
        ("VRF", each.vrf),
        ("Gateway", each.gateway),
        ("Chosen from", ", ".join(f"{pool.start}-{pool.end}" for pool in each.pools)),
        ("Name servers", ", ".join(each.dns_servers)),
        ("Cool-down", seconds(each.cool_down)),
        ("Leased", str(each.leased_count)),
        ("Cooling", str(each.cooling_count)),
        ("Etag", each.etag),
    ]


@prefix.command("list")
@click.option("--all", "-A", "everywhere", is_flag=True, help="Of all projects; for administrators.")
@reads
def list_(session: Session, everywhere: bool) -> None:
    """List the prefixes of the project."""
    from bms.ipam.v1.prefix_pb2 import ListPrefixesRequest

    request = ListPrefixesRequest(parent="projects/-" if everywhere else session.parent)
    session.screen.rows(
        session.pages(session.ipam.ListPrefixes, request, "prefixes"),
        (
            Column("NAME", lambda each: each.name.removeprefix("projects/").replace("/prefixes/", "/")),
            Column("RANGE", lambda each: each.cidr),
            Column("NETWORK", lambda each: short(each.network)),
            Column("GATEWAY", lambda each: each.gateway),
            Column("LEASED", lambda each: str(each.leased_count)),
            Column("COOLING", lambda each: str(each.cooling_count)),
            Column("VRF", lambda each: each.vrf, wide=True),
            Column("AGE", lambda each: age(each.create_time), wide=True),
        ),
        name=lambda each: each.name,
        as_data=as_dict,
    )


@prefix.command("show")
@click.argument("name")
@reads
def show(session: Session, name: str) -> None:
    """Show a prefix."""
    from bms.ipam.v1.prefix_pb2 import GetPrefixRequest

    full = full_name(name, "prefixes", "" if "/" in name else session.parent)
    found = session.ipam.GetPrefix(GetPrefixRequest(name=full))
    session.screen.one(found, _card(found))


@prefix.command("create")
@click.argument("name")
@click.option("--cidr", required=True, help="The range, such as 10.1.0.0/24 or 2001:db8::/64.")
@click.option("--network", "network_name", required=True, help="The network it serves.")
@click.option("--gateway", default="", help="The gateway, or none.  [default: the first usable address]")
@click.option(
    "--pool", "pools", multiple=True, metavar="START-END", help="Where free addresses are chosen; may be repeated."
)
@click.option("--dns", "dns_servers", multiple=True, help="A name server; may be repeated.")
@click.option("--cool-down", type=Span(), help="How long a released address rests.  [default: 10m]")
@click.option("--vrf", default="", help="The address space.  [default: the network's]")
@changes
def create(
    session: Session,
    name: str,
    cidr: str,
    network_name: str,
    gateway: str,
    pools: tuple[str, ...],
    dns_servers: tuple[str, ...],
    cool_down: timedelta | None,
    vrf: str,
) -> None:
    """Make a prefix in a network."""
    from bms.ipam.v1.prefix_pb2 import AddressRange, CreatePrefixRequest, Prefix

    ranges = []
    for text in pools:
        start, separator, end = text.partition("-")
        if not separator:
            raise BadUsage(f"pool {text!r} is not START-END", remedy="Write --pool 10.1.0.10-10.1.0.99.")
        ranges.append(AddressRange(start=start, end=end))
    wanted = Prefix(
        cidr=cidr,
        network=full_name(network_name, "networks", session.parent),
        gateway=gateway,
        pools=ranges,
        dns_servers=dns_servers,
        vrf=vrf,
    )
    if cool_down is not None:
        wanted.cool_down.FromTimedelta(cool_down)
    request = CreatePrefixRequest(parent=session.parent, prefix_id=name, prefix=wanted)
    made = session.ipam.CreatePrefix(session.fill(request))
    session.screen.one(made, _card(made))


@prefix.command("delete")
@click.argument("name")
@click.option("--etag", default="", help="Refuse if somebody changed it since this etag was read.")
@changes
def delete(session: Session, name: str, etag: str) -> None:
    """Remove a prefix that holds no addresses."""
    from bms.ipam.v1.prefix_pb2 import DeletePrefixRequest

    full = full_name(name, "prefixes", "" if "/" in name else session.parent)
    session.ipam.DeletePrefix(session.fill(DeletePrefixRequest(name=full, etag=etag)))
    session.screen.print(f"{full} {'could be removed' if session.options.validate_only else 'removed'}")
