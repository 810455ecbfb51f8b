# SPDX-License-Identifier: Apache-2.0
"""What collectors received: every message for a while, and the present UVEs of every generator.

Tables and rules are the reference collector's: an attribute of a UVE is replaced whole, ``deleted`` takes all that one
generator said of an object in one struct, a UVE with nothing but its key is invisible, and a generator's UVEs go when
its session does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from services.runtime.database import Row, Transaction
from telemetry.sandesh import raised
from telemetry.sandesh.publication import UveUpdate, uve_update
from telemetry.sandesh.reception import Received
from telemetry.store import bridge, bulk, changes, days, history, marks

TIMESTAMP = "__T"
"""The attribute that holds the time of the last update."""

_ATTRIBUTE_COLUMNS: Final[bulk.Columns] = MappingProxyType(
    {
        "object_table": "text",
        "object_key": "text",
        "struct": "text",
        "generator": "text",
        "attribute": "text",
        "xml": "text",
        "time": "bigint",
    }
)


OF_TABLE: Final = (
    "SELECT 1 FROM message_objects o WHERE o.object_table = ? AND o.message = m.id AND o.seen_time = m.seen_time"
)
"""SQL: what a message ``m`` is about in an object table."""


@dataclass(frozen=True, slots=True)
class MessageRow:
    """One message as it was received; times are microseconds.

    Attributes:
        id: its place in the store, rising.
        objects: (table, key) of everything it is about.
        frame: the bytes as they came.
    """

    id: int
    message_type: str
    source: str
    module: str
    node_type: str
    instance: str
    time: int
    sequence: int
    kind: int
    level: int
    category: str
    frame: bytes
    objects: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of a UVE, as one generator gave it; *time* is that of the struct's last update."""

    key: str
    struct: str
    generator: str
    name: str
    xml: str


@dataclass(frozen=True, slots=True)
class GeneratorRow:
    """A connected generator; *connect_time* is in microseconds."""

    generator: str
    connect_time: int
    message_count: int


@dataclass(frozen=True, slots=True)
class Asked:
    """Which messages are asked for; empty strings choose all."""

    table: str = ""
    key: str = ""
    message_type: str = ""

    def condition(self) -> tuple[str, list[object]]:
        """The same as SQL and its parameters; always at least one term."""
        terms, params = ["1 = 1"], list[object]()
        if self.message_type:
            terms.append("m.message_type = ?")
            params.append(self.message_type)
        if self.table:
            same_key = " AND o.object_key = ?" if self.key else ""
            terms.append(f"EXISTS ({OF_TABLE}{same_key})")
            params += [self.table, self.key] if self.key else [self.table]
        return " AND ".join(terms), params


def admit(tx: Transaction, generator: str, collector: str, now: int) -> None:
    """A generator has connected; all its UVEs follow."""
    forget_uves(tx, generator)
    tx.execute(
        "INSERT INTO generators (generator, collector, connect_time, message_count, connected) VALUES (?, ?, ?, 0, 1)"
        " ON CONFLICT (generator) DO UPDATE SET collector = excluded.collector, connect_time = excluded.connect_time,"
        " message_count = 0, connected = 1",
        (generator, collector, now),
    )


def forget(tx: Transaction, generator: str, collector: str) -> None:
    """A generator's session with *collector* is over: its UVEs are gone, its history stays."""
    changed = tx.execute(
        "UPDATE generators SET connected = 0 WHERE generator = ? AND collector = ?", (generator, collector)
    )
    if changed:
        forget_uves(tx, generator)


def forget_all(tx: Transaction, collector: str) -> None:
    """No generator is connected to *collector*: it has just started, and the process before it may have been killed."""
    for row in tx.all("SELECT generator FROM generators WHERE collector = ? AND connected = 1", (collector,)):
        forget(tx, row["generator"], collector)


def store(tx: Transaction, messages: Sequence[tuple[Received, int]]) -> None:
    """Keeps messages, each until the time beside it, and changes the UVEs they are of, in order.

    An object log that names its event is kept once: a repeat is dropped, and the event is off the outbox.
    """
    counts = Counter(str(message.generator) for message, _ in messages)
    tx.many(
        "UPDATE generators SET message_count = message_count + ? WHERE generator = ?",
        ((count, generator) for generator, count in sorted(counts.items())),
    )
    bridge.taken(tx, history.keep(tx, messages))
    tell(tx, (message for message, _ in messages))


