# SPDX-License-Identifier: Apache-2.0
"""What requests hold and what answers are made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

import orjson
from aiohttp import web

from services.kernel.calls import Caller
from services.kernel.errors import BmsError, InvalidField, InvalidFields, NotFound
from services.runtime import status as statuses
from telemetry.uves import TYPES, Filters, UveType

CALLER: Final[ContextVar[Caller]] = ContextVar("caller")
"""Who sent the request that is being answered, once the guard has let it in."""

_HTTP: Final[Mapping[str, int]] = MappingProxyType(
    {
        "INVALID_ARGUMENT": 400,
        "UNAUTHENTICATED": 401,
        "PERMISSION_DENIED": 403,
        "NOT_FOUND": 404,
        "RESOURCE_EXHAUSTED": 429,
        "UNAVAILABLE": 503,
    }
)


def dumped(value: Any) -> bytes:
    """*value* as JSON."""
    try:
        return orjson.dumps(value)
    except TypeError:
        # A whole number of more than 64 bits: no generator may send one, but any can.
        return json.dumps(value).encode()


def answered(value: Any, status: int = 200) -> web.Response:
    """An answer in JSON."""
    return web.Response(body=dumped(value), status=status, content_type="application/json")


def refusal(error: BmsError) -> web.Response:
    """What a caller learns of *error*."""
    told: dict[str, Any] = {"reason": error.reason, "message": str(error), "remedy": error.remedy}
    if isinstance(error, InvalidFields):
        told["fields"] = [violation.field for violation in error.violations]
    return answered({"error": told}, _HTTP.get(statuses.code_of(error).name, 500))


def href(request: web.Request, *parts: str) -> str:
    """The address of something below ``/analytics`` as this caller reaches it."""
    return str(request.url.origin().joinpath("analytics", *parts))


async def body(request: web.Request) -> Any:
    """The JSON of a request.

    Raises:
        InvalidField: it is none.
    """
    try:
        return orjson.loads(await request.read())
    except orjson.JSONDecodeError:
        raise InvalidField("", "is not JSON", remedy="Send a JSON object.") from None


def strings(given: object, name: str) -> list[str]:
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


def filters(given: Mapping[str, str]) -> Filters:
    """The filters in an address.

    Raises:
        InvalidField: ``ackfilt`` is neither ``true`` nor ``false``.
    """
    asked = Filters.parse(
        kfilt=given.get("kfilt", "").split(","),
        cfilt=given.get("cfilt", "").split(","),
        sfilt=given.get("sfilt", ""),
        mfilt=given.get("mfilt", ""),
    )
    known = given.get("ackfilt")
    if known is None:
        return asked
    if known not in {"true", "false"}:
        raise InvalidField("ackfilt", f"{known[:20]!r} is neither true nor false")
    return replace(asked, acknowledged=known == "true")


def known(name: str) -> UveType:
    """The type called *name*.

    Raises:
        NotFound: there is none.
    """
    kind = TYPES.get(name)
    if kind is None:
        msg = f"{name[:60]!r} is no type of UVE"
        raise NotFound(msg, remedy=f"Give one of {', '.join(TYPES)}.", name=name[:60])
    return kind
