# SPDX-License-Identifier: Apache-2.0
"""What Ironic says of nodes and ports, as the fields of `IronicNode`. Pure.

Ironic's dictionaries hold whatever people and drivers put there. A number may be text and the reverse: they are turned
into what the field wants. What cannot be is left out and told, and never takes the rest with it. Only what is named
here is taken: no login, no config drive, no URL's credentials.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from telemetry.bridge.notifications import moment
from telemetry.sandesh.text import ILLEGAL, escaped

LONGEST_TEXT: Final = 1_500
"""Characters of one text: a struct of ten of them, each character escaped, stays below what the analytics API drops
(an attribute of 100,000 characters)."""
ROOM: Final = 90_000
"""Characters of XML for all ports of a node."""

Spoil = Callable[[str, str], None]
"""Is told of a field whose value was left out, and why; never of the value."""
Fields = dict[str, Any]

_U32: Final = 2**32 - 1
_U64: Final = 2**64 - 1
_TAGS: Final = 800
"""Characters of XML around the values of one port, generously."""
_WHOLE = re.compile(r"\s*[0-9]{1,20}\s*")


class _LeftOut(Exception):
    """A value that its field cannot hold; says why."""


def text(value: object) -> str:
    """Text: numbers as they are written, null as none; what XML forbids as U+FFFD, and not too long."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _LeftOut(_not("text", value))
    try:
        found = value if isinstance(value, str) else str(value)
    except ValueError:  # a number of thousands of digits
        raise _LeftOut("is too long a number") from None
    found = ILLEGAL.sub("\ufffd", found[: LONGEST_TEXT + 1])
    return found if len(found) <= LONGEST_TEXT else found[: LONGEST_TEXT - 1] + "…"


def time(value: object) -> str:
    """A time in one form, since notifications and the API have two."""
    found = moment(value)
    return found.isoformat() if found else text(value)


def place(value: object) -> str:
    """Where an image lies; of a URL without login, query and fragment, which may be a key to it."""
    found = text(value)
    if "://" not in found:
        return found
    try:
        parts = urlsplit(found)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    except ValueError:
        raise _LeftOut("is a URL that cannot be read") from None


def flag(value: object) -> bool:
    """A truth value; null is false."""
    if value is None or isinstance(value, bool):
        return bool(value)
    known = {"true": True, "1": True, "false": False, "0": False, "": False}
    found = known.get(str(value).lower()) if isinstance(value, str | int) and len(text(value)) < 6 else None
    if found is None:
        raise _LeftOut(_not("true or false", value))
    return found


