# SPDX-License-Identifier: Apache-2.0
"""UVEs and alarms as server-sent events.

    event: init     data: null                                              the stream begins
    event: update   data: {"key": "Table:key", "type": struct, "value": {..}}   a struct as it is now; null: it is gone
    event: update   data: {"key": "Table:key", "type": null, "value": null}     nothing of the object is left
    event: stop     data: null                                              the stream ends: come again

First everything there is, then what changes. An id behind a batch says where to go on (``Last-Event-ID``, as browsers
send it by themselves). ``tablefilt`` (types), ``kfilt`` and ``cfilt`` choose.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from typing import Final

from aiohttp import web

from services.kernel.errors import Exhausted, InvalidField, PeerUnavailable
from telemetry.rest.answers import filters, known
from telemetry.uve_changes import ChosenUves
from telemetry.uve_watch import UveHub
from telemetry.uves import ALARMS

_ALIVE: Final = b": alive\n\n"


class Streams:
    """Serves what a hub tells."""

    def __init__(self, hub: UveHub) -> None:
        self._hub = hub

    def routes(self) -> list[web.AbstractRouteDef]:
        """The paths."""
        return [web.get("/analytics/uve-stream", self._uves), web.get("/analytics/alarm-stream", self._alarms)]

    async def _uves(self, request: web.Request) -> web.StreamResponse:
        return await self._stream(request, _chosen(request))

    async def _alarms(self, request: web.Request) -> web.StreamResponse:
        chosen = _chosen(request)
        return await self._stream(request, replace(chosen, filters=replace(chosen.filters, structs={ALARMS: ()})))

    async def _stream(self, request: web.Request, chosen: ChosenUves) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        try:
            async with aclosing(self._hub.watch(request.headers.get("Last-Event-ID", ""), chosen)) as told:
                async for batch in told:
                    if not response.prepared:
                        # Not before the first batch: what is wrong with the token is said by a status.
                        await response.prepare(request)
                        await response.write(_event("init"))
                    await response.write(batch.sse if batch.changes else batch.sse + _ALIVE)
        except ConnectionError:
            return response  # the reader went away
        except (Exhausted, PeerUnavailable):
            if not response.prepared:
                raise
            await _end(response)
        return response


def _chosen(request: web.Request) -> ChosenUves:
    if "ackfilt" in request.query:
        raise InvalidField("ackfilt", "does not choose in streams", remedy="Leave it out; each alarm says its ack.")
    tables = frozenset(known(name).table for name in request.query.get("tablefilt", "").split(",") if name)
    return ChosenUves(tables or None, filters(request.query))


def _event(name: str) -> bytes:
    return f"event: {name}\ndata: null\n\n".encode()


async def _end(response: web.StreamResponse) -> None:
    try:
        await response.write(_event("stop"))
        await response.write_eof()
    except ConnectionError:
        return  # it went away too
