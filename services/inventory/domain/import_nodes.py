# SPDX-License-Identifier: Apache-2.0
"""Contrail Command's server import form, ``nodes:`` in YAML or JSON.

The keys are those its importer takes, with their older names (``switch_info`` for ``switch_name``, ``port_id`` for
``port_name``, ``address`` for ``mac_address``), and a few of ours. Whatever else is there is a fault: a key that is
silently left out is a wish that is silently refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from services.inventory.domain.import_rows import Cells, Fault, Place, RawServer
from services.inventory.domain.trees import Malformed, Tree, from_json, from_yaml

_NODE = {
    "name": "name",
    "display_name": "display_name",
    "hostname": "hostname",
    "node_type": "node_type",
    "unmanaged": "unmanaged",
    "uuid": "uuid",
    "resource_class": "resource_class",
    "description": "description",
}
_PROPERTIES = ("cpu_arch", "cpus", "memory_mb", "local_gb", "manufacturer", "model", "serial_number")
_PORT = {
    "name": "label",
    "label": "label",
    "mac_address": "mac_address",
    "address": "mac_address",
    "switch_name": "switch_name",
    "switch_info": "switch_name",
    "port_name": "switch_port",
    "port_id": "switch_port",
    "switch_port": "switch_port",
    "switch_id": "switch_id",
    "pxe_enabled": "pxe_enabled",
    "port_group": "port_group",
    "speed_mbps": "speed_mbps",
    "physical_network": "physical_network",
}
_GROUP = {"label": "label", "name": "label", "mode": "mode"}
_DRIVER_INFO = {
    f"{kind}{name}": name for kind in ("", "ipmi_", "redfish_") for name in ("address", "port", "username", "password")
}
_LOCATION = ("site", "rack", "unit")
_OTHER = (
    "type",
    "bmc_kept_by_controller",
    "ports",
    "port_groups",
    "driver",
    "driver_info",
    "properties",
    "labels",
    "location",
)
_PLAIN_KEY = re.compile(r"[a-z][a-z_]{0,40}")


def read_yaml(text: str) -> tuple[list[RawServer], list[Fault]]:
    """The servers of a YAML file, and what is wrong with the file as a whole."""
    try:
        return _read(from_yaml(text))
    except Malformed as error:
        return [], [Fault(0, "", "content", str(error))]


def read_json(text: str) -> tuple[list[RawServer], list[Fault]]:
    """The servers of a JSON file, and what is wrong with the file as a whole."""
    try:
        return _read(from_json(text))
    except Malformed as error:
        return [], [Fault(0, "", "content", str(error))]


def _read(tree: Tree) -> tuple[list[RawServer], list[Fault]]:
    faults = []
    if not isinstance(tree, dict) or not isinstance(tree.get("nodes"), list):
        return [], [Fault(0, "nodes", "content", "has no list called nodes at its top")]
    faults = [
        Fault(0, _shown(key), "content", f"has {_shown(key)} at its top, where only nodes belongs")
        for key in tree
        if key != "nodes"
    ]
    nodes = tree["nodes"]
    assert isinstance(nodes, list)
    return [_server(at, node) for at, node in enumerate(nodes, 1)], faults


def _server(row: int, node: Tree) -> RawServer:
    out = Cells(row)
    place = Place(row, "nodes")
    if not isinstance(node, dict):
        out.fault(place, "nodes", "is not a server: a server is a map of keys and values")
        return out.done()
    _scalars(out, "", node, _NODE)
    _bmc(out, node)
    _scalars(out, "location", _map(out, node, "location"), {name: name for name in _LOCATION})
    properties = _map(out, node, "properties")
    _scalars(out, "properties", properties, {name: name for name in _PROPERTIES}, more=("capabilities", "root_device"))
    _capabilities(out, properties.get("capabilities"))
    _maps(out, "labels", node, "labels")
    _maps(out, "root_device_hints", properties, "root_device")
    for at, port in _items(out, node, "ports"):
        _scalars(out, "ports", port, _PORT, index=at)
    for at, group in _items(out, node, "port_groups"):
        _scalars(out, "port_groups", group, _GROUP, index=at)
    kind = node.get("type")
    if kind is not None and kind != "baremetal":
        out.fault(Place(row, "type"), "type", "is not baremetal; other kinds are said by node_type")
    _unknown(out, node, (*_NODE, *_OTHER), "")
    return out.done()


def _bmc(out: Cells, node: Mapping[str, Tree]) -> None:
    info = _map(out, node, "driver_info")
    driver = node.get("driver")
    if isinstance(driver, str) and driver:
        out.put("bmc", "driver", driver, Place(out.row, "driver"))
    elif driver is not None:
        out.fault(Place(out.row, "driver"), "bmc.driver", "is not a text")
    elif info:
        # Contrail Command's importer takes IPMI where nothing is said.
        implied = "redfish" if any(key.startswith("redfish_") for key in info) else "ipmi"
        out.put("bmc", "driver", implied, Place(out.row, "driver"))
    kept = node.get("bmc_kept_by_controller")
    if isinstance(kept, str):
        out.put("bmc", "kept_by_controller", kept, Place(out.row, "bmc_kept_by_controller"))
    elif kept is not None:
        out.fault(Place(out.row, "bmc_kept_by_controller"), "bmc.kept_by_controller", "is not a single value")
    seen: dict[str, str] = {}
    for key, value in info.items():
        name = _DRIVER_INFO.get(key)
        place = Place(out.row, key)
        if name is None:
            continue
        if value is None:
            continue
        if not isinstance(value, str):
            out.fault(place, f"bmc.{name}", "is not a text")
        elif seen.setdefault(name, value) != value:
            out.fault(place, f"bmc.{name}", "is given twice, with two values")
        elif key == "redfish_address" and "//" in value:
            _address(out, place, value)
        else:
            out.put("bmc", name, value, place)
    _unknown(out, info, tuple(_DRIVER_INFO), "driver_info.")


def _address(out: Cells, place: Place, value: str) -> None:
    """Redfish addresses are URLs; we keep host and port."""
    try:
        parts = urlsplit(value.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme not in {"http", "https"} or not host or parts.username or parts.password or parts.path.strip("/"):
        out.fault(place, "bmc.address", "is neither a host nor https://host:port, without a login and a path")
        return
    out.put("bmc", "address", host, place)
    if port or parts.scheme == "http":
        out.put("bmc", "port", str(port or 80), place)


def _capabilities(out: Cells, value: Tree) -> None:
    """Ironic's ``key:value,key:value``, or a map."""
    place = Place(out.row, "capabilities")
    if value is None:
        return
    out.said.add("capabilities")
    if isinstance(value, dict):
        for key, text in value.items():
            _pair(out, "capabilities", key, text, place)
        return
    if not isinstance(value, str):
        out.fault(place, "properties.capabilities", "is neither a map nor key:value,key:value")
        return
    for part in value.split(","):
        key, colon, text = part.partition(":")
        if part.strip() and not colon:
            out.fault(place, "properties.capabilities", "is neither a map nor key:value,key:value")
        elif part.strip():
            out.put("capabilities", key.strip(), text.strip(), place)


