# SPDX-License-Identifier: Apache-2.0
"""Nova's flavors: listed whole, made, put right, removed."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from services.inventory.backends.nova_flavor import NovaFlavor
from services.runtime.openstack import Refused, Transport, ask

MICROVERSION = "2.61"
"""Descriptions (2.55) and extra specs within the list (2.61): there since Rocky."""

PEER = "Nova"
_PAGE = 500


class Nova:
    """The flavors of one Nova."""

    def __init__(self, transport: Transport) -> None:
        self._to = transport

    def everything(self) -> dict[str, NovaFlavor]:
        """Every flavor, private ones too, by flavorid.

        Raises:
            PeerUnavailable: it does not answer; nothing is known then, not even a part.
            Refused: our login may not.
        """
        found: dict[str, NovaFlavor] = {}
        marker = ""
        while True:
            path = f"/flavors/detail?is_public=None&limit={_PAGE}" + (f"&marker={marker}" if marker else "")
            page = [_flavor(each) for each in ask(PEER, self._to, "GET", path).get("flavors", [])]
            fresh = {each.ref: each for each in page if each.ref not in found}
            if not fresh:
                return found
            found |= fresh
            marker = page[-1].ref

    def make(self, ref: str, wanted: NovaFlavor) -> None:
        """Makes *wanted* with the flavorid *ref*.

        Raises:
            Refused: 409 if the name or the flavorid is taken.
        """
        body = {
            "name": wanted.name, "id": ref, "vcpus": wanted.vcpus, "ram": wanted.ram, "disk": wanted.disk,
            "description": wanted.description or None, "os-flavor-access:is_public": wanted.public,
        }  # fmt: skip
        ask(PEER, self._to, "POST", "/flavors", {"flavor": body})
        self._specify(ref, dict(wanted.extra))

    def put(self, found: NovaFlavor, wanted: NovaFlavor) -> None:
        """Changes *found* to *wanted* where a flavor can be changed. Servers that run keep what they were made by."""
        if found.description != wanted.description:
            body = {"flavor": {"description": wanted.description or None}}
            ask(PEER, self._to, "PUT", f"/flavors/{found.ref}", body)
        for key in found.kept.keys() - wanted.extra.keys():
            self._gone("DELETE", f"/flavors/{found.ref}/os-extra_specs/{quote(key, safe=':')}")
        self._specify(found.ref, {key: text for key, text in wanted.extra.items() if found.extra.get(key) != text})

    def remove(self, ref: str) -> None:
        """Removes the flavor; one that is gone already is fine."""
        self._gone("DELETE", f"/flavors/{ref}")

    def _specify(self, ref: str, extra: dict[str, str]) -> None:
        if extra:
            ask(PEER, self._to, "POST", f"/flavors/{ref}/os-extra_specs", {"extra_specs": extra})

    def _gone(self, method: str, path: str) -> None:
        try:
            ask(PEER, self._to, method, path)
        except Refused as error:
            if error.status != 404:
                raise


def _flavor(body: dict[str, Any]) -> NovaFlavor:
    return NovaFlavor(
        ref=str(body["id"]),
        name=str(body["name"]),
        vcpus=int(body["vcpus"]),
        ram=int(body["ram"]),
        disk=int(body["disk"]),
        description=str(body.get("description") or ""),
        public=bool(body.get("os-flavor-access:is_public", True)),
        extra={str(key): str(value) for key, value in (body.get("extra_specs") or {}).items()},
    )
