# SPDX-License-Identifier: Apache-2.0
"""`bms flavor`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from services.cli.failures import BadUsage
from services.cli.fleet import complete
from services.cli.nouns import Noun, change_pairs, full_name, parse_pairs
from services.cli.screen import Column, age, as_dict, pairs, short
from services.cli.session import Session, changes, reads

if TYPE_CHECKING:
    from bms.inventory.v1.catalogue_pb2 import Flavor

NAME = click.argument("name", shell_complete=lambda _ctx, _parameter, incomplete: complete("flavor", incomplete))

_CONSTRAINTS = (
    click.option("--description", default=None, help="Free text."),
    click.option("--class", "resource_class", default=None, help="The server's class."),
    click.option("--manufacturer", default=None, help="The server's manufacturer."),
    click.option("--arch", "cpu_arch", default=None, help="The server's architecture, such as x86_64."),
    click.option("--min-cpus", type=int, default=None, help="At least this many cores."),
    click.option("--min-memory", "min_memory_mb", type=int, default=None, help="At least this much memory, MiB."),
    click.option("--min-disk", "min_local_gb", type=int, default=None, help="At least this large a root disk, GiB."),
    click.option("--min-disks", type=int, default=None, help="At least this many disks."),
    click.option("--capability", "capabilities", multiple=True, metavar="KEY=VALUE", help="A capability it must have."),
    click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label it must have."),
)


def _constraints(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_CONSTRAINTS):
        command = option(command)
    return command


@click.group("flavor", cls=Noun)
def flavor() -> None:
    """Flavors: what a tenant may ask a server to be."""


def _wants(each: Flavor) -> str:
    parts = [each.manufacturer, each.cpu_arch]
    amounts = (
        (each.min_cpus, "cores"),
        (each.min_memory_mb, "MiB"),
        (each.min_local_gb, "GiB root disk"),
        (each.min_disks, "disks"),
    )
    parts += [f">= {amount} {unit}" for amount, unit in amounts if amount]
    return ", ".join(filter(None, [*parts, pairs(each.capabilities), pairs(each.labels)])) or "anything"


def _card(each: Flavor) -> list[tuple[str, str]]:
    return [
        ("Name", short(each.name)),
        ("Class", each.resource_class),
        ("Wants", _wants(each)),
        ("Description", each.description),
        ("Etag", each.etag),
    ]


@flavor.command("list")
@reads
def list_(session: Session) -> None:
    """List flavors."""
    from bms.inventory.v1.catalogue_pb2 import ListFlavorsRequest

    session.screen.rows(
        session.pages(session.inventory.ListFlavors, ListFlavorsRequest(), "flavors"),
        (
            Column("NAME", lambda each: short(each.name)),
            Column("CLASS", lambda each: each.resource_class or "any"),
            Column("WANTS", _wants),
            Column("DESCRIPTION", lambda each: each.description),
            Column("AGE", lambda each: age(each.create_time), wide=True),
        ),
        name=lambda each: each.name,
        as_data=as_dict,
    )


@flavor.command("show")
@NAME
@reads
def show(session: Session, name: str) -> None:
    """Show a flavor."""
    from bms.inventory.v1.catalogue_pb2 import GetFlavorRequest

    found = session.inventory.GetFlavor(GetFlavorRequest(name=full_name(name, "flavors")))
    session.screen.one(found, _card(found))


@flavor.command("create")
@click.argument("name")
@_constraints
@changes
def create(
    session: Session, /, name: str, capabilities: tuple[str, ...], labels: tuple[str, ...], **given: Any
) -> None:
    """Make a flavor. Every constraint given must hold."""
    from bms.inventory.v1.catalogue_pb2 import CreateFlavorRequest, Flavor

    wanted = Flavor(
        **{field: value for field, value in given.items() if value is not None},
        capabilities=parse_pairs(capabilities, "capability"),
        labels=parse_pairs(labels, "label"),
    )
    made = session.inventory.CreateFlavor(session.fill(CreateFlavorRequest(flavor_id=name, flavor=wanted)))
    session.screen.one(made, _card(made))


@flavor.command("set")
@NAME
@_constraints
@click.option("--etag", default="", help="Refuse if somebody changed it since this etag was read.")
@changes
def set_(
    session: Session, /, name: str, capabilities: tuple[str, ...], labels: tuple[str, ...], etag: str, **given: Any
) -> None:
    """Change a flavor; what is not given stays. KEY- takes a capability or label away."""
    from google.protobuf.field_mask_pb2 import FieldMask

    from bms.inventory.v1.catalogue_pb2 import Flavor, GetFlavorRequest, UpdateFlavorRequest

    plain = {field: value for field, value in given.items() if value is not None}
    if not plain and not capabilities and not labels:
        raise BadUsage("nothing to change", remedy="Give at least one option; see `bms flavor set --help`.")
    before = session.inventory.GetFlavor(GetFlavorRequest(name=full_name(name, "flavors")))
    changed = Flavor(name=before.name, etag=etag or before.etag, **plain)
    mask = list(plain)
    if capabilities:
        changed.capabilities.update(change_pairs(dict(before.capabilities), capabilities, "capability"))
        mask.append("capabilities")
    if labels:
        changed.labels.update(change_pairs(dict(before.labels), labels, "label"))
        mask.append("labels")
    request = UpdateFlavorRequest(flavor=changed, update_mask=FieldMask(paths=mask))
    made = session.inventory.UpdateFlavor(session.fill(request))
    session.screen.one(made, _card(made))


@flavor.command("delete")
@NAME
@click.option("--etag", default="", help="Refuse if somebody changed it since this etag was read.")
@changes
def delete(session: Session, name: str, etag: str) -> None:
    """Remove a flavor. Instances made by it stay as they are."""
    from bms.inventory.v1.catalogue_pb2 import DeleteFlavorRequest

    full = full_name(name, "flavors")
    session.inventory.DeleteFlavor(session.fill(DeleteFlavorRequest(name=full, etag=etag)))
    session.screen.print(f"{full} {'could be removed' if session.options.validate_only else 'removed'}")
