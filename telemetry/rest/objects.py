# SPDX-License-Identifier: Apache-2.0
"""UVEs and alarms: what is known of objects now."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aiohttp import web

from services.kernel.errors import InvalidField
from services.runtime.database import Transaction
from telemetry import uves
from telemetry.rest.answers import answered, body, filters, href, known, strings
from telemetry.store import Store
from telemetry.uves import ALARMS, TYPES, Filters, UveType


class Objects:
    """Answers over one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def routes(self) -> list[web.AbstractRouteDef]:
        """The paths."""
        return [
            web.get("/analytics/uves", self._types),
            web.get("/analytics/uve-types", self._kinds),
            web.get("/analytics/uves/{plural}", self._keys),
            web.post("/analytics/uves/{type}", self._several),
            web.get("/analytics/uves/{type}/{key:.+}", self._one),
            web.get("/analytics/alarms", self._alarms),
        ]

    async def _types(self, request: web.Request) -> web.Response:
        return answered([{"href": href(request, "uves", f"{name}s"), "name": f"{name}s"} for name in TYPES])

    async def _kinds(self, request: web.Request) -> web.Response:
        return answered({name: {"global_system_object": kind.system} for name, kind in TYPES.items()})

    async def _keys(self, request: web.Request) -> web.Response:
        plural = request.match_info["plural"]
        name = plural.removesuffix("s")
        kind, asked = known(name) if plural.endswith("s") else known(plural + "?"), filters(request.query)
        found = await self._store.read(lambda tx: uves.keys(tx, kind.table, asked))
        return answered([{"name": key, "href": href(request, "uves", name, key) + "?flat"} for key in found])

    async def _one(self, request: web.Request) -> web.Response:
        kind, key = known(request.match_info["type"]), request.match_info["key"]
        asked = filters(request.query)
        flat = "flat" in request.query or asked.any
        if "*" in key or "," in key:
            parts = tuple(part for part in key.split(",") if part)
            return await self._values(kind, replace(asked, keys=asked.keys or parts))
        contents = await self._store.read(lambda tx: uves.one(tx, kind.table, key, asked, flat=flat))
        return answered(contents)

    async def _several(self, request: web.Request) -> web.Response:
        kind, given = known(request.match_info["type"]), await body(request)
        kfilt, cfilt, sfilt, mfilt = (strings(given, name) for name in ("kfilt", "cfilt", "sfilt", "mfilt"))
        asked = Filters.parse(kfilt, cfilt, ",".join(sfilt), ",".join(mfilt))
        wanted = given.get("ackfilt")
        if wanted is not None and not isinstance(wanted, bool):
            raise InvalidField("ackfilt", "is neither true nor false")
        return await self._values(kind, replace(asked, acknowledged=wanted))

    async def _values(self, kind: UveType, asked: Filters) -> web.Response:
        found = await self._store.read(lambda tx: _values(tx, kind, asked))
        return answered({"value": found})

    async def _alarms(self, request: web.Request) -> web.Response:
        asked = replace(filters(request.query), structs={ALARMS: ()})

        def read(tx: Transaction) -> dict[str, Any]:
            return {name: rows for name, kind in TYPES.items() if (rows := _values(tx, kind, asked))}

        return answered(await self._store.read(read))


def _values(tx: Transaction, kind: UveType, asked: Filters) -> list[dict[str, Any]]:
    found = uves.keys(tx, kind.table, Filters(asked.keys))
    contents = ((key, uves.one(tx, kind.table, key, asked, flat=True)) for key in found)
    return [{"name": key, "value": value} for key, value in contents if value]
