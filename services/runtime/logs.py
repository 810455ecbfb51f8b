# SPDX-License-Identifier: Apache-2.0
"""The log: one line an event, facts as fields, secrets never."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, time
from enum import Enum
from typing import Any

import orjson
import structlog

from services.runtime.context import current
from services.runtime.settings import LogSettings

REDACTED = "[redacted]"
_WORDS = ("password", "secret", "token", "user_data", "userdata", "config_drive", "authorization", "private_key")
_HARMLESS = frozenset({"page_token", "next_page_token"})
_MAX_DEPTH = 8

_registered: set[str] = set()
_listeners: list[Callable[[Mapping[str, Any]], None]] = []
_known: dict[str, bool] = {}


def register_secret(value: str) -> None:
    """Keeps *value* out of every log line from now on, wherever it turns up; short ones are not taken."""
    if len(value) >= 8:
        _registered.add(value)


def redact(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replaces what must not be logged: structlog's processor."""
    for key, value in event.items():
        if _is_secret(key):
            event[key] = REDACTED
        elif isinstance(value, str | bytes | Mapping | list | tuple):
            event[key] = _clean(value, 0)
    return event


@contextmanager
def heard(listener: Callable[[Mapping[str, Any]], None]) -> Iterator[None]:
    """Lets *listener* have each line as it is logged, without secrets, on that thread; until the block ends."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def _tell(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for listener in _listeners:
        listener(event)
    return event


def _is_secret(key: str) -> bool:
    known = _known.get(key)
    if known is None:
        low = key.lower().replace("-", "_")
        known = key not in _HARMLESS and any(word in low for word in _WORDS)
        if len(_known) < 10_000:
            _known[key] = known
    return known


def _clean(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        for secret in _registered:
            if secret in value:
                value = value.replace(secret, REDACTED)
        return value
    if isinstance(value, bytes):
        return f"[{len(value)} bytes]"
    if depth >= _MAX_DEPTH:
        return "[deep]"
    if isinstance(value, Mapping):
        return {key: REDACTED if _is_secret(str(key)) else _clean(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item, depth + 1) for item in value]
    return value


_log = structlog.get_logger("bms")
_fast: Callable[[str, dict[str, Any]], None] | None = None


def line(event: str, facts: dict[str, Any]) -> None:
    """Writes an info line whose facts hold no secret, as there is one for every call: a fifth of structlog's cost."""
    if _fast is not None:
        _fast(event, facts)
    else:
        _log.info(event, **facts)


def _fast_line(service: str) -> Callable[[str, dict[str, Any]], None]:
    out = sys.stderr.buffer

    def write(event: str, facts: dict[str, Any]) -> None:
        stamp = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        data = {**facts, "event": event, "level": "info", "timestamp": stamp, "service": service}
        out.write(_dumps(data) + b"\n")
        out.flush()

    return write


def configure(settings: LogSettings, service: str) -> None:
    """Sets structlog and the standard library's logging up for this process; lines go to standard error."""
    global _fast  # noqa: PLW0603 -- set up once per process, like structlog itself
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    quiet = level > logging.INFO
    _fast = (lambda _event, _facts: None) if quiet else _fast_line(service) if settings.json else None
    render: list[Any] = (
        [_tracebacks, redact, _tell, structlog.processors.JSONRenderer(serializer=_dumps)]
        if settings.json
        else [redact, _tell, _as_text, structlog.dev.ConsoleRenderer()]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _in_call,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _Named(service),
            *render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer)
        if settings.json
        else structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(
        level=max(level, logging.WARNING), stream=sys.stderr, format="%(levelname)s %(name)s %(message)s", force=True
    )


# Frames with their local values would log whatever a function had in its hands.
_tracebacks = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))


class _Named:
    def __init__(self, service: str) -> None:
        self._service = service

    def __call__(self, _logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = self._service
        return event


def _in_call(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Says of every line written while serving a call which call that is."""
    call = current.get(None)
    if call is not None:
        event.setdefault("request_id", call.correlation)
    return event


def _as_text(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return event


def _dumps(value: Any, **_: Any) -> bytes:
    try:
        return orjson.dumps(value, default=plain, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS)
    except orjson.JSONEncodeError:
        # A line is written whatever its facts are: what is wrong is told in them.
        return orjson.dumps(plain(value))


def plain(value: Any, depth: int = 0) -> Any:
    """*value* as JSON has it, with texts in place of what it has not, and without secrets."""
    if value is None or isinstance(value, bool) or (type(value) is int and -(2**63) <= value < 2**64):
        return value
    if type(value) is float and math.isfinite(value):
        return value
    if depth >= _MAX_DEPTH:
        return "[deep]"
    if isinstance(value, Enum):
        return plain(value.value, depth + 1)
    if isinstance(value, date | time):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        value = {each.name: getattr(value, each.name, None) for each in fields(value)}
    if isinstance(value, Mapping):
        pairs = ((_text(key), item) for key, item in value.items())
        return {key: REDACTED if _is_secret(key) else plain(item, depth + 1) for key, item in pairs}
    if isinstance(value, list | tuple):
        return [plain(item, depth + 1) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(item, depth + 1) for item in value), key=str)
    return _clean(value if isinstance(value, bytes) else _text(value), depth)


def _text(value: object) -> str:
    try:
        # A file's name may hold bytes that are no UTF-8.
        return str(value).encode("utf-8", "backslashreplace").decode()
    except Exception as error:  # noqa: BLE001 -- whatever an object's own code raises
        return f"[{type(value).__name__}: {type(error).__name__}]"
