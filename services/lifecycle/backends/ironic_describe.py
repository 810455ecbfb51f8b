# SPDX-License-Identifier: Apache-2.0
"""A node as inventory describes its server: class, traits, properties, name, lessee. Ports: ironic_ports.py.

What others wrote stays. What we wrote, and nothing that was there before, is remembered in ``extra.bms.card``, so that
it can be taken away again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from services.lifecycle.backends.ironic_api import Deadline, IronicApi, Node, NoNode
from services.lifecycle.backends.ironic_ports import rewire
from services.lifecycle.ports import ServerCard

_TRAIT = re.compile(r"[A-Z][A-Z0-9_]{0,254}")
_NAME = re.compile(r"(?!.*[.]{2})[A-Za-z0-9](?:[A-Za-z0-9._~-]{0,253}[A-Za-z0-9])?")
_UUID_LIKE = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")
_CLASS_MAY_CHANGE = ("enroll", "manageable", "inspecting", "inspect wait", "available")

Told = dict[str, Any]
"""What we told Ironic of a node: texts by field, names of properties, capabilities and traits."""


def describe(api: IronicApi, server: str, card: ServerCard, project: str, deadline: Deadline) -> None:
    """Brings the node to what *card* says, as far as its state allows; see `services.lifecycle.ports.Hardware`.

    Raises:
        NoNode: there is none.
    """
    found = api.node(server, deadline)
    node, ours = found.data, found.ours
    before: Told = ours.get("card") or {}
    now: Told = {}
    operations: list[dict[str, object]] = [
        *_properties(node, card, before, now),
        *_class(node, card, before, now),
        *_name(api, node, card, before, now, deadline),
        *_lessee(node, project, before, now),
    ]
    traits, there = _traits(card), set(node.get("traits") or ())
    now["traits"] = sorted(traits & ((traits - there) | set(before.get("traits") or ())))
    if now != before:
        operations.append({"op": "add", "path": "/extra/bms", "value": {**ours, "card": now}})
    if operations:
        api.call("PATCH", f"/nodes/{server}", deadline, operations)
    for trait in sorted(traits - there):
        api.call("PUT", f"/nodes/{server}/traits/{trait}", deadline)
    for trait in sorted((set(before.get("traits") or ()) - traits) & there):
        api.call("DELETE", f"/nodes/{server}/traits/{trait}", deadline)
    rewire(api, node, card, deadline)


def capabilities(text: object) -> dict[str, str]:
    """Ironic's ``key:value,key:value``."""
    pairs = (item.partition(":") for item in str(text or "").split(",") if ":" in item)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _traits(card: ServerCard) -> set[str]:
    """Capabilities whose names are traits' (as of flavors): they are there or not."""
    own = {key for key, value in card.properties.capabilities if _TRAIT.fullmatch(key) and value.lower() == "true"}
    return own | set(card.traits)


def _properties(node: Mapping[str, Any], card: ServerCard, before: Told, now: Told) -> list[dict[str, object]]:
    """What has to change so that the node's properties hold the card's."""
    there = node.get("properties") or {}
    facts = card.properties
    wanted: dict[str, object] = {
        key: value
        for key, value in (
            ("cpu_arch", facts.cpu_arch),
            ("cpus", facts.cpus),
            ("memory_mb", facts.memory_mb),
            ("local_gb", facts.local_gb),
            ("root_device", dict(card.root_device_hints)),
        )
        if value
    }
    own = {key: value for key, value in facts.capabilities if not _TRAIT.fullmatch(key) and _plain(key + value)}
    held = capabilities(there.get("capabilities"))
    gone = set(before.get("capabilities") or ()) - own.keys()
    merged = {**{key: value for key, value in held.items() if key not in gone}, **own}
    if merged:
        wanted["capabilities"] = ",".join(f"{key}:{value}" for key, value in merged.items())
    changed = {
        key: value
        for key, value in wanted.items()
        if not _same(there.get(key), value, held if key == "capabilities" else None, merged)
    }
    now["properties"] = sorted(wanted.keys() & (changed.keys() | set(before.get("properties") or ())))
    told = set(before.get("capabilities") or ())
    now["capabilities"] = sorted(key for key, value in own.items() if key in told or held.get(key) != value)
    operations: list[dict[str, object]] = [
        {"op": "add", "path": f"/properties/{key}", "value": value} for key, value in changed.items()
    ]
    operations += [
        {"op": "remove", "path": f"/properties/{key}"}
        for key in sorted(set(before.get("properties") or ()) - wanted.keys())
        if key in there
    ]
    return operations


def _same(there: object, wanted: object, held: Mapping[str, str] | None, merged: Mapping[str, str]) -> bool:
    if held is not None:
        return dict(held) == dict(merged)
    # Inspection writes numbers at times as texts.
    return there == wanted or (isinstance(wanted, int) and str(there) == str(wanted))


def _plain(text: str) -> bool:
    return not set(text) & {",", ":"}


def _class(node: Mapping[str, Any], card: ServerCard, before: Told, now: Told) -> list[dict[str, object]]:
    there, wanted = str(node.get("resource_class") or ""), card.resource_class
    told = str(before.get("resource_class") or "")
    if node.get("provision_state") not in _CLASS_MAY_CHANGE and there != wanted:
        # While somebody has it, Nova counts it by the class it has.
        if told:
            now["resource_class"] = told
        return []
    if wanted:
        if told or there != wanted:
            now["resource_class"] = wanted
        return [{"op": "add", "path": "/resource_class", "value": wanted}] if wanted != there else []
    return [{"op": "remove", "path": "/resource_class"}] if told and told == there else []


def _name(
    api: IronicApi, node: Mapping[str, Any], card: ServerCard, before: Told, now: Told, deadline: Deadline
) -> list[dict[str, object]]:
    """A name, where nobody else gave one and Ironic takes ours: names are unique there, too."""
    there, wanted, told = str(node.get("name") or ""), card.display_name, str(before.get("name") or "")
    if there and there != told:
        return []
    if there == wanted or not _NAME.fullmatch(wanted) or _UUID_LIKE.fullmatch(wanted):
        if there:
            now["name"] = there
        return []
    try:
        api.call("GET", f"/nodes/{wanted}?fields=uuid", deadline)
    except NoNode:
        now["name"] = wanted
        return [{"op": "add", "path": "/name", "value": wanted}]
    if there:
        now["name"] = there
    return []


def _lessee(node: Mapping[str, Any], project: str, before: Told, now: Told) -> list[dict[str, object]]:
    there, told = str(node.get("lessee") or ""), str(before.get("lessee") or "")
    if project:
        if told or there != project:
            now["lessee"] = project
        return [{"op": "add", "path": "/lessee", "value": project}] if there != project else []
    return [{"op": "remove", "path": "/lessee"}] if told and told == there else []


def unleased(node: Node) -> tuple[dict[str, Any], list[dict[str, object]]]:
    """What we keep with *node* without the lessee that we set, and what takes him from it: its instance has ended."""
    card: Told = dict(node.ours.get("card") or {})
    told = card.pop("lessee", None)
    if not told or told != node.text("lessee"):
        return node.ours, []
    return {**node.ours, "card": card}, [{"op": "remove", "path": "/lessee"}]