def expire(tx: Transaction, now: int, limit: int) -> bool:
    """See `telemetry.store.history.expire`; so also what is long known to be gone."""
    changes.forget_gone(tx, changes.KEPT, limit)
    marks.forget_gone(tx, now)
    return history.expire(tx, now, limit)


def messages(tx: Transaction, asked: Asked, limit: int, *, newest_first: bool, behind: int | None) -> list[MessageRow]:
    """Messages by place in the store, behind the one with the id *behind*, each with what it is about."""
    condition, params = asked.condition()
    if behind is not None:
        condition += f" AND m.id {'<' if newest_first else '>'} ?"
        params.append(behind)
    order = "m.id DESC" if newest_first else "m.id"
    return _messages(tx, condition, params, order, limit)


def messages_by_time(
    tx: Transaction,
    condition: str,
    params: Sequence[object],
    limit: int,
    *,
    during: tuple[int, int],
    newest_first: bool,
    behind: tuple[int, int] | None,
) -> list[MessageRow]:
    """Messages by their headers' time, each with what it is about.

    Args:
        condition: SQL over ``messages m``.
        during: the first and the last time, both included.
        behind: (time, id) of the last message of the page before.
    """
    in_days, of_days = days.within(tx, *during)
    condition = f"m.time >= ? AND m.time <= ? AND {in_days} AND {condition}"
    params = (*during, *of_days, *params)
    if behind is not None:
        sign = "<" if newest_first else ">"
        condition += f" AND (m.time {sign} ? OR (m.time = ? AND m.id {sign} ?))"
        params = (*params, behind[0], behind[0], behind[1])
    order = "m.time DESC, m.id DESC" if newest_first else "m.time, m.id"
    return _messages(tx, condition, params, order, limit)


def uve(tx: Transaction, table: str, key: str) -> list[Attribute]:
    """All that any generator says of one object."""
    rows = tx.all(
        "SELECT * FROM uve_attributes WHERE object_table = ? AND object_key = ? ORDER BY struct, generator, attribute",
        (table, key),
    )
    return _attributes(tx, table, rows)


def uve_keys(tx: Transaction, table: str, after: str, limit: int) -> list[str]:
    """The objects of *table* that have a UVE, by key, behind *after*."""
    rows = tx.all(
        "SELECT DISTINCT object_key FROM uve_attributes WHERE object_table = ? AND object_key > ?"
        " ORDER BY object_key LIMIT ?",
        (table, after, limit),
    )
    return [row["object_key"] for row in rows]


def uves(tx: Transaction, table: str, keys: Sequence[str]) -> dict[str, list[Attribute]]:
    """All that any generator says of each object of *keys*, in their order."""
    told: dict[str, list[Attribute]] = {key: [] for key in keys}
    if keys:
        rows = tx.all(
            f"SELECT * FROM uve_attributes WHERE object_table = ? AND object_key IN ({', '.join('?' * len(keys))})"
            " ORDER BY struct, generator, attribute",
            (table, *keys),
        )
        for attribute in _attributes(tx, table, rows):
            told[attribute.key].append(attribute)
    return told


def uve_tables(tx: Transaction) -> list[str]:
    """The tables that have UVEs."""
    rows = tx.all("SELECT DISTINCT object_table FROM uve_attributes ORDER BY object_table")
    return [row["object_table"] for row in rows]


def generators(tx: Transaction) -> list[GeneratorRow]:
    """The connected generators, by name."""
    rows = tx.all("SELECT * FROM generators WHERE connected = 1 ORDER BY generator")
    return [GeneratorRow(row["generator"], int(row["connect_time"]), int(row["message_count"])) for row in rows]