def _maps(out: Cells, group: str, given: Mapping[str, Tree], name: str) -> None:
    if given.get(name) is not None:
        out.said.add(group)
    for key, value in _map(out, given, name).items():
        _pair(out, group, key, value, Place(out.row, name))


def _pair(out: Cells, group: str, key: str, value: Tree, place: Place) -> None:
    if isinstance(value, str):
        out.put(group, key, value, place)
    elif value is None:
        out.put(group, key, "", place)
    else:
        out.fault(place, group, "has a value that is not a text")


def _scalars(
    out: Cells,
    group: str,
    given: Mapping[str, Tree],
    names: Mapping[str, str],
    *,
    index: int = 0,
    more: tuple[str, ...] = (),
) -> None:
    """Puts the values of *given* that *names* knows, by the field each belongs to."""
    at = f"{group}[{index}]." if group in {"ports", "port_groups"} else f"{group}." if group else ""
    seen: dict[str, str] = {}
    for key, value in given.items():
        name = names.get(key)
        if name is None or value is None:
            continue
        place = Place(out.row, key)
        if not isinstance(value, str):
            out.fault(place, at + name, "is not a single value")
        elif seen.setdefault(name, value) != value:
            out.fault(place, at + name, "is given under two names, with two values")
        else:
            out.put(group, name, value, place, index)
    if group:
        _unknown(out, given, (*names, *more), at)


def _map(out: Cells, node: Mapping[str, Tree], key: str) -> Mapping[str, Tree]:
    value = node.get(key)
    if isinstance(value, dict):
        return value
    if value is not None:
        out.fault(Place(out.row, key), key, "is not a map of keys and values")
    return {}


def _items(out: Cells, node: Mapping[str, Tree], key: str) -> Iterator[tuple[int, Mapping[str, Tree]]]:
    value = node.get(key)
    if value is None:
        return
    if not isinstance(value, list):
        out.fault(Place(out.row, key), key, "is not a list")
        return
    out.said.add(key)
    for at, item in enumerate(value):
        if isinstance(item, dict):
            # An item with nothing in it is there all the same, and what it lacks is told.
            if not item:
                out.put(key, "mac_address" if key == "ports" else "label", "", Place(out.row, key), at)
            yield at, item
        else:
            out.fault(Place(out.row, key), f"{key}[{at}]", "is not a map of keys and values")


def _unknown(out: Cells, given: Mapping[str, Tree], known: tuple[str, ...], at: str) -> None:
    for key in given:
        if key not in known:
            near = f"; known are {', '.join(sorted(set(known)))}"
            out.fault(Place(out.row, _shown(key)), at + _shown(key), f"is not a key that is known here{near}")


def _shown(key: str) -> str:
    """*key*, if it looks like one; a password that slipped to the left of a colon does not."""
    return key if _PLAIN_KEY.fullmatch(key) else "(a key that is not shown)"
