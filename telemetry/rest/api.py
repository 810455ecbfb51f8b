# SPDX-License-Identifier: Apache-2.0
"""The paths of the analytics API, behind one guard.

    GET  /analytics/uves                          types that there are
    GET  /analytics/uves/servers                  objects of a type; kfilt, cfilt, sfilt, mfilt
    GET  /analytics/uves/server/{key}[?flat]      one object; * and a,b* for several; filters imply flat
    POST /analytics/uves/server                   several by filters in JSON
    GET  /analytics/uve-types
    GET  /analytics/alarms                        objects with alarms, by type
    POST /analytics/alarms/acknowledge            see telemetry.rest.alarms
    GET  /analytics/tables, /analytics/table/{table}[/schema]
    POST /analytics/query                         see telemetry.query and telemetry.rest.queries
    GET  /analytics/uve-stream                    see telemetry.rest.streams; /analytics/alarm-stream likewise

Only for administrators, services and auditors, who acknowledge nothing, by ``X-Auth-Token`` or ``Authorization:
Bearer``.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from aiohttp import web

from services.kernel.calls import Caller, Role
from services.kernel.clock import Ids
from services.kernel.errors import BmsError, Forbidden, Unauthenticated
from telemetry.callers import AioCallers
from telemetry.rest.alarms import Alarms
from telemetry.rest.answers import CALLER, answered, href, refusal
from telemetry.rest.objects import Objects
from telemetry.rest.queries import Queries
from telemetry.rest.streams import Streams
from telemetry.store import Store
from telemetry.uve_watch import UveHub

MOST_BYTES: Final = 1024 * 1024
_MAY_READ: Final = frozenset({Role.ADMIN, Role.SERVICE, Role.READER})

_log = structlog.get_logger("bms.rest")

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AnalyticsApi:
    """Answers over one store.

    Args:
        clock: gives microseconds since 1970.
    """

    def __init__(self, store: Store, uve_hub: UveHub, callers: AioCallers, ids: Ids, clock: Callable[[], int]) -> None:
        self._callers = callers
        self._ids = ids
        self._objects = Objects(store)
        self._alarms = Alarms(store, uve_hub, clock)
        self._queries = Queries(store, ids, clock)
        self._streams = Streams(uve_hub)

    def application(self) -> web.Application:
        """The paths, behind one guard."""
        app = web.Application(middlewares=[self._guard], client_max_size=MOST_BYTES)
        app.add_routes(
            [
                web.get("/analytics", _root),
                *self._objects.routes(),
                *self._alarms.routes(),
                *self._queries.routes(),
                *self._streams.routes(),
            ]
        )
        app.on_cleanup.append(self._queries.close)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        started, correlation = time.perf_counter(), self._ids.uuid()
        try:
            CALLER.set(await self._admit(request))
            response = await handler(request)
        except BmsError as error:
            response = refusal(error)
        except web.HTTPException as refused:
            response = answered({"error": {"reason": "HTTP", "message": refused.reason}}, refused.status)
        except Exception:  # noqa: BLE001 -- the log has everything, the caller an id
            _log.exception("rest.failed", request_id=correlation)
            message = f"internal error; the log has it under request id {correlation}"
            response = answered({"error": {"reason": "INTERNAL", "message": message}}, 500)
        milliseconds = round((time.perf_counter() - started) * 1000, 2)
        _log.info("rest", method=request.method, path=request.path[:200], code=response.status, ms=milliseconds)
        return response

    async def _admit(self, request: web.Request) -> Caller:
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
        return caller


async def _root(request: web.Request) -> web.Response:
    names = ("uves", "uve-types", "tables", "query", "alarms", "uve-stream", "alarm-stream")
    return answered([{"href": href(request, name), "name": name} for name in names])
