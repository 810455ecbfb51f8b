# SPDX-License-Identifier: Apache-2.0
"""Tells analytics which alarms are raised, and takes acknowledgements.

An acknowledgement is of one raising: an alarm that is cleared and raised again is a new one, which nobody knows of yet.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from enum import Enum
from typing import Final, Protocol

import structlog

from telemetry.patience import patiently
from telemetry.sandesh.alarms import ALARM_TRACE, Alarm, Severity, uve_alarms
from telemetry.sandesh.encode import Values
from telemetry.sandesh.errors import EncodeError
from telemetry.sandesh.schema import Message
from telemetry.store import Store, acknowledged, marks

LOOK_SECONDS: Final = 5.0
"""How often it is looked what was acknowledged in our own analytics."""

_log = structlog.get_logger("bms.alarms")


class Answer(Enum):
    """What became of an acknowledgement; the value is the reference's text for it, "" for success."""

    SUCCESS = ""
    NOT_PRESENT = "Alarm not present"
    INVALID = "Invalid Alarm Ack request"


class Teller(Protocol):
    """A generator (`telemetry.sandesh.generator.Generator`)."""

    def replace(self, message: Message, whole: Values, table: str | None = None) -> None:
        """Makes a UVE or alarm be *whole*."""
        ...

    def delete(self, message: Message, key: Values, table: str | None = None) -> None:
        """Deletes one."""
        ...


class Desk:
    """All alarms that are raised.

    Args:
        host, port: where our introspection can be reached by analytics; port 0 for nowhere.
        generator: as whom we tell; what is acknowledged of it in our own analytics, at any replica, is known here too.
    """

    def __init__(self, teller: Teller, store: Store, host: str, port: int, generator: str = "") -> None:
        self._teller = teller
        self._store = store
        self._host = host
        self._port = port
        self._generator = generator
        self._raised: dict[tuple[str, str], tuple[Alarm, ...]] = {}
        self._known: acknowledged.Acknowledged = {}
        self._unsaved: dict[tuple[str, str, str], int | None] = {}
        self._news = asyncio.Event()

    async def load(self) -> None:
        """Learns what was acknowledged before; forgets what was raised, for it to be told again."""
        self._known = await self._store.read(acknowledged.load)
        self._unsaved.clear()
        self._raised.clear()

    async def run(self) -> None:
        """Keeps what people acknowledge, and learns what they do elsewhere, until it is cancelled."""
        while True:
            with suppress(TimeoutError):  # no news here: what others do elsewhere is looked for all the same
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._news.wait()
            self._news.clear()
            await patiently(self._learn, "alarms.learn")
            await patiently(self._save, "alarms.save")

    def tell(self, table: str, key: str, alarms: Iterable[Alarm]) -> None:
        """Says that these, and no others, are raised for an object."""
        before, after = self._raised.get((table, key), ()), tuple(alarms)
        if before == after:
            return
        for alarm in {alarm.type for alarm in before} - {alarm.type for alarm in after}:
            _log.info("alarm.cleared", alarm=alarm, object=key)
        for one in after:
            if all((one.type, one.since) != (other.type, other.since) for other in before):
                _log.warning("alarm.raised", alarm=one.type, object=key, text=one.description)
        standing = {(table, key, alarm.type): alarm.since for alarm in after}
        for name in [
            name for name in self._known if name[:2] == (table, key) and standing.get(name) != self._known[name]
        ]:
            self._note(name, None)
        if after:
            self._raised[table, key] = after
            self._show(table, key)
        else:
            self._raised.pop((table, key), None)
            self._teller.delete(ALARM_TRACE, {"name": key}, table)

    def acknowledge(self, table: str, key: str, type_: str, since: int) -> Answer:
        """Notes that somebody knows of the alarm that was raised at *since*."""
        if not (table and key and type_):
            return Answer.INVALID
        if all((alarm.type, alarm.since) != (type_, since) for alarm in self._raised.get((table, key), ())):
            return Answer.NOT_PRESENT
        self._note((table, key, type_), since)
        self._show(table, key)
        _log.info("alarm.acknowledged", alarm=type_, object=key)
        return Answer.SUCCESS

    def count(self) -> Iterator[tuple[str, Severity, bool, int]]:
        """How many alarms of each type and severity are raised, those that were acknowledged apart."""
        counts = Counter(
            (alarm.type, alarm.severity, self._is_known(table, key, alarm))
            for (table, key), alarms in self._raised.items()
            for alarm in alarms
        )
        return ((*which, number) for which, number in sorted(counts.items()))

    def _is_known(self, table: str, key: str, alarm: Alarm) -> bool:
        return self._known.get((table, key, alarm.type)) == alarm.since

    def _show(self, table: str, key: str) -> None:
        rows = [(alarm, self._is_known(table, key, alarm)) for alarm in self._raised[table, key]]
        try:
            self._teller.replace(ALARM_TRACE, uve_alarms(key, rows, self._host, self._port), table)
        except EncodeError as error:
            _log.exception("alarm.not_encoded", object=key, field=error.field, reason=error.reason)

    def _note(self, name: tuple[str, str, str], since: int | None) -> None:
        if since is None:
            self._known.pop(name, None)
        else:
            self._known[name] = since
        self._unsaved[name] = since
        self._news.set()

    async def _learn(self) -> None:
        for table, key, (type_, since) in await self._store.read(lambda tx: marks.told_by(tx, self._generator)):
            if self._known.get((table, key, type_)) != since:
                self.acknowledge(table, key, type_, since)

    async def _save(self) -> None:
        changes = dict(self._unsaved)
        if changes:
            await self._store.write(lambda tx: acknowledged.save(tx, changes), "alarms.save")
        for name, since in changes.items():
            if self._unsaved.get(name, "") == since:
                del self._unsaved[name]
