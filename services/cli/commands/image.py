# SPDX-License-Identifier: Apache-2.0
"""`bms image`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from services.cli.failures import BadUsage
from services.cli.fleet import complete
from services.cli.nouns import Noun, full_name
from services.cli.screen import Column, age, as_dict, short, word
from services.cli.session import Session, changes, reads

if TYPE_CHECKING:
    from bms.inventory.v1.catalogue_pb2 import Image

NAME = click.argument("name", shell_complete=lambda _ctx, _parameter, incomplete: complete("image", incomplete))


@click.group("image", cls=Noun)
def image() -> None:
    """Images that can be written to servers."""


def _visibility(each: Image) -> str:
    from bms.inventory.v1.catalogue_pb2 import Image

    return word(Image.Visibility, each.visibility, "VISIBILITY_")


def _type(each: Image) -> str:
    from bms.inventory.v1.catalogue_pb2 import Image

    return word(Image.Type, each.type, "TYPE_").replace("_", " ") or "whole disk"


def _card(each: Image) -> list[tuple[str, str]]:
    return [
        ("Name", short(each.name)),
        ("Type", _type(each)),
        ("Visibility", _visibility(each)),
        ("Project", each.project),
        ("Shared with", ", ".join(each.shared_projects)),
        ("Source", each.source_uri),
        ("Checksum", each.checksum),
        ("Kernel", each.kernel_uri),
        ("Ramdisk", each.ramdisk_uri),
        ("Needs", " ".join(filter(None, (each.cpu_arch, f"{each.min_local_gb} GiB" if each.min_local_gb else "")))),
        ("Description", each.description),
        ("Etag", each.etag),
    ]


@image.command("list")
@reads
def list_(session: Session) -> None:
    """List the images that you may use."""
    from bms.inventory.v1.catalogue_pb2 import ListImagesRequest

    session.screen.rows(
        session.pages(session.inventory.ListImages, ListImagesRequest(), "images"),
        (
            Column("NAME", lambda each: short(each.name)),
            Column("TYPE", _type),
            Column("VISIBILITY", _visibility),
            Column("PROJECT", lambda each: each.project or "-"),
            Column("CHECKSUM", lambda each: each.checksum[:19]),
            Column("SOURCE", lambda each: each.source_uri, wide=True),
            Column("AGE", lambda each: age(each.create_time), wide=True),
        ),
        name=lambda each: each.name,
        as_data=as_dict,
    )


@image.command("show")
@NAME
@reads
def show(session: Session, name: str) -> None:
    """Show an image."""
    from bms.inventory.v1.catalogue_pb2 import GetImageRequest

    found = session.inventory.GetImage(GetImageRequest(name=full_name(name, "images")))
    session.screen.one(found, _card(found))


@image.command("create")
@click.argument("name")
@click.option("--source", "source_uri", required=True, help="Where it is fetched: http:, https:, file: or glance: URI.")
@click.option("--checksum", required=True, help="sha256:... or sha512:... of the file.")
@click.option("--visibility", type=click.Choice(["public", "private", "shared"]), help="Who may use it.")
@click.option("--share", "shared_projects", multiple=True, metavar="PROJECT", help="A project to share it with.")
@click.option("--kernel", "kernel_uri", default="", help="The kernel's URI: makes it a partition image.")
@click.option("--kernel-checksum", default="", help="The kernel's checksum.")
@click.option("--ramdisk", "ramdisk_uri", default="", help="The ramdisk's URI.")
@click.option("--ramdisk-checksum", default="", help="The ramdisk's checksum.")
@click.option("--min-disk", "min_local_gb", type=int, default=0, help="The root disk it needs, GiB.")
@click.option("--arch", "cpu_arch", default="", help="The architecture it runs on.")
@click.option("--description", default="", help="Free text.")
@click.option("--site", "of_site", is_flag=True, help="The site's own, not the project's.")
@changes
def create(
    session: Session, /, name: str, visibility: str | None, kernel_uri: str, of_site: bool, **given: Any
) -> None:
    """Register an image of the project (or of the site). Nothing is fetched."""
    from bms.inventory.v1.catalogue_pb2 import CreateImageRequest, Image

    site = of_site or not session.project
    wanted = Image(
        project="" if site else session.project,
        visibility=Image.Visibility.Value(f"VISIBILITY_{(visibility or 'unspecified').upper()}"),
        type=Image.TYPE_PARTITION if kernel_uri else Image.TYPE_WHOLE_DISK,
        kernel_uri=kernel_uri,
        **given,
    )
    made = session.inventory.CreateImage(session.fill(CreateImageRequest(image_id=name, image=wanted)))
    session.screen.one(made, _card(made))


@image.command("set")
@NAME
@click.option("--visibility", type=click.Choice(["public", "private", "shared"]), help="Who may use it.")
@click.option("--share", "shared_projects", multiple=True, metavar="PROJECT", help="The projects to share it with.")
@click.option("--description", help="Free text.")
@click.option("--etag", default="", help="Refuse if somebody changed it since this etag was read.")
@changes
def set_(
    session: Session,
    name: str,
    visibility: str | None,
    shared_projects: tuple[str, ...],
    description: str | None,
    etag: str,
) -> None:
    """Change who may use an image, or its description."""
    from google.protobuf.field_mask_pb2 import FieldMask

    from bms.inventory.v1.catalogue_pb2 import Image, UpdateImageRequest

    changed = Image(name=full_name(name, "images"), etag=etag)
    mask = []
    if visibility:
        changed.visibility = Image.Visibility.Value(f"VISIBILITY_{visibility.upper()}")
        mask.append("visibility")
    if shared_projects:
        changed.shared_projects.extend(shared_projects)
        mask.append("shared_projects")
    if description is not None:
        changed.description = description
        mask.append("description")
    if not mask:
        raise BadUsage("nothing to change", remedy="Give at least one option; see `bms image set --help`.")
    request = UpdateImageRequest(image=changed, update_mask=FieldMask(paths=mask))
    made = session.inventory.UpdateImage(session.fill(request))
    session.screen.one(made, _card(made))


@image.command("delete")
@NAME
@click.option("--etag", default="", help="Refuse if somebody changed it since this etag was read.")
@changes
def delete(session: Session, name: str, etag: str) -> None:
    """Remove an image from the catalogue. Servers that run it stay as they are."""
    from bms.inventory.v1.catalogue_pb2 import DeleteImageRequest

    full = full_name(name, "images")
    session.inventory.DeleteImage(session.fill(DeleteImageRequest(name=full, etag=etag)))
    session.screen.print(f"{full} {'could be removed' if session.options.validate_only else 'removed'}")
