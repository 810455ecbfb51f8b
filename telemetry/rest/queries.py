# SPDX-License-Identifier: Apache-2.0
"""Tables and queries.

A query is answered at once, or, with the header ``Expect: 202-accepted``, later: the answer names an address that tells
its progress and, when it is done, where its rows are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from aiohttp import hdrs, web

from services.kernel.clock import Ids
from services.kernel.errors import BmsError, Exhausted, InvalidField, NotFound
from telemetry import query
from telemetry.query import Query
from telemetry.query.tables import Columns
from telemetry.rest.answers import CALLER, answered, body, href, refusal
from telemetry.store import Store
from telemetry.uves import TYPES

ACCEPTED: Final = "202-accepted"
MOST_AT_ONCE: Final = 4
"""Queries that run at the same time; others wait."""
MOST_WAITING: Final = 64
"""Queries that run, wait, or whose rows are still kept."""
KEPT_SECONDS: Final = 300.0
"""How long rows are kept for who asked."""

_log = structlog.get_logger("bms.rest")


@dataclass(eq=False)
class _Accepted:
    """A query that is answered later.

    Attributes:
        subject: who asked; nobody else gets the rows.
        gone: when its rows are forgotten, by the loop's clock; None while it runs.
    """

    asked: Query
    subject: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    error: BmsError | None = None
    gone: float | None = None


class Queries:
    """Answers over one store."""

    def __init__(self, store: Store, ids: Ids, clock: Callable[[], int]) -> None:
        self._store = store
        self._ids = ids
        self._clock = clock
        self._room = asyncio.Semaphore(MOST_AT_ONCE)
        self._accepted: dict[str, _Accepted] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def routes(self) -> list[web.AbstractRouteDef]:
        """The paths."""
        return [
            web.get("/analytics/tables", self._tables),
            web.get("/analytics/table/{table}", self._table),
            web.get("/analytics/table/{table}/schema", self._schema),
            web.post("/analytics/query", self._query, expect_handler=_expected),
            web.get("/analytics/query/{id}", self._progress),
            web.get("/analytics/query/{id}/chunk-final/{chunk}", self._chunk),
        ]

    async def close(self, _app: web.Application) -> None:
        """Ends what still runs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _tables(self, request: web.Request) -> web.Response:
        rows = [(query.MESSAGE_TABLE, "LOG", "Message Table")]
        rows += [(kind.table, "OBJECT", kind.display) for kind in TYPES.values()]
        return answered(
            [
                {"href": href(request, "table", name), "name": name, "type": kind, "display_name": display}
                for name, kind, display in rows
            ]
        )

    async def _table(self, request: web.Request) -> web.Response:
        table = request.match_info["table"]
        _columns(table)
        return answered([{"href": href(request, "table", table, "schema"), "name": "schema"}])

    async def _schema(self, request: web.Request) -> web.Response:
        table = request.match_info["table"]
        columns = [
            {"name": column.name, "datatype": "int" if column.number else "string", "index": column.indexed}
            for column in _columns(table).values()
        ]
        return answered({"type": "LOG" if table == query.MESSAGE_TABLE else "OBJECT", "columns": columns})

    async def _query(self, request: web.Request) -> web.Response:
        asked = query.parse(await body(request), self._clock())
        if ACCEPTED not in {
            request.headers.get("Expect", "").lower(),
            request.headers.get("Postman-Expect", "").lower(),
        }:
            return answered({"value": await self._run(asked)})
        self._forget()
        if len(self._accepted) >= MOST_WAITING:
            msg = f"{MOST_WAITING} queries are under way or have rows that were not fetched"
            raise Exhausted(msg, remedy="Ask again in a minute, or without Expect.")
        number, accepted = self._ids.uuid(), _Accepted(asked, CALLER.get().subject)
        self._accepted[number] = accepted
        task = asyncio.create_task(self._answer(accepted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return answered({"href": f"/analytics/query/{number}"}, 202)

    async def _run(self, asked: Query) -> list[dict[str, Any]]:
        async with self._room:
            return await self._store.read(lambda tx: query.run(tx, asked))

    async def _answer(self, accepted: _Accepted) -> None:
        try:
            accepted.rows = await self._run(accepted.asked)
        except BmsError as error:
            accepted.error = error
        except Exception as error:  # noqa: BLE001 -- told to who asks; the log has the rest
            _log.exception("query.failed")
            accepted.error = BmsError(f"the query failed: {type(error).__name__}")
        finally:
            accepted.gone = asyncio.get_running_loop().time() + KEPT_SECONDS

    def _forget(self) -> None:
        now = asyncio.get_running_loop().time()
        for number in [key for key, one in self._accepted.items() if one.gone is not None and one.gone <= now]:
            del self._accepted[number]

    def _found(self, request: web.Request) -> tuple[str, _Accepted]:
        self._forget()
        number = request.match_info["id"]
        accepted = self._accepted.get(number)
        if accepted is None or accepted.subject != CALLER.get().subject:
            msg = "there is no such query, or its rows are gone"
            raise NotFound(msg, remedy="Ask again, at the same address: another replica does not know of it.")
        return number, accepted

    async def _progress(self, request: web.Request) -> web.Response:
        number, accepted = self._found(request)
        if accepted.error is not None:
            return refusal(accepted.error)
        chunk: dict[str, Any] = {
            "progress": 0 if accepted.gone is None else 100,
            "start_time": accepted.asked.start,
            "end_time": accepted.asked.end,
        }
        if accepted.gone is not None:
            chunk["ttl"] = int(accepted.gone - asyncio.get_running_loop().time())
            chunk["href"] = f"/analytics/query/{number}/chunk-final/0"
        return answered({"progress": chunk["progress"], "chunks": [chunk]})

    async def _chunk(self, request: web.Request) -> web.Response:
        number, accepted = self._found(request)
        if accepted.error is not None:
            return refusal(accepted.error)
        if accepted.gone is None or request.match_info["chunk"] != "0":
            msg = "there is no such chunk yet"
            raise NotFound(msg, remedy="Ask for the query's progress; it names its chunks.")
        del self._accepted[number]  # read once, as in the reference
        return answered({"value": accepted.rows})


async def _expected(request: web.Request) -> web.StreamResponse | None:
    """Lets the header be that asks for an answer later, and does for others what is usual."""
    expect = request.headers.get(hdrs.EXPECT, "").lower()
    if expect == ACCEPTED:
        return None
    if expect != "100-continue":
        raise web.HTTPExpectationFailed(text=f"unknown Expect: {expect[:40]!r}")
    if request.transport is not None:
        with suppress(OSError):  # he has gone: whoever reads his body finds out
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return None


def _columns(table: str) -> Columns:
    try:
        return query.columns_of(table)
    except InvalidField as error:
        raise NotFound(str(error), remedy=error.remedy, name=table[:60]) from None
