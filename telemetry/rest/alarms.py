# SPDX-License-Identifier: Apache-2.0
"""Acknowledging an alarm.

    POST /analytics/alarms/acknowledge   {"table", "name", "type", "token"}: as the alarm shows its type and token

The statuses are the reference's: 200 without a body, 400 for what is no JSON, 404 for a field that is missing or a
token that cannot be read, 500 for an alarm that is not raised, or is not the one that the token is of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog
from aiohttp import web

from services.kernel.calls import Role
from services.kernel.errors import Forbidden, InvalidField
from telemetry.acknowledging import Acknowledgement, acknowledge
from telemetry.desk import Answer
from telemetry.rest.answers import CALLER, answered, body
from telemetry.sandesh.raised import TokenError, parse_token
from telemetry.store import Store
from telemetry.uve_watch import UveHub
from telemetry.uves import TYPES

FIELDS: Final = ("table", "name", "type", "token")
_MAY_ACKNOWLEDGE: Final = frozenset({Role.ADMIN, Role.SERVICE})

_log = structlog.get_logger("bms.rest")


class Alarms:
    """Takes acknowledgements into one store.

    Args:
        clock: gives microseconds since 1970.
    """

    def __init__(self, store: Store, hub: UveHub, clock: Callable[[], int]) -> None:
        self._store = store
        self._hub = hub
        self._clock = clock

    def routes(self) -> list[web.AbstractRouteDef]:
        """The paths."""
        return [web.post("/analytics/alarms/acknowledge", self._acknowledge)]

    async def _acknowledge(self, request: web.Request) -> web.Response:
        caller = CALLER.get()
        if not caller.site_roles & _MAY_ACKNOWLEDGE:
            msg = f"{caller.subject} may not acknowledge alarms: it takes the role admin or service of the site"
            raise Forbidden(msg, remedy="Ask the administrator for the role.", subject=caller.subject)
        if "application/json" not in request.headers.get("Content-Type", ""):
            return _refused(400, "Content-Type must be JSON", "Send Content-Type: application/json.")
        given = await body(request)
        if not isinstance(given, dict):
            raise InvalidField("", "is not a JSON object", remedy=f"Send {', '.join(FIELDS)}.")
        if lacking := [name for name in FIELDS if name not in given]:
            said = f"Alarm acknowledge request does not contain the fields {{{', '.join(lacking)}}}"
            return _refused(404, said, "Give them as the alarm shows them.")
        for name in FIELDS:
            if not isinstance(given[name], str) or "\0" in given[name]:
                raise InvalidField(name, "is not a text", remedy="Give it as the alarm shows it.")
        try:
            token = parse_token(given["token"])
        except TokenError as error:
            return _refused(404, str(error), "Give the alarm's token as it is shown.")
        kind = TYPES.get(given["table"])
        asked = Acknowledgement(kind.table if kind else given["table"], given["name"], given["type"], token)
        now = self._clock()
        answer = await self._store.write(lambda tx: acknowledge(tx, asked, caller.subject, now), "alarms.acknowledge")
        if answer is not Answer.SUCCESS:
            return _refused(500, answer.value, "List the alarms: it was cleared, or raised anew with another token.")
        _log.info("alarm.acknowledged", alarm=asked.type, table=asked.table, object=asked.key, by=caller.subject)
        self._hub.wake()
        return web.Response()


def _refused(status: int, message: str, remedy: str) -> web.Response:
    return answered({"error": {"reason": "ALARM_NOT_ACKNOWLEDGED", "message": message, "remedy": remedy}}, status)
