# SPDX-License-Identifier: Apache-2.0
"""Warnings and errors of our own log as Sandesh system logs, for people who read analytics and not files.

They are taken behind the redaction, so what is kept out of the log is kept out of them. How many are sent in a second
is limited (`telemetry.sandesh.sending`); what is not sent is in the log all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Protocol

import orjson

from services.runtime import logs
from telemetry.sandesh.actions import Fate
from telemetry.sandesh.encode import Values
from telemetry.sandesh.schema import Field, Level, Message, Scalar, at_level, system_log

BMS_SERVICE_LOG: Final = system_log(
    "BmsServiceLog",
    tuple(
        Field(name, Scalar.STRING, identifier)
        for identifier, name in enumerate(("source", "service", "event", "detail"), 1)
    ),
    category="BMS",
)
"""``source`` is the generator, ``detail`` the line's facts in JSON, as texts where JSON has nothing for them."""

LEVELS: Final = {"warning": Level.WARN, "error": Level.ERR, "critical": Level.CRIT}
MAX_DETAIL: Final = 4000
"""Characters."""
_OWN: Final = "sandesh."
"""What the generator says of its sending is not sent: it would say more of that."""
_APART: Final = frozenset({"event", "level", "timestamp", "service"})


class Logger(Protocol):
    """A generator (`telemetry.sandesh.generator.Generator`)."""

    def log(self, message: Message, values: Values) -> Fate:
        """Sends a message that is no UVE, now or never."""
        ...


@contextmanager
def told(generator: Logger, source: str) -> Iterator[None]:
    """Sends our warnings and errors until the block ends.

    Args:
        source: names us.
    """
    loop = asyncio.get_running_loop()

    def send(message: Message, values: dict[str, str]) -> None:
        generator.log(message, values)

    def hear(event: Mapping[str, Any]) -> None:
        level, name = LEVELS.get(str(event.get("level"))), str(event.get("event", ""))
        if level is None or name.startswith(_OWN) or loop.is_closed():
            return
        facts = {key: value for key, value in event.items() if key not in _APART}
        detail = orjson.dumps(logs.plain(facts)).decode()[:MAX_DETAIL]
        values = {"source": source, "service": str(event.get("service", "")), "event": name, "detail": detail}
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            # From any thread, and never in the midst of something that the generator does.
            loop.call_soon_threadsafe(send, at_level(BMS_SERVICE_LOG, level), values)

    with logs.heard(hear):
        yield
