# SPDX-License-Identifier: Apache-2.0
"""What Ironic's documents tell of a server, in our words. What they do not tell stays empty. Pure.

Two facts come from a hardware manager of ours in the ramdisk, which keeps them in the node's ``driver_internal_info``
with the id of the job: ``bms_erased``, every disk it erased and sampled, and ``bms_image``, the checksum it read back
from the disk. Ironic's own agent tells neither.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from services.kernel.events import DiskSeen, ImageSeen
from services.lifecycle.backends.ironic_api import Node
from services.lifecycle.bmc import Bmc
from services.lifecycle.ports import HardwareFacts, ImageOrder


def login(bmc: Bmc, redfish_ca: str) -> dict[str, object]:
    """``driver_info`` for a BMC. Secret.

    Args:
        redfish_ca: a file on the conductors with the CA of Redfish certificates; ``none``: they are not verified;
            empty: the system's.
    """
    host = f"[{bmc.address}]" if _is_v6(bmc.address) else bmc.address
    if bmc.driver == "ipmi":
        port = {"ipmi_port": bmc.port} if bmc.port else {}
        return {
            "ipmi_address": bmc.address, "ipmi_username": bmc.username, "ipmi_password": bmc.password, **port
        }  # fmt: skip
    found: dict[str, object] = {
        "redfish_address": f"https://{host}:{bmc.port}" if bmc.port else f"https://{host}",
        "redfish_username": bmc.username,
        "redfish_password": bmc.password,
    }
    if redfish_ca:
        found["redfish_verify_ca"] = False if redfish_ca == "none" else redfish_ca
    return found


def image(order: ImageOrder) -> dict[str, object]:
    """``instance_info`` for an image."""
    algorithm, _, value = order.checksum.partition(":")
    found: dict[str, object] = {
        "image_source": _source(order.source_uri),
        "image_os_hash_algo": algorithm,
        "image_os_hash_value": value,
    }
    if order.kernel_uri:
        return {
            **found,
            "kernel": _source(order.kernel_uri),
            "ramdisk": _source(order.ramdisk_uri),
            "image_type": "partition",
        }
    return {**found, "image_type": "whole-disk"}


def _source(uri: str) -> str:
    """A URI as Ironic takes it: an image of Glance (``glance:ID``, ``glance://ID``) by its UUID alone."""
    return uri.removeprefix("glance:").removeprefix("//") if uri.startswith("glance:") else uri


def progress(node: Node) -> tuple[int, str]:
    """Per cent and a word: the number of the step over their count, and its name."""
    for kind in ("deploy", "clean"):
        steps = node.internal.get(f"{kind}_steps")
        index = node.internal.get(f"{kind}_step_index")
        if node.state.startswith((kind, "wait call-back")) and isinstance(steps, list) and isinstance(index, int):
            at = min(index, len(steps) - 1)
            name = str(steps[at].get("step", "")) if steps else ""
            return int(100 * max(0, at) / max(1, len(steps))), f"{node.state}: {name}"
    return 0, node.state


def hardware(node: Node, inventory: Mapping[str, Any]) -> HardwareFacts:
    """What inspection found."""
    properties = node.data.get("properties") or {}
    cpu, vendor = inventory.get("cpu") or {}, inventory.get("system_vendor") or {}
    said = str(properties.get("capabilities") or "")
    pairs = (item.partition(":") for item in said.split(",") if ":" in item)
    return HardwareFacts(
        cpu_arch=str(cpu.get("architecture") or properties.get("cpu_arch") or ""),
        cpus=_number(cpu.get("count")) or _number(properties.get("cpus")),
        memory_mb=_number((inventory.get("memory") or {}).get("physical_mb")) or _number(properties.get("memory_mb")),
        local_gb=_number(properties.get("local_gb")),
        manufacturer=str(vendor.get("manufacturer") or properties.get("vendor") or ""),
        model=str(vendor.get("product_name") or ""),
        serial_number=str(vendor.get("serial_number") or ""),
        capabilities=tuple((key, value) for key, _, value in pairs),
    )


def disks(inventory: Mapping[str, Any]) -> tuple[DiskSeen, ...]:
    """Every disk that inspection found; one without a serial number or WWN has an empty name."""
    found = inventory.get("disks")
    return tuple(
        DiskSeen(str(disk.get("serial") or disk.get("wwn") or ""), _number(disk.get("size")))
        for disk in (found if isinstance(found, list) else [])
        if isinstance(disk, dict)
    )


def erased(node: Node, request_id: str) -> tuple[DiskSeen, ...]:
    """What our hardware manager erased in the job *request_id*; empty if it told nothing."""
    told = node.internal.get("bms_erased")
    if not isinstance(told, dict) or told.get("request") != request_id:
        return ()
    return tuple(
        DiskSeen(
            str(disk.get("serial", "")), _number(disk.get("size_bytes")), str(disk.get("method", "")),
            _moment(disk.get("start_time")), _moment(disk.get("end_time")), _digest(disk.get("sample_sha256")),
        )
        for disk in told.get("disks") or []
    )  # fmt: skip


def written(node: Node, job: Mapping[str, Any]) -> ImageSeen:
    """The image as our hardware manager read it back in *job*; its checksum is empty if it told nothing."""
    told = node.internal.get("bms_image")
    if not isinstance(told, dict) or told.get("request") != job.get("id"):
        told = {}
    return ImageSeen(
        str(job.get("image", "")), str(job.get("checksum", "")), str(told.get("checksum", "")),
        str(told.get("disk", "")),
    )  # fmt: skip


def _number(value: object) -> int:
    try:
        return max(0, int(float(str(value))))
    except (ValueError, OverflowError):
        return 0


def _moment(value: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def _digest(value: object) -> bytes:
    try:
        return bytes.fromhex(str(value or ""))
    except ValueError:
        return b""


def _is_v6(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).version == 6
    except ValueError:
        return False