def tell(tx: Transaction, messages: Iterable[Received]) -> None:
    """Changes the UVEs that *messages* are of, in order, and keeps nothing else of them."""
    # An attribute given several times is written once, as it was last.
    told: dict[tuple[str, str, str, str], dict[str, tuple[str, int]]] = {}
    changed: set[tuple[str, str, str]] = set()
    for message in messages:
        update = uve_update(message.message)
        if update is None:
            continue
        object_ = (update.table, update.key, update.struct, str(message.generator))
        if update.struct == raised.STRUCT:
            _settle(tx, update, str(message.generator))
        if update.deleted:
            told.pop(object_, None)
            gone = tx.execute(
                "DELETE FROM uve_attributes WHERE object_table = ? AND object_key = ? AND struct = ? AND generator = ?",
                object_,
            )
            if gone:
                changed.add(object_[:3])
        elif update.attributes:
            changed.add(object_[:3])
            stamp = (TIMESTAMP, f'<{TIMESTAMP} type="u64">{update.timestamp}</{TIMESTAMP}>')
            given = ((name, (xml, update.timestamp)) for name, xml in (*update.attributes, stamp))
            told.setdefault(object_, {}).update(given)
    bulk.insert(
        tx,
        "uve_attributes",
        _ATTRIBUTE_COLUMNS,
        (
            (*object_, name, xml, time)
            for object_, attributes in told.items()
            for name, (xml, time) in attributes.items()
        ),
        # Generators send whole objects of which little has changed; what has not need not be written.
        "ON CONFLICT (object_table, object_key, struct, generator, attribute)"
        " DO UPDATE SET xml = excluded.xml, time = excluded.time WHERE uve_attributes.xml <> excluded.xml",
    )
    changes.note(tx, changed)


def forget_uves(tx: Transaction, generator: str) -> None:
    """Nothing that *generator* said of any object holds any more."""
    told = tx.all(
        "SELECT DISTINCT object_table, object_key, struct FROM uve_attributes WHERE generator = ?", (generator,)
    )
    tx.execute("DELETE FROM uve_attributes WHERE generator = ?", (generator,))
    changes.note(tx, {(row["object_table"], row["object_key"], row["struct"]) for row in told})


def _messages(tx: Transaction, condition: str, params: Iterable[object], order: str, limit: int) -> list[MessageRow]:
    rows = tx.all(
        f"SELECT m.* FROM messages m WHERE {condition} ORDER BY {order} LIMIT ?",
        (*params, limit),
    )
    objects: dict[int, list[tuple[str, str]]] = {}
    if rows:
        found = tx.all(
            "SELECT object_table, object_key, message FROM message_objects"
            f" WHERE message IN ({', '.join('?' * len(rows))}) AND seen_time BETWEEN ? AND ?",
            [*(row["id"] for row in rows), *(least(row["seen_time"] for row in rows) for least in (min, max))],
        )
        for one in found:
            objects.setdefault(int(one["message"]), []).append((one["object_table"], one["object_key"]))
    return [_message(row, sorted(objects.get(int(row["id"]), ()))) for row in rows]


def _message(row: Row, objects: Iterable[tuple[str, str]]) -> MessageRow:
    return MessageRow(
        id=int(row["id"]),
        message_type=row["message_type"],
        source=row["source"],
        module=row["module"],
        node_type=row["node_type"],
        instance=row["instance"],
        time=int(row["time"]),
        sequence=int(row["sequence"]),
        kind=int(row["kind"]),
        level=int(row["level"]),
        category=row["category"],
        frame=bytes(row["frame"]),
        objects=tuple(objects),
    )


def _settle(tx: Transaction, update: UveUpdate, generator: str) -> None:
    """Ends the marks of alarms that *update* no longer tells of."""
    xml = "" if update.deleted else dict(update.attributes).get(raised.ATTRIBUTE)
    if xml is not None:
        standing = {(alarm.type, alarm.since) for alarm in raised.raised(xml)}
        marks.settle(tx, (update.table, update.key, generator), standing)


def _attributes(tx: Transaction, table: str, rows: Sequence[Row]) -> list[Attribute]:
    """What is in *rows*, all of one table; alarms that somebody has acknowledged here are shown so."""
    told = [Attribute(row["object_key"], row["struct"], row["generator"], row["attribute"], row["xml"]) for row in rows]
    keys = sorted({one.key for one in told if _is_alarms(one)})
    known = marks.of(tx, table, keys) if keys else {}
    if not known:
        return told
    return [
        replace(one, xml=raised.with_known(one.xml, known.get((one.key, one.generator), ())))
        if _is_alarms(one)
        else one
        for one in told
    ]


def _is_alarms(attribute: Attribute) -> bool:
    return (attribute.struct, attribute.name) == (raised.STRUCT, raised.ATTRIBUTE)
