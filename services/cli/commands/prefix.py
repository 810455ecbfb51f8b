# SPDX-License-Identifier: Apache-2.0
"""`bms prefix`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from services.cli.failures import BadUsage
from services.cli.nouns import Noun, Span, full_name
from services.cli.screen import Column, age, as_dict, seconds, short
from services.cli.session import Session, changes, reads

if TYPE_CHECKING:
    from bms.ipam.v1.prefix_pb2 import AddressRange, Prefix


@click.group("prefix", cls=Noun)
def prefix() -> None:
    """Prefixes: the address ranges of networks."""


def _spans(ranges: Iterable[AddressRange]) -> str:
    return ", ".join(f"{one.start}-{one.end}" for one in ranges)


_MANY = 2**63 - 1
"""What stands for more."""


def _free(each: Prefix) -> str:
    if each.free_count == _MANY:
        return "more than can be counted"
    return f"{each.free_count} of {'more than can be counted' if each.capacity == _MANY else each.capacity}"


def _divided(each: Prefix) -> str:
    return f"{each.child_count} {'prefix' if each.child_count == 1 else 'prefixes'}" if each.container else ""


def _used(each: Prefix) -> str:
    """Which share of its addresses cannot be had now."""
    return f"{(each.capacity - each.free_count) / each.capacity:.0%}" if each.capacity else ""


def _ranges(given: Sequence[str], what: str) -> list[AddressRange]:
    from bms.ipam.v1.prefix_pb2 import AddressRange

    found = []
    for text in given:
        start, separator, end = text.partition("-")
        if not separator:
            raise BadUsage(f"{what} {text!r} is not START-END", remedy=f"Write --{what} 10.1.0.10-10.1.0.99.")
        found.append(AddressRange(start=start, end=end))
    return found


def _card(each: Prefix) -> list[tuple[str, str]]:
    return [
        ("Name", each.name),
        ("Range", each.cidr),
        ("Part of", each.parent_prefix),
        ("Divided into", _divided(each)),
        ("Network", each.network),
        ("VRF", each.vrf),
        ("Gateway", "" if each.container else each.gateway),
        ("Chosen from", _spans(each.pools)),
        ("Reserved", _spans(each.reserved)),
        ("Shared", "with all projects" if each.shared else ""),
        ("Name servers", ", ".join(each.dns_servers)),
        ("Domain", each.domain),
        ("Cool-down", "" if each.container else seconds(each.cool_down) or "none"),
        ("Kept for the owner", seconds(each.sticky_time) if each.HasField("sticky_time") else ""),
        ("Leased", "" if each.container else str(each.leased_count)),
        ("Cooling", "" if each.container else str(each.cooling_count)),
        ("Free", _free(each)),
        ("Etag", each.etag),
    ]


@prefix.command("list")
@click.option("--all", "-A", "everywhere", is_flag=True, help="Of all projects; for administrators.")
@click.option("--shared", is_flag=True, help="Also those that other projects share.")
@reads
def list_(session: Session, everywhere: bool, shared: bool) -> None:
    """List the prefixes of the project."""
    from bms.ipam.v1.prefix_pb2 import ListPrefixesRequest

    request = ListPrefixesRequest(parent="projects/-" if everywhere else session.parent, shared=shared)
    session.screen.rows(
        session.pages(session.ipam.ListPrefixes, request, "prefixes"),
        (
            Column("NAME", lambda each: each.name.removeprefix("projects/").replace("/prefixes/", "/")),
            Column("RANGE", lambda each: each.cidr),
            Column("NETWORK", lambda each: "(container)" if each.container else short(each.network)),
            Column("GATEWAY", lambda each: each.gateway),
            Column("LEASED", lambda each: str(each.leased_count)),
            Column("COOLING", lambda each: str(each.cooling_count)),
            Column("USED", _used),
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
@click.option("--cidr", default="", help="The range, such as 10.1.0.0/24 or 2001:db8::/64.")
@click.option("--network", "network_name", default="", help="The network it serves; a container has none.")
@click.option("--container", is_flag=True, help="Divide it into other prefixes; it gives no addresses.")
@click.option("--parent", default="", help="The container it becomes a part of.")
@click.option(
    "--length", type=int, default=0, help="Of the parent, the next free range of this length; in place of --cidr."
)
@click.option("--gateway", default="", help="The gateway, or none.  [default: the first usable address]")
@click.option(
    "--pool", "pools", multiple=True, metavar="START-END", help="Where free addresses are chosen; may be repeated."
)
@click.option("--reserve", "reserved", multiple=True, metavar="START-END", help="Given to nobody; may be repeated.")
@click.option("--dns", "dns_servers", multiple=True, help="A name server; may be repeated.")
@click.option("--cool-down", type=Span(), help="How long a released address rests.  [default: 10m]")
@click.option("--sticky", type=Span(), help="How long a rested address is kept for whoever had it.  [default: not]")
@click.option("--domain", default="", help="The DNS domain of host names.")
@click.option("--shared", is_flag=True, help="Let other projects' virtual machines have addresses too.")
@click.option("--vrf", default="", help="The address space.  [default: the network's]")
@changes
def create(
    session: Session,
    name: str,
    cidr: str,
    network_name: str,
    container: bool,
    parent: str,
    length: int,
    gateway: str,
    pools: tuple[str, ...],
    reserved: tuple[str, ...],
    dns_servers: tuple[str, ...],
    cool_down: timedelta | None,
    sticky: timedelta | None,
    domain: str,
    shared: bool,
    vrf: str,
) -> None:
    """Make a prefix in a network, or a container for prefixes."""
    from bms.ipam.v1.prefix_pb2 import CreatePrefixRequest, Prefix

    wanted = Prefix(
        cidr=cidr,
        network=full_name(network_name, "networks", session.parent) if network_name else "",
        container=container,
        parent_prefix=full_name(parent, "prefixes", session.parent) if parent else "",
        gateway=gateway,
        pools=_ranges(pools, "pool"),
        reserved=_ranges(reserved, "reserve"),
        dns_servers=dns_servers,
        shared=shared,
        vrf=vrf,
        domain=domain,
    )
    if cool_down is not None:
        wanted.cool_down.FromTimedelta(cool_down)
    if sticky is not None:
        wanted.sticky_time.FromTimedelta(sticky)
    request = CreatePrefixRequest(parent=session.parent, prefix_id=name, prefix=wanted, prefix_length=length)
    made = session.ipam.CreatePrefix(session.fill(request))
    session.screen.one(made, _card(made))


@prefix.command("set")
@click.argument("name")
@click.option("--pool", "pools", multiple=True, metavar="START-END", help="Where to choose from now on; all of them.")
@click.option(
    "--reserve", "reserved", multiple=True, metavar="START-END", help="Given to nobody from now on; all of them."
)
@click.option("--dns", "dns_servers", multiple=True, help="A name server; all of them.")
@click.option("--cool-down", type=Span(), help="How long a released address rests.")
@click.option("--sticky", type=Span(), help="How long a rested address is kept for whoever had it; 0s for not.")
@click.option("--domain", help="The DNS domain of host names.")
@click.option("--shared/--not-shared", default=None, help="Whether other projects may have addresses too.")
@click.option(
    "--clear",
    multiple=True,
    type=click.Choice(["pools", "reserved", "dns_servers"]),
    help="Leave this empty from now on; may be repeated.",
)
@click.option("--etag", default="", help="Refuse if somebody changed it since this etag was read.")
@changes
def set_(
    session: Session,
    name: str,
    pools: tuple[str, ...],
    reserved: tuple[str, ...],
    dns_servers: tuple[str, ...],
    cool_down: timedelta | None,
    sticky: timedelta | None,
    domain: str | None,
    shared: bool | None,
    clear: tuple[str, ...],
    etag: str,
) -> None:
    """Change a prefix that is used; what is not given stays. Leases keep what they were granted with."""
    from google.protobuf.field_mask_pb2 import FieldMask

    from bms.ipam.v1.prefix_pb2 import Prefix, UpdatePrefixRequest

    changed = Prefix(
        name=full_name(name, "prefixes", "" if "/" in name else session.parent),
        etag=etag,
        pools=_ranges(pools, "pool"),
        reserved=_ranges(reserved, "reserve"),
        dns_servers=dns_servers,
        shared=bool(shared),
        domain=domain or "",
    )
    given = {"pools": bool(pools), "reserved": bool(reserved), "dns_servers": bool(dns_servers)}
    both = [field for field in clear if given[field]]
    if both:
        raise BadUsage(f"{both[0]} is both given and cleared", remedy="Give one of the two.")
    if cool_down is not None:
        changed.cool_down.FromTimedelta(cool_down)
    if sticky is not None:
        changed.sticky_time.FromTimedelta(sticky)
    mask = [field for field, there in given.items() if there or field in clear]
    plain = {"cool_down": cool_down, "sticky_time": sticky, "domain": domain, "shared": shared}
    mask += [field for field, value in plain.items() if value is not None]
    if not mask:
        raise BadUsage("nothing to change", remedy="Give at least one option; see `bms prefix set --help`.")
    request = UpdatePrefixRequest(prefix=changed, update_mask=FieldMask(paths=mask))
    made = session.ipam.UpdatePrefix(session.fill(request))
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
