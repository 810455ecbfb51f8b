# SPDX-License-Identifier: Apache-2.0
"""An image that can be written to a server's root disk, and who may use it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from services.inventory.domain.checks import Checks
from services.inventory.domain.mirror import Mirror
from services.kernel.calls import Caller
from services.kernel.errors import BmsError, Forbidden, InvalidField, NotFound
from services.kernel.names import new_id

MAX_SHARES = 100


class ImageType(StrEnum):
    """How it boots."""

    WHOLE_DISK = "whole_disk"
    PARTITION = "partition"


class Visibility(StrEnum):
    """Who may use it."""

    PUBLIC = "public"
    PRIVATE = "private"
    SHARED = "shared"


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """What its owner says about an image; ``visibility`` None is the default of its owner."""

    project: str = ""
    description: str = ""
    visibility: Visibility | None = None
    shared_projects: tuple[str, ...] = ()
    type: ImageType = ImageType.WHOLE_DISK
    source_uri: str = ""
    checksum: str = ""
    size_bytes: int = 0
    kernel_uri: str = ""
    kernel_checksum: str = ""
    ramdisk_uri: str = ""
    ramdisk_checksum: str = ""
    min_local_gb: int = 0
    cpu_arch: str = ""


@dataclass(frozen=True, slots=True)
class Image:
    """An image of the catalogue; ``sequence`` is the last of its stream, and so its etag."""

    id: str
    spec: ImageSpec
    create_time: datetime
    update_time: datetime
    sequence: int = 0
    mirror: Mirror = field(default_factory=Mirror)

    @property
    def name(self) -> str:
        """The resource name."""
        return f"images/{self.id}"

    def usable_by(self, project: str) -> bool:
        """Whether *project* may write it to its servers."""
        return (
            self.spec.visibility is Visibility.PUBLIC
            or project == self.spec.project != ""
            or (self.spec.visibility is Visibility.SHARED and project in self.spec.shared_projects)
        )

    def visible_to(self, caller: Caller) -> bool:
        """Whether *caller* may know of it."""
        return (
            self.spec.visibility is Visibility.PUBLIC
            or caller.may_read(self.spec.project)
            or any(self.usable_by(project) for project, roles in caller.project_roles.items() if roles)
        )


def unknown(name: str) -> NotFound:
    """The refusal of an image that does not exist, or that the caller may not know of: both sound alike."""
    return NotFound(f"{name} does not exist", remedy="List the images that you may use with ListImages.", name=name)


def may_change(image: Image, caller: Caller) -> BmsError | None:
    """Why *caller* may not change *image*; None if he may."""
    if not image.visible_to(caller):
        return unknown(image.name)
    if _owns(image.spec, caller):
        return None
    return Forbidden(
        f"{image.name} is not yours to change",
        remedy="Ask its project's members, or an administrator.",
        name=image.name,
    )


def may_have(spec: ImageSpec, caller: Caller) -> BmsError | None:
    """Why *caller* may not make an image like *spec*, or change one to be so; None if he may."""
    if not _owns(spec, caller):
        if spec.project and not caller.may_read(spec.project):
            return InvalidField(
                "image.project", "is not a project of yours", remedy="Name a project you are a member of."
            )
        return Forbidden(
            "only members make images of a project, and only administrators those of the site",
            remedy="Set image.project to a project you are a member of.",
        )
    if spec.visibility is Visibility.PUBLIC and not caller.is_admin:
        return Forbidden(
            "only administrators make an image public",
            remedy="Share it with the projects that need it: visibility shared and shared_projects.",
        )
    return None


def checked(spec: ImageSpec, checks: Checks) -> ImageSpec:
    """*spec* in its canonical form; whatever is wrong with it is told to *checks*."""
    _project("project", spec.project, checks)
    visibility = spec.visibility or (Visibility.PRIVATE if spec.project else Visibility.PUBLIC)
    if visibility is not Visibility.SHARED and spec.shared_projects:
        checks.refuse("shared_projects", "is only for images of visibility shared")
    checks.at_most("shared_projects", spec.shared_projects, MAX_SHARES)
    for at, project in enumerate(spec.shared_projects):
        _project(f"shared_projects[{at}]", project, checks, required=True)
    partition = spec.type is ImageType.PARTITION
    boot = (spec.kernel_uri, spec.kernel_checksum, spec.ramdisk_uri, spec.ramdisk_checksum)
    if not partition and any(boot):
        checks.refuse("type", "is whole disk, which boots by itself: kernel and ramdisk belong to a partition image")
    return replace(
        spec,
        description=checks.text("description", spec.description, 1000, lines=True),
        visibility=visibility,
        shared_projects=tuple(sorted(set(spec.shared_projects))),
        source_uri=checks.uri("source_uri", spec.source_uri, required=True),
        checksum=checks.checksum("checksum", spec.checksum, required=True),
        size_bytes=checks.number("size_bytes", spec.size_bytes, 0, 2**62),
        kernel_uri=checks.uri("kernel_uri", spec.kernel_uri, required=partition),
        kernel_checksum=checks.checksum("kernel_checksum", spec.kernel_checksum, required=partition),
        ramdisk_uri=checks.uri("ramdisk_uri", spec.ramdisk_uri, required=partition),
        ramdisk_checksum=checks.checksum("ramdisk_checksum", spec.ramdisk_checksum, required=partition),
        min_local_gb=checks.number("min_local_gb", spec.min_local_gb, 0, 2**40),
        cpu_arch=checks.word("cpu_arch", spec.cpu_arch, 63),
    )


def _owns(spec: ImageSpec, caller: Caller) -> bool:
    return caller.may_write(spec.project) if spec.project else caller.is_admin


def _project(field: str, value: str, checks: Checks, *, required: bool = False) -> None:
    if not value and not required:
        return
    try:
        new_id(value, field)
    except InvalidField:
        checks.refuse(field, "is not the id of a project: 1 to 63 lower-case letters, digits, '-', '_' or '.'")
