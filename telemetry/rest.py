# SPDX-License-Identifier: Apache-2.0
"""The forms of Contrail's analytics API that readers of servers and their logs use.

    GET  /analytics/uves                          types that there are
    GET  /analytics/uves/servers                  objects of a type; kfilt, cfilt, sfilt, mfilt
    GET  /analytics/uves/server/{key}[?flat]      one object; * and a,b* for several; filters imply flat
    POST /analytics/uves/server                   several by filters in JSON
    GET  /analytics/uve-types
    GET  /analytics/tables, /analytics/table/{table}[/schema]
    POST /analytics/query                         see telemetry.query

Only for administrators, services and auditors, by ``X-Auth-Token`` or ``Authorization: Bearer``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import orjson
import structlog
from aiohttp import web

from services.kernel.calls import Role
from services.kernel.clock import Ids
from services.kernel.errors import BmsError, Forbidden, InvalidField, InvalidFields, NotFound, Unauthenticated
from services.runtime import status as statuses
from telemetry import query, uves
from telemetry.callers import AioCallers
from telemetry.store import Store
from telemetry.uves import TYPES, Filters, UveType

MOST_BYTES: Final = 1024 * 1024
_MAY_READ: Final = frozenset({Role.ADMIN, Role.SERVICE, Role.READER})
_HTTP: Final[Mapping[str, int]] = {
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "UNAVAILABLE": 503,
}

_log = structlog.get_logger("bms.rest")

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AnalyticsApi:
    """Answers over one store.

    Args:
        clock: gives microseconds since 1970.
    """

    def __init__(self, store: Store, callers: AioCallers, ids: Ids, clock: Callable[[], int]) -> None:
        self._store = store
        self._callers = callers
        self._ids = ids
        self._clock = clock

    def application(self) -> web.Application:
        """The paths, behind one guard."""
        app = web.Application(middlewares=[self._guard], client_max_size=MOST_BYTES)
        app.add_routes(
            [
                web.get("/analytics", self._root),
                web.get("/analytics/uves", self._uve_list),
                web.get("/analytics/uve-types", self._uve_types),
                web.get("/analytics/tables", self._tables),
                web.get("/analytics/table/{table}", self._table),
                web.get("/analytics/table/{table}/schema", self._schema),
                web.get("/analytics/uves/{plural}", self._objects),
                web.post("/analytics/uves/{type}", self._several),
                web.get("/analytics/uves/{type}/{key:.+}", self._one),
                web.post("/analytics/query", self._query),
            ]
        )
        return app

    # --- what stands before every answer ---------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        started, correlation = time.perf_counter(), self._ids.uuid()
        try:
            await self._admit(request)
            response = await handler(request)
        except BmsError as error:
            response = _refusal(error)
        except web.HTTPException as refused:
            response = _json({"error": {"reason": "HTTP", "message": refused.reason}}, refused.status)
        except Exception:  # noqa: BLE001 -- the log has everything, the caller an id
            _log.exception("rest.failed", request_id=correlation)
            message = f"internal error; the log has it under request id {correlation}"
            response = _json({"error": {"reason": "INTERNAL", "message": message}}, 500)
        milliseconds = round((time.perf_counter() - started) * 1000, 2)
        _log.info("rest", method=request.method, path=request.path[:200], code=response.status, ms=milliseconds)
        return response

    async def _admit(self, request: web.Request) -> None:
        given = request.headers.get("X-Auth-Token", "")
        authorization = request.headers.get("Authorization", "")
        if not given and authorization[:7].lower() == "bearer ":
            given = authorization[7:].strip()
        if not given:
            msg = "no token was sent"
            raise Unauthenticated(msg, remedy="Send the header X-Auth-Token, or Authorization: Bearer.")
        caller = await self._callers.caller_of(given)
        if not caller.site_roles & _MAY_READ:
            msg = f"{caller.subject} may not read analytics: it takes the role admin, service or reader of the site"
            raise Forbidden(msg, remedy="Ask the administrator for the role.", subject=caller.subject)

    # --- UVEs ------------------------------------------------------------------------------------

    async def _root(self, request: web.Request) -> web.Response:
        names = ("uves", "uve-types", "tables", "query")
        return _json([{"href": _href(request, name), "name": name} for name in names])

    async def _uve_list(self, request: web.Request) -> web.Response:
        return _json([{"href": _href(request, "uves", f"{name}s"), "name": f"{name}s"} for name in TYPES])

    async def _uve_types(self, request: web.Request) -> web.Response:
        return _json({name: {"global_system_object": kind.system} for name, kind in TYPES.items()})

    async def _objects(self, request: web.Request) -> web.Response:
        plural = request.match_info["plural"]
        name = plural.removesuffix("s")
        kind, filters = _known(name) if plural.endswith("s") else _known(plural + "?"), _filters(request.query)
        found = await self._store.read(lambda tx: uves.keys(tx, kind.table, filters))
        return _json([{"name": key, "href": _href(request, "uves", name, key) + "?flat"} for key in found])

    async def _one(self, request: web.Request) -> web.Response:
        kind, key = _known(request.match_info["type"]), request.match_info["key"]
        filters = _filters(request.query)
        flat = "flat" in request.query or filters.any
        if "*" in key or "," in key:
            parts = tuple(part for part in key.split(",") if part)
            return await self._values(kind, replace(filters, keys=filters.keys or parts))
        contents = await self._store.read(lambda tx: uves.one(tx, kind.table, key, filters, flat=flat))
        return _json(contents)

    async def _several(self, request: web.Request) -> web.Response:
        kind, given = _known(request.match_info["type"]), await _body(request)
        kfilt, cfilt, sfilt, mfilt = (_strings(given, name) for name in ("kfilt", "cfilt", "sfilt", "mfilt"))
        return await self._values(kind, Filters.parse(kfilt, cfilt, ",".join(sfilt), ",".join(mfilt)))

    async def _values(self, kind: UveType, filters: Filters) -> web.Response:
        def read(tx: Any) -> list[dict[str, Any]]:
            found = uves.keys(tx, kind.table, Filters(filters.keys))
            contents = ((key, uves.one(tx, kind.table, key, filters, flat=True)) for key in found)
            return [{"name": key, "value": value} for key, value in contents if value]

        return _json({"value": await self._store.read(read)})

    # --- tables and queries ----------------------------------------------------------------------

    async def _tables(self, request: web.Request) -> web.Response:
        rows = [(query.MESSAGE_TABLE, "LOG", "Message Table")]
        rows += [(kind.table, "OBJECT", kind.display) for kind in TYPES.values()]
        return _json(
            [
                {"href": _href(request, "table", name), "name": name, "type": kind, "display_name": display}
                for name, kind, display in rows
            ]
        )

    async def _table(self, request: web.Request) -> web.Response:
        table = request.match_info["table"]
        _columns(table)
        return _json([{"href": _href(request, "table", table, "schema"), "name": "schema"}])

    async def _schema(self, request: web.Request) -> web.Response:
        table = request.match_info["table"]
        numbers = {"MessageTS", "Level", "SequenceNum", "Type"}
        indexed = {"Source", "ModuleId", "Messagetype", "ObjectId"}
        columns = [
            {"name": name, "datatype": "int" if name in numbers else "string", "index": name in indexed}
            for name in _columns(table)
        ]
        return _json({"type": "LOG" if table == query.MESSAGE_TABLE else "OBJECT", "columns": columns})

    async def _query(self, request: web.Request) -> web.Response:
        asked = query.parse(await _body(request), self._clock())
        rows = await self._store.read(lambda tx: query.run(tx, asked))
        return _json({"value": rows})


def _known(name: str) -> UveType:
    kind = TYPES.get(name)
    if kind is None:
        known = ", ".join(TYPES)
        msg = f"{name[:60]!r} is no type of UVE"
        raise NotFound(msg, remedy=f"Give one of {known}.", name=name[:60])
    return kind


def _columns(table: str) -> tuple[str, ...]:
    try:
        return query.columns_of(table)
    except InvalidField as error:
        raise NotFound(str(error), remedy=error.remedy, name=table[:60]) from None


def _filters(given: Mapping[str, str]) -> Filters:
    return Filters.parse(
        kfilt=given.get("kfilt", "").split(","),
        cfilt=given.get("cfilt", "").split(","),
        sfilt=given.get("sfilt", ""),
        mfilt=given.get("mfilt", ""),
    )


async def _body(request: web.Request) -> Any:
    try:
        return orjson.loads(await request.read())
    except orjson.JSONDecodeError:
        raise InvalidField("", "is not JSON", remedy="Send a JSON object.") from None


def _strings(given: object, name: str) -> list[str]:
    """A filter in JSON: a list of texts, or one text with commas."""
    if not isinstance(given, dict):
        raise InvalidField("", "is not a JSON object")
    value = given.get(name)
    if value is None:
        return []
    if isinstance(value, str):
        return value.split(",")
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise InvalidField(name, "is not a list of texts")
    return value


def _href(request: web.Request, *parts: str) -> str:
    return str(request.url.origin().joinpath("analytics", *parts))


def _json(value: Any, status: int = 200) -> web.Response:
    try:
        body = orjson.dumps(value)
    except TypeError:
        # A whole number of more than 64 bits: no generator may send one, but any can.
        body = json.dumps(value).encode()
    return web.Response(body=body, status=status, content_type="application/json")


def _refusal(error: BmsError) -> web.Response:
    told: dict[str, Any] = {"reason": error.reason, "message": str(error), "remedy": error.remedy}
    if isinstance(error, InvalidFields):
        told["fields"] = [violation.field for violation in error.violations]
    return _json({"error": told}, _HTTP.get(statuses.code_of(error).name, 500))
