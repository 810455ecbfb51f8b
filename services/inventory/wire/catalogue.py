# SPDX-License-Identifier: Apache-2.0
"""Flavors and images on the wire."""

from __future__ import annotations

from bms.inventory.v1 import catalogue_pb2
from services.inventory.domain.flavor import Flavor, FlavorSpec
from services.inventory.domain.image import Image, ImageSpec, ImageType, Visibility
from services.inventory.domain.mirror import Mirror, MirrorState, Origin
from services.runtime.etags import etag
from services.runtime.masks import merged
from services.runtime.times import to_timestamp

_TYPES = {
    catalogue_pb2.Image.TYPE_WHOLE_DISK: ImageType.WHOLE_DISK,
    catalogue_pb2.Image.TYPE_PARTITION: ImageType.PARTITION,
}
_TYPE_NUMBERS = {kind: number for number, kind in _TYPES.items()}
_VISIBILITIES = {
    catalogue_pb2.Image.VISIBILITY_PUBLIC: Visibility.PUBLIC,
    catalogue_pb2.Image.VISIBILITY_PRIVATE: Visibility.PRIVATE,
    catalogue_pb2.Image.VISIBILITY_SHARED: Visibility.SHARED,
}
_ORIGINS = {
    Origin.OURS: catalogue_pb2.Mirror.ORIGIN_OURS,
    Origin.THEIRS: catalogue_pb2.Mirror.ORIGIN_THEIRS,
}
_STATES = {
    MirrorState.NONE: catalogue_pb2.Mirror.STATE_UNSPECIFIED,
    MirrorState.PENDING: catalogue_pb2.Mirror.STATE_PENDING,
    MirrorState.MIRRORED: catalogue_pb2.Mirror.STATE_MIRRORED,
    MirrorState.FAILED: catalogue_pb2.Mirror.STATE_FAILED,
    MirrorState.UNUSABLE: catalogue_pb2.Mirror.STATE_UNUSABLE,
    MirrorState.GONE: catalogue_pb2.Mirror.STATE_GONE,
}
_VISIBILITY_NUMBERS = {kind: number for number, kind in _VISIBILITIES.items()}


def flavor_spec(message: catalogue_pb2.Flavor) -> FlavorSpec:
    """What *message* says; nothing is checked yet."""
    return FlavorSpec(
        description=message.description,
        resource_class=message.resource_class,
        manufacturer=message.manufacturer,
        cpu_arch=message.cpu_arch,
        min_cpus=message.min_cpus,
        min_memory_mb=message.min_memory_mb,
        min_local_gb=message.min_local_gb,
        min_disks=message.min_disks,
        capabilities=dict(message.capabilities),
        labels=dict(message.labels),
    )


def changed_flavor(flavor: Flavor, request: catalogue_pb2.UpdateFlavorRequest) -> FlavorSpec:
    """What *request* makes of *flavor*."""
    return flavor_spec(merged(to_flavor(flavor), request.flavor, request.update_mask.paths))


def to_flavor(flavor: Flavor) -> catalogue_pb2.Flavor:
    """*flavor* as everybody sees it."""
    said = flavor.spec
    return catalogue_pb2.Flavor(
        name=flavor.name,
        description=said.description,
        resource_class=said.resource_class,
        manufacturer=said.manufacturer,
        cpu_arch=said.cpu_arch,
        min_cpus=said.min_cpus,
        min_memory_mb=said.min_memory_mb,
        min_local_gb=said.min_local_gb,
        min_disks=said.min_disks,
        capabilities=said.capabilities,
        labels=said.labels,
        create_time=to_timestamp(flavor.create_time),
        update_time=to_timestamp(flavor.update_time),
        etag=etag(flavor.sequence),
        mirror=_mirror(flavor.mirror),
    )


def image_spec(message: catalogue_pb2.Image) -> ImageSpec:
    """What *message* says; nothing is checked yet."""
    return ImageSpec(
        project=message.project,
        description=message.description,
        visibility=_VISIBILITIES.get(message.visibility),
        shared_projects=tuple(message.shared_projects),
        type=_TYPES.get(message.type, ImageType.WHOLE_DISK),
        source_uri=message.source_uri,
        checksum=message.checksum,
        size_bytes=message.size_bytes,
        kernel_uri=message.kernel_uri,
        kernel_checksum=message.kernel_checksum,
        ramdisk_uri=message.ramdisk_uri,
        ramdisk_checksum=message.ramdisk_checksum,
        min_local_gb=message.min_local_gb,
        cpu_arch=message.cpu_arch,
    )


def changed_image(image: Image, request: catalogue_pb2.UpdateImageRequest) -> ImageSpec:
    """What *request* makes of *image*."""
    return image_spec(merged(to_image(image), request.image, request.update_mask.paths))


def to_image(image: Image, *, shares: bool = True) -> catalogue_pb2.Image:
    """*image* as its users see it.

    Args:
        shares: False leaves out with whom it is shared: that is its owner's to know.
    """
    said = image.spec
    return catalogue_pb2.Image(
        name=image.name,
        description=said.description,
        project=said.project,
        visibility=_VISIBILITY_NUMBERS[said.visibility or Visibility.PRIVATE],
        shared_projects=said.shared_projects if shares else (),
        type=_TYPE_NUMBERS[said.type],
        source_uri=said.source_uri,
        checksum=said.checksum,
        size_bytes=said.size_bytes,
        kernel_uri=said.kernel_uri,
        kernel_checksum=said.kernel_checksum,
        ramdisk_uri=said.ramdisk_uri,
        ramdisk_checksum=said.ramdisk_checksum,
        min_local_gb=said.min_local_gb,
        cpu_arch=said.cpu_arch,
        create_time=to_timestamp(image.create_time),
        update_time=to_timestamp(image.update_time),
        etag=etag(image.sequence),
        mirror=_mirror(image.mirror),
    )


def _mirror(mirror: Mirror) -> catalogue_pb2.Mirror | None:
    if mirror.state is MirrorState.NONE:
        return None
    return catalogue_pb2.Mirror(
        origin=_ORIGINS[mirror.origin],
        state=_STATES[mirror.state],
        reason=mirror.reason,
        message=mirror.message,
        since=to_timestamp(mirror.since) if mirror.since is not None else None,
        remote_id=mirror.ref,
        remote_name=mirror.remote_name,
    )
