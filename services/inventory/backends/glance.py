# SPDX-License-Identifier: Apache-2.0
"""Glance's images: listed whole, made and filled by Glance itself, put right, removed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from services.inventory.backends.glance_image import GlanceImage
from services.runtime.openstack import Refused, Transport, ask, shown

PEER = "Glance"
_PAGE = 500
_PATCH = "application/openstack-images-v2.1-json-patch"
_PROPERTIES = ("hw_architecture", "architecture", "kernel_id", "ramdisk_id", "description", "bms_checksum")
_OURS = ("hw_architecture", "kernel_id", "ramdisk_id", "description")
"""Properties that are ours to keep; bms_checksum tells what was asked for once and never changes."""

_FETCH = "web-download"


class Glance:
    """The images of one Glance."""

    def __init__(self, transport: Transport) -> None:
        self._to = transport

    def everything(self) -> dict[str, GlanceImage]:
        """Every image, of all projects, by id; of shared ones with the projects that accepted.

        Raises:
            PeerUnavailable: it does not answer; nothing is known then, not even a part.
            Refused: our login may not.
        """
        found: dict[str, GlanceImage] = {}
        marker = ""
        while True:
            path = f"/images?visibility=all&limit={_PAGE}" + (f"&marker={marker}" if marker else "")
            page = [_image(each) for each in ask(PEER, self._to, "GET", path).get("images", [])]
            fresh = {each.ref: each for each in page if each.ref not in found}
            if not fresh:
                return {ref: self._with_members(each) for ref, each in found.items()}
            found |= fresh
            marker = page[-1].ref

    def get(self, ref: str) -> GlanceImage | None:
        """One image, hidden ones too; None if there is none."""
        try:
            return self._with_members(_image(ask(PEER, self._to, "GET", f"/images/{ref}")))
        except Refused as error:
            if error.status == 404:
                return None
            raise

    def fetches(self) -> bool:
        """Whether it can be told to fetch an image by itself."""
        try:
            told = ask(PEER, self._to, "GET", "/info/import")
        except Refused:
            return False
        methods = told.get("import-methods") or {}
        return _FETCH in (methods.get("value") or [])

    def make(self, ref: str, wanted: GlanceImage) -> None:
        """Makes *wanted* with the id *ref*; it has no bytes yet.

        Raises:
            Refused: 409 if there is or was an image with this id.
        """
        body: dict[str, object] = {
            "id": ref, "name": wanted.name, "disk_format": wanted.disk_format,
            "container_format": wanted.container_format, "visibility": wanted.visibility, "min_disk": wanted.min_disk,
            **wanted.properties,
        }  # fmt: skip
        if wanted.owner:
            body["owner"] = wanted.owner
        ask(PEER, self._to, "POST", "/images", body)

    def fetch(self, ref: str, source: str) -> None:
        """Tells it to fetch the bytes; one that does so already goes on."""
        try:
            body = {"method": {"name": _FETCH, "uri": source}}
            ask(PEER, self._to, "POST", f"/images/{ref}/import", body)
        except Refused as error:
            if error.status != 409:
                raise

    def fetching(self, ref: str) -> tuple[str, str]:
        """How the newest attempt to fetch stands: a word (empty: there was none) and what Glance says of it."""
        try:
            tasks = ask(PEER, self._to, "GET", f"/images/{ref}/tasks").get("tasks") or []
        except Refused:
            return "", ""
        newest: Mapping[str, Any] = max(tasks, key=lambda task: str(task.get("created_at", "")), default={})
        return str(newest.get("status") or ""), shown(re.sub(r"https?://\S+", "", str(newest.get("message") or "")))

    def put(self, found: GlanceImage, wanted: GlanceImage) -> None:
        """Changes *found* to *wanted* where an image can be changed."""
        changes: list[dict[str, object]] = [
            {"op": "replace", "path": f"/{name}", "value": getattr(wanted, name)}
            for name in ("name", "visibility", "min_disk")
            if getattr(found, name) != getattr(wanted, name)
        ]
        for name in _OURS:
            old, new = found.properties.get(name), wanted.properties.get(name)
            if old is not None and new is None:
                changes.append({"op": "remove", "path": f"/{name}"})
            elif old != new:
                changes.append({"op": "add" if old is None else "replace", "path": f"/{name}", "value": new})
        if changes:
            ask(PEER, self._to, "PATCH", f"/images/{found.ref}", changes, _PATCH)
        if wanted.visibility == "shared":
            self._share(found.ref, wanted.members)

    def remove(self, ref: str) -> None:
        """Removes the image; one that is gone already is fine.

        Raises:
            Refused: it is protected there, or in use.
        """
        try:
            ask(PEER, self._to, "DELETE", f"/images/{ref}")
        except Refused as error:
            if error.status != 404:
                raise

    def _share(self, ref: str, wanted: frozenset[str]) -> None:
        there = {str(each["member_id"]) for each in self._members(ref)}
        for project in sorted(wanted - there):
            ask(PEER, self._to, "POST", f"/images/{ref}/members", {"member": project})
        for project in sorted(there - wanted):
            ask(PEER, self._to, "DELETE", f"/images/{ref}/members/{project}")

    def _with_members(self, image: GlanceImage) -> GlanceImage:
        if image.visibility != "shared":
            return image
        accepted = (str(each["member_id"]) for each in self._members(image.ref) if each.get("status") == "accepted")
        return replace(image, members=frozenset(accepted))

    def _members(self, ref: str) -> list[Mapping[str, Any]]:
        try:
            return list(ask(PEER, self._to, "GET", f"/images/{ref}/members").get("members") or [])
        except Refused as error:
            if error.status == 404:
                # It went since it was listed.
                return []
            raise


def _image(body: Mapping[str, Any]) -> GlanceImage:
    return GlanceImage(
        ref=str(body["id"]),
        name=str(body.get("name") or ""),
        owner=str(body.get("owner") or ""),
        visibility=str(body.get("visibility") or "private"),
        disk_format=str(body.get("disk_format") or ""),
        container_format=str(body.get("container_format") or ""),
        min_disk=int(body.get("min_disk") or 0),
        size=int(body.get("size") or 0),
        status=str(body.get("status") or ""),
        hash_algo=str(body.get("os_hash_algo") or ""),
        hash_value=str(body.get("os_hash_value") or ""),
        protected=bool(body.get("protected")),
        properties={name: str(body[name]) for name in _PROPERTIES if body.get(name) is not None},
    )
