# SPDX-License-Identifier: Apache-2.0
"""`bms network`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from services.cli.nouns import Noun, full_name
from services.cli.screen import Column, age, as_dict, word
from services.cli.session import Session, changes, reads

if TYPE_CHECKING:
    from bms.network.v1.network_pb2 import Network

_CLASSES = ("tenant", "provisioning", "cleaning", "rescue")


@click.group("network", cls=Noun)
def network() -> None:
    """Networks that server ports can be attached to."""


def _class(each: Network) -> str:
    from bms.network.v1.network_pb2 import PortClass

    return word(PortClass, each.network_class, "PORT_CLASS_") or "tenant"


def _card(each: Network) -> list[tuple[str, str]]:
    return [
        ("Name", each.name),
        ("Called", each.display_name),
        ("Class", _class(each)),
        ("VLAN", str(each.vlan_id or "")),
        ("VNI", str(each.vni or "")),
        ("VRF", each.vrf),
        ("Ports on it", str(each.attached_port_count)),
        ("Etag", each.etag),
    ]


@network.command("list")
@click.option("--all", "-A", "everywhere", is_flag=True, help="Of all projects; for administrators.")
@reads
def list_(session: Session, everywhere: bool) -> None:
    """List the networks of the project."""
    from bms.network.v1.network_pb2 import ListNetworksRequest

    request = ListNetworksRequest(parent="projects/-" if everywhere else session.parent)
    session.screen.rows(
        session.pages(session.network.ListNetworks, request, "networks"),
        (
            Column("NAME", lambda each: each.name.removeprefix("projects/").replace("/networks/", "/")),
            Column("CLASS", _class),
            Column("VLAN", lambda each: str(each.vlan_id)),
            Column("VNI", lambda each: str(each.vni)),
            Column("PORTS", lambda each: str(each.attached_port_count)),
            Column("VRF", lambda each: each.vrf, wide=True),
            Column("AGE", lambda each: age(each.create_time), wide=True),
        ),
        name=lambda each: each.name,
        as_data=as_dict,
    )


@network.command("show")
@click.argument("name")
@reads
def show(session: Session, name: str) -> None:
    """Show a network."""
    from bms.network.v1.network_pb2 import GetNetworkRequest

    full = full_name(name, "networks", "" if "/" in name else session.parent)
    found = session.network.GetNetwork(GetNetworkRequest(name=full))
    session.screen.one(found, _card(found))


@network.command("create")
@click.argument("name")
@click.option(
    "--class",
    "network_class",
    type=click.Choice(_CLASSES),
    default="tenant",
    show_default=True,
    help="What it is for; one of each private class on a site.",
)
@click.option("--vlan", "vlan_id", type=int, default=0, help="The VLAN, 2 to 4094.  [default: a free one]")
@click.option("--display-name", default="", help="The name people use.")
@changes
def create(session: Session, name: str, network_class: str, vlan_id: int, display_name: str) -> None:
    """Make a network."""
    from bms.network.v1.network_pb2 import CreateNetworkRequest, Network, PortClass

    wanted = Network(
        network_class=PortClass.Value(f"PORT_CLASS_{network_class.upper()}"), vlan_id=vlan_id, display_name=display_name
    )
    request = CreateNetworkRequest(parent=session.parent, network_id=name, network=wanted)
    made = session.network.CreateNetwork(session.fill(request))
    session.screen.one(made, _card(made))


@network.command("delete")
@click.argument("name")
@click.option("--etag", default="", help="Refuse if somebody changed it since this etag was read.")
@changes
def delete(session: Session, name: str, etag: str) -> None:
    """Remove a network that no port is on."""
    from bms.network.v1.network_pb2 import DeleteNetworkRequest

    full = full_name(name, "networks", "" if "/" in name else session.parent)
    session.network.DeleteNetwork(session.fill(DeleteNetworkRequest(name=full, etag=etag)))
    session.screen.print(f"{full} {'could be removed' if session.options.validate_only else 'removed'}")
