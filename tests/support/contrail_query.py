# SPDX-License-Identifier: Apache-2.0
"""How the VNC API shows objects: one at a time, in lists, in pages, and as much of each as was asked for."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.support.contrail_objects import Fault, Objects, Thing, perms_of


class Listing:
    """Reads for others."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def one(self, thing: Thing, path: str) -> dict[str, Any]:
        """What GET of one shows: everything, or what is always there and the fields that were asked for."""
        query = _query(path)
        shown = self._whole(thing, hrefs=True)
        if fields := _list(query.get("fields")):
            always = {"uuid", "name", "fq_name", "perms2", "id_perms", "parent_type", "parent_uuid"}
            shown = {key: value for key, value in shown.items() if key in always | set(fields)}
        shown["href"] = self._objects.href(thing)
        if "parent_uuid" in shown:
            shown["parent_href"] = self._objects.href(self._objects.things[thing.parent])
        return shown

    def of(self, kind: str, path: str) -> dict[str, Any]:
        """What GET of a collection shows."""
        return self._listed(kind, _query(path))

    def bulk(self, body: dict[str, Any]) -> dict[str, Any]:
        """What POST /list-bulk-collection shows."""
        if any(isinstance(value, list) for value in body.values()):
            raise Fault(500, "AttributeError: 'list' object has no attribute 'split'")
        return self._listed(body["type"], {key: str(value) for key, value in body.items()})

    def _listed(self, kind: str, query: dict[str, str]) -> dict[str, Any]:
        objects = self._objects
        found: Iterable[Thing] = objects.of(kind)
        if parents := _list(query.get("parent_id")):
            found = [thing for thing in found if thing.parent in parents]
        if name := query.get("parent_fq_name_str"):
            found = [one for one in found if one.parent and ":".join(objects.things[one.parent].fq_name) == name]
        if referred := _list(query.get("back_ref_id")):
            found = [thing for thing in found if referred & {ref["uuid"] for ref in _refs(thing)}]
        if idents := _list(query.get("obj_uuids")):
            found = [thing for thing in found if thing.uuid in idents]
        if names := _list(query.get("fq_names")):
            found = [thing for thing in found if ":".join(thing.fq_name) in names]
        for term in (query.get("filters") or "").split(","):
            if term:
                found = _filtered(found, term)
        found = list(found)
        word = f"{kind}s"
        if query.get("count", "").lower() == "true":
            return {word: {"count": len(found)}}
        answer: dict[str, Any] = {}
        if "page_marker" in query:
            found = sorted(found, key=lambda thing: thing.uuid)
            marker, limit = query["page_marker"], int(query.get("page_limit", "100"))
            rest = [thing for thing in found if marker == "none" or thing.uuid > marker]
            found = rest[:limit]
            answer["marker"] = found[-1].uuid if len(rest) > limit else None
        return {word: [self._row(thing, query) for thing in found], **answer}

    def _row(self, thing: Thing, query: dict[str, str]) -> dict[str, Any]:
        objects, kind = self._objects, thing.kind
        hrefs = query.get("exclude_hrefs", "").lower() != "true"
        where = {"href": objects.href(thing)} if hrefs else {}
        fields = _list(query.get("fields"))
        whole = self._whole(thing, hrefs=False)
        if query.get("detail", "").lower() == "true":
            back = {key for key in whole if key.endswith("_back_refs") or _is_children(whole[key])}
            return {kind: {key: value for key, value in whole.items() if key not in back - fields} | where}
        return {key: whole[key] for key in whole if key in {"uuid", "fq_name"} | fields} | where

    def _whole(self, thing: Thing, *, hrefs: bool) -> dict[str, Any]:
        objects = self._objects
        shown: dict[str, Any] = {"uuid": thing.uuid, "name": thing.fq_name[-1], "fq_name": thing.fq_name}
        for name, value in thing.body.items():
            if name.endswith("_refs"):
                there = [(objects.things[ref["uuid"]], ref["attr"]) for ref in value]
                shown |= {name: [self._link(one, hrefs=hrefs, attr=attr) for one, attr in there]} if there else {}
            elif name.endswith("_bindings") and value:
                shown[name] = {"key_value_pair": sorted(value["key_value_pair"], key=lambda pair: str(pair["key"]))}
            else:
                shown[name] = value
        back: dict[str, list[Any]] = {}
        for other, attr in objects.referring(thing):
            entry = self._link(other, hrefs=hrefs, attr=attr)
            back.setdefault(other.kind.replace("-", "_") + "_back_refs", []).append(entry)
        for child in sorted(objects.things.values(), key=lambda one: one.uuid):
            if child.parent == thing.uuid:
                back.setdefault(child.kind.replace("-", "_") + "s", []).append(self._link(child, hrefs=hrefs))
        if thing.parent and thing.kind != "domain":
            shown |= {"parent_type": objects.things[thing.parent].kind, "parent_uuid": thing.parent}
        return shown | back | perms_of(thing)

    def _link(self, thing: Thing, *, hrefs: bool, **more: Any) -> dict[str, Any]:
        return {"to": thing.fq_name, **more, "uuid": thing.uuid} | (
            {"href": self._objects.href(thing)} if hrefs else {}
        )


def _query(path: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(path).query, keep_blank_values=True))


def _list(text: str | None) -> set[str]:
    return {part for part in (text or "").split(",") if part}


def _refs(thing: Thing) -> list[dict[str, Any]]:
    return [ref for name, refs in thing.body.items() if name.endswith("_refs") for ref in refs]


def _is_children(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict) and {*value[0]} <= {"to", "uuid"}


def _filtered(found: Iterable[Thing], term: str) -> list[Thing]:
    name, _, text = term.partition("==")
    try:
        wanted = json.loads(text)
    except ValueError:
        raise Fault(400, f"Invalid filter {term}") from None
    return [thing for thing in found if thing.body.get(name) == wanted]
