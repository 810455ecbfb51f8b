# SPDX-License-Identifier: Apache-2.0
"""An image in Glance's words and back. Pure; docs/decisions/0041-mirrored-catalogue.md has the table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from services.inventory.domain import image as images
from services.inventory.domain.checks import Checks
from services.inventory.domain.image import ImageSpec, ImageType, Visibility
from services.inventory.domain.mirror import MIRRORED, MirrorState, Standing, Unfit
from services.kernel.errors import InvalidField
from services.kernel.names import new_id

ACTIVE = "active"
DEACTIVATED = "deactivated"
ON_ITS_WAY = ("queued", "saving", "uploading", "importing")

_DIGEST_LENGTHS = {"sha256": 64, "sha512": 128}
_FORMATS = {".qcow2": "qcow2", ".vmdk": "vmdk", ".vhd": "vhd", ".vhdx": "vhdx", ".vdi": "vdi", ".iso": "iso"}
_PARTS = ("aki", "ari")
"""Formats of kernels and ramdisks, which belong to images and are none."""

_CONTAINERS = ("bare", "ami")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CHECKSUM = "bms_checksum"


@dataclass(frozen=True, slots=True)
class GlanceImage:
    """An image as Glance keeps it.

    Attributes:
        ref: its id; empty of what is only wanted.
        owner: its project; empty for none.
        members: the projects it is shared with that accepted; of what is only wanted, those it should be shared with.
        properties: those that we know: architecture, kernel, ramdisk, description, and the checksum we asked for.
        source: of what is wanted, where its bytes are fetched.
    """

    name: str
    owner: str = ""
    visibility: str = "private"
    members: frozenset[str] = frozenset()
    disk_format: str = ""
    container_format: str = ""
    min_disk: int = 0
    size: int = 0
    status: str = ""
    hash_algo: str = ""
    hash_value: str = ""
    protected: bool = False
    properties: Mapping[str, str] = field(default_factory=dict)
    ref: str = ""
    source: str = ""

    @property
    def checksum(self) -> str:
        """The hash of its bytes as ours are written; empty unless it is one that we take."""
        value = self.hash_value.lower()
        usable = _DIGEST_LENGTHS.get(self.hash_algo) == len(value) and re.fullmatch(r"[0-9a-f]*", value)
        return f"{self.hash_algo}:{value}" if usable else ""

    @property
    def asked(self) -> str:
        """The checksum that its bytes were asked for with; what cannot be changed of what we make."""
        return self.properties.get(_CHECKSUM, "")


def to_glance(image_id: str, spec: ImageSpec) -> GlanceImage:
    """The image as it should be in Glance.

    Raises:
        Unfit: Glance cannot fetch it, or has no words for it.
    """
    parts = urlsplit(spec.source_uri)
    if parts.scheme not in ("http", "https"):
        raise Unfit("NOT_FETCHABLE", f"Glance fetches http: and https:, not {parts.scheme}:")
    properties = {_CHECKSUM: spec.checksum}
    if spec.type is ImageType.PARTITION:
        kernel, ramdisk = _id_of(spec.kernel_uri), _id_of(spec.ramdisk_uri)
        if not kernel or not ramdisk:
            raise Unfit("KERNEL_ELSEWHERE", "its kernel and ramdisk are no images of Glance (glance: and their id)")
        properties |= {"kernel_id": kernel, "ramdisk_id": ramdisk}
    if spec.cpu_arch:
        properties["hw_architecture"] = spec.cpu_arch
    if spec.description:
        properties["description"] = spec.description
    suffix = re.search(r"\.[a-z0-9]+$", parts.path.lower())
    return GlanceImage(
        name=image_id,
        owner=spec.project,
        visibility=str(spec.visibility or Visibility.PRIVATE),
        members=frozenset(spec.shared_projects),
        disk_format=_FORMATS.get(suffix.group() if suffix else "", "raw"),
        container_format="bare",
        min_disk=min(spec.min_local_gb, 2**31 - 1),
        properties=properties,
        source=spec.source_uri,
    )


def from_glance(found: GlanceImage, others: Mapping[str, GlanceImage]) -> tuple[ImageSpec, Standing] | None:
    """What an image of Glance's is to us, and whether it can be used; None if it is none for a disk.

    Args:
        others: every image by id, for kernels and ramdisks.
    """
    if found.disk_format in _PARTS or found.container_format not in (*_CONTAINERS, ""):
        return None
    if (found.owner and not _is_id(found.owner)) or found.status in ("deleted", "pending_delete"):
        return None
    spec = ImageSpec(
        project=found.owner,
        description=found.properties.get("description", "")[:1000],
        visibility=_visibility(found),
        shared_projects=tuple(sorted(each for each in found.members if _is_id(each)))[: images.MAX_SHARES]
        if found.visibility == "shared"
        else (),
        source_uri=f"glance://{found.ref}",
        checksum=found.checksum,
        size_bytes=found.size,
        min_local_gb=found.min_disk,
        cpu_arch=found.properties.get("hw_architecture", "") or found.properties.get("architecture", ""),
    )
    kernel, ramdisk = found.properties.get("kernel_id", ""), found.properties.get("ramdisk_id", "")
    fault = _unusable(found)
    if kernel or ramdisk:
        nothing = GlanceImage("")
        of_kernel, of_ramdisk = others.get(kernel, nothing), others.get(ramdisk, nothing)
        spec = _partition(spec, of_kernel, of_ramdisk)
        ready = all(each.status == ACTIVE and each.checksum for each in (of_kernel, of_ramdisk))
        if not ready:
            fault = fault or _fault("NO_KERNEL", "its kernel or ramdisk is missing, not active, or without SHA-2 hash")
    if fault is not None:
        return spec, fault
    checks = Checks()
    checked = images.checked(spec, checks)
    if checks.violations:
        first = checks.violations[0]
        return spec, _fault("MALFORMED", f"{first.field} {first.description}")
    return checked, MIRRORED


def _unusable(found: GlanceImage) -> Standing | None:
    if found.status == DEACTIVATED:
        return _fault("DEACTIVATED", "it is deactivated in Glance")
    if found.status != ACTIVE:
        return _fault("NOT_ACTIVE", f"it is {found.status} in Glance, and has no bytes yet")
    if not found.checksum:
        named = f"only {found.hash_algo}" if found.hash_algo else "none but MD5"
        return _fault("NO_HASH", f"it has no hash that could be held to: {named}")
    return None


def _partition(spec: ImageSpec, kernel: GlanceImage, ramdisk: GlanceImage) -> ImageSpec:
    return ImageSpec(
        **{name: getattr(spec, name) for name in spec.__dataclass_fields__}
        | {
            "type": ImageType.PARTITION,
            "kernel_uri": f"glance://{kernel.ref}" if kernel.ref else "",
            "kernel_checksum": kernel.checksum,
            "ramdisk_uri": f"glance://{ramdisk.ref}" if ramdisk.ref else "",
            "ramdisk_checksum": ramdisk.checksum,
        }
    )


def _visibility(found: GlanceImage) -> Visibility:
    """Glance's community images are everybody's who knows the id; we have no word for that, and take them as private.

    A shared one that nobody accepted is its owner's alone, which is Glance's default.
    """
    if found.visibility == "public":
        return Visibility.PUBLIC
    return Visibility.SHARED if found.visibility == "shared" and found.members else Visibility.PRIVATE


def _id_of(uri: str) -> str:
    """The id in a glance: URI; empty for any other."""
    named = uri.removeprefix("glance:").removeprefix("//") if uri.startswith("glance:") else ""
    return named if _UUID.fullmatch(named) else ""


def _is_id(text: str) -> bool:
    try:
        new_id(text, "project")
    except InvalidField:
        return False
    return True


def _fault(reason: str, message: str) -> Standing:
    return Standing(MirrorState.UNUSABLE, reason, message)