def whole(most: int) -> Callable[[object], int | None]:
    """The reader of whole numbers from 0 to *most*; None for null and empty text."""

    def read(value: object) -> int | None:
        if value is None or value == "":
            return None
        number = None
        if isinstance(value, str) and _WHOLE.fullmatch(value):
            number = int(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            number = value
        elif isinstance(value, float) and value.is_integer():
            number = int(value)
        if number is None:
            raise _LeftOut(_not("a whole number", value))
        if not 0 <= number <= most:
            msg = f"is not between 0 and {most}"
            raise _LeftOut(msg)
        return number

    return read


Reader = Callable[[Any], Any]

_NODE: Final[Mapping[str, tuple[str, Reader]]] = {
    "provision_state": ("provision_state", text),
    "power_state": ("power_state", text),
    "driver": ("driver", text),
    "instance_uuid": ("instance_uuid", text),
    "maintenance": ("maintenance", flag),
    "network_interface": ("network_interface", text),
    "name": ("host_name", text),
    "provision_updated_at": ("provision_update_timestamp", time),
    "updated_at": ("update_timestamp", time),
    "created_at": ("create_timestamp", time),
}
_INSTANCE: Final[Mapping[str, tuple[str, Reader]]] = {
    name: (name, place if name == "image_source" else text)
    for name in (
        "root_gb", "display_name", "memory_mb", "vcpus", "local_gb", "nova_host_id", "image_checksum", "image_source",
        "image_type",
    )
}  # fmt: skip
_PROPERTIES: Final[Mapping[str, tuple[str, Reader]]] = {
    "cpu_arch": ("cpu_arch", text),
    "cpus": ("cpus", whole(_U32)),
    "local_gb": ("local_gb", whole(_U32)),
    "memory_mb": ("memory_mb", whole(_U64)),
    "capabilities": ("capabilities", text),
}
_DRIVER: Final[Mapping[str, tuple[str, Reader]]] = {
    "ipmi_terminal_port": ("ipmi_terminal_port", whole(_U32)),
    "deploy_kernel": ("deploy_kernel", place),
    "deploy_ramdisk": ("deploy_ramdisk", place),
}
_ADDRESSES: Final = ("ipmi_address", "redfish_address", "ilo_address", "irmc_address", "ibmc_address", "drac_address")
"""Where drivers keep the BMC's address; the UVE has one field for it."""
_PORT: Final[Mapping[str, tuple[str, Reader]]] = {
    "pxe_enabled": ("pxe_enabled", flag),
    "address": ("mac_address", text),
    "created_at": ("create_timestamp", time),
}
_LINK: Final[Mapping[str, tuple[str, Reader]]] = {
    name: (name, text) for name in ("switch_info", "port_id", "switch_id")
}
_INTERNAL: Final[Mapping[str, tuple[str, Reader]]] = {
    name: (name, text) for name in ("tenant_vif_port_id", "provisioning_vif_port_id")
}


def node_fields(data: Mapping[str, Any], spoil: Spoil) -> Fields:
    """What *data* says of a node. A field that is absent there is absent here; a struct without anything is None."""
    found = _read(data, _NODE, "", spoil)
    if "driver_info" in data:
        found["driver_info"] = _driver_info(data["driver_info"], spoil)
    for name, field, readers in (
        ("instance_info", "instance_info", _INSTANCE),
        ("properties", "node_properties", _PROPERTIES),
    ):
        if name in data:
            found[field] = _struct(data[name], readers, name, spoil)
    return found


def port_fields(data: Mapping[str, Any], spoil: Spoil) -> Fields:
    """What *data* says of a port; as `node_fields`. The caller adds its name."""
    found = _read(data, _PORT, "port.", spoil)
    for name, readers in (("local_link_connection", _LINK), ("internal_info", _INTERNAL)):
        if name in data:
            found[name] = _struct(data[name], readers, f"port.{name}", spoil)
    return found


def size(value: object) -> int:
    """About how many characters *value*, a port, has as XML; never too few."""
    if isinstance(value, Mapping):
        return sum(map(size, value.values()))
    return len(escaped(value)) if isinstance(value, str) else 20


def fitting(ports: list[Fields], spoil: Spoil) -> list[Fields]:
    """As many of *ports* as there is room for in one attribute."""
    left = ROOM
    for number, port in enumerate(ports):
        left -= size(port) + _TAGS
        if left < 0:
            spoil("port_info", f"has more ports than there is room for: {len(ports)}, of which {number} are shown")
            return ports[:number]
    return ports


def _read(data: Mapping[str, Any], readers: Mapping[str, tuple[str, Reader]], where: str, spoil: Spoil) -> Fields:
    found: Fields = {}
    for name, (field, reader) in readers.items():
        if name in data:
            try:
                found[field] = reader(data[name])
            except _LeftOut as error:
                # Not the value of before: that is no longer true.
                found[field] = None
                spoil(f"{where}{name}", str(error))
    return found


def _struct(
    value: object, readers: Mapping[str, tuple[str, Reader]], where: str, spoil: Spoil
) -> dict[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        spoil(where, _not("an object", value))
        return None
    found = {name: read for name, read in _read(value, readers, f"{where}.", spoil).items() if read is not None}
    return found or None


def _driver_info(value: object, spoil: Spoil) -> dict[str, Any] | None:
    found = _struct(value, _DRIVER, "driver_info", spoil) or {}
    if isinstance(value, Mapping):
        name = next((name for name in _ADDRESSES if value.get(name)), None)
        if name is not None:
            try:
                found = {"ipmi_address": _host(text(value[name])), **found}
            except _LeftOut as error:
                spoil(f"driver_info.{name}", str(error))
    return found or None


def _host(address: str) -> str:
    """The host in *address*, which may be a URL with a login in it."""
    if "://" not in address:
        return address.rpartition("@")[2]
    try:
        return urlsplit(address).netloc.rpartition("@")[2]
    except ValueError:
        raise _LeftOut("is a URL that cannot be read") from None


def _not(wanted: str, value: object) -> str:
    return f"is {type(value).__name__}, not {wanted}"
