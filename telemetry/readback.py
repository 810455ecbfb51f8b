# SPDX-License-Identifier: Apache-2.0
"""Asks a site's analytics API which of our object logs it has."""

from __future__ import annotations

import base64
import ssl
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson

from telemetry.sandesh.decode import parse_fragment
from telemetry.sandesh.errors import DecodeError
from telemetry.sandesh.messages import BMS_LIFECYCLE_EVENT_LOG

TIMEOUT_SECONDS: Final = 30.0
_EQUAL: Final = 1


class UnreadableError(Exception):
    """The analytics API does not answer, refuses, or answers nonsense. The text says which, and holds no secret."""


@dataclass(frozen=True, slots=True)
class Analytics:
    """Where the API is.

    Attributes:
        url: without a path, ``http://10.0.0.11:8081``.
        credentials: ``user:password`` for basic authentication, a token otherwise, "" for none.
        authority: PEM file of who signed its certificate; None: the system's.
    """

    url: str
    credentials: str = field(default="", repr=False)
    authority: Path | None = None

    async def object_logs(self, start: int, end: int) -> Counter[str]:
        """How often each event's object log is there, of those sent between two times (microseconds, both included).

        Raises:
            UnreadableError: see there.
        """
        asked = {
            "table": "MessageTable",
            "start_time": start,
            "end_time": end,
            "select_fields": ["MessageTS", "Xmlmessage"],
            "where": [[{"name": "Messagetype", "value": BMS_LIFECYCLE_EVENT_LOG.name, "op": _EQUAL}]],
        }
        rows = (await self._post("/analytics/query", asked)).get("value")
        if not isinstance(rows, list):
            msg = "the analytics API answered without rows"
            raise UnreadableError(msg)
        return Counter(found for row in rows if isinstance(row, dict) and (found := _event_id(row.get("Xmlmessage"))))

    async def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        context = ssl.create_default_context(cafile=str(self.authority)) if self.authority else True
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(
                    self.url.rstrip("/") + path,
                    data=orjson.dumps(body),
                    headers={"Content-Type": "application/json", **self._authorization()},
                    ssl=context,
                    allow_redirects=False,
                ) as response,
            ):
                content = await response.read()
                if response.status != 200:
                    msg = f"the analytics API answered {response.status}"
                    raise UnreadableError(msg)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            msg = f"the analytics API does not answer: {type(error).__name__}"
            raise UnreadableError(msg) from None
        try:
            answer = orjson.loads(content)
        except orjson.JSONDecodeError:
            answer = None
        if not isinstance(answer, dict):
            msg = "the analytics API did not answer in JSON"
            raise UnreadableError(msg)
        return answer

    def _authorization(self) -> dict[str, str]:
        if not self.credentials:
            return {}
        if ":" in self.credentials:
            return {"Authorization": f"Basic {base64.b64encode(self.credentials.encode()).decode()}"}
        return {"X-Auth-Token": self.credentials}


def _event_id(xml: object) -> str:
    if not isinstance(xml, str):
        return ""
    try:
        found = parse_fragment(xml).child("event_id")
    except DecodeError:
        return ""
    return found.text if found else ""
