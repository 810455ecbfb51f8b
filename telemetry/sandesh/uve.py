# SPDX-License-Identifier: Apache-2.0
"""What a generator has told of its objects, so that it can tell it again.

A collector forgets a generator's UVEs when its session ends, and asks for all of them when the next
one begins. So every generator keeps them: merged per object, each with the number of its last change.

On the wire an attribute cannot be unset. A cleared text is sent as an empty one (null in the analytics
API) and a cleared list with size 0 (hidden there); to clear a number, a bool or a struct, the object
is deleted and sent whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from telemetry.sandesh.encode import LARGEST, Values, body_text, too_long
from telemetry.sandesh.errors import EncodeError, SchemaError
from telemetry.sandesh.schema import Kind, ListOf, MapOf, Message, Scalar, SetOf, Type, in_table

_DELETED: Final = "deleted"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message ready but for its header.

    Attributes:
        body: its XML.
        sequence: goes into the header.
        sync: it repeats what was sent before; goes into the hints.
    """

    message: Message
    body: str
    sequence: int
    sync: bool = False


@dataclass(frozen=True, slots=True)
class Ref:
    """Names one object in a cache."""

    type: str
    key: str


@dataclass(slots=True)
class _Entry:
    message: Message
    attributes: dict[str, Any]
    sequence: int


@dataclass(slots=True)
class _Type:
    message: Message
    entries: dict[str, _Entry] = field(default_factory=dict)


class UveCache:
    """The UVEs of one generator.

    Not safe for several threads. What is put in is kept, not copied: hand over values that nobody
    changes any more.
    """

    def __init__(self, messages: tuple[Message, ...] = ()) -> None:
        self._types: dict[str, _Type] = {}
        self._numbers: Counter[str] = Counter()
        for message in messages:
            self.register(message)

    def register(self, message: Message) -> None:
        """Announces a type, so that it is named in the handshake before its first object.

        Raises:
            SchemaError: *message* is no UVE, or another type has its name.
        """
        if message.kind not in {Kind.UVE, Kind.ALARM}:
            msg = f"{message.name} is no UVE"
            raise SchemaError(msg)
        known = self._types.setdefault(message.name, _Type(message))
        if known.message is not message:
            msg = f"two types are called {message.name}"
            raise SchemaError(msg)

    @property
    def types(self) -> tuple[Message, ...]:
        """The types, in the order they were announced."""
        return tuple(known.message for known in self._types.values())

    def number(self, message: Message) -> int:
        """The number of the last message of a type; 0 before the first."""
        return self._numbers[message.name]

    def next_number(self, message: Message) -> int:
        """Counts one message of a type, UVE or not. The first is 1."""
        self._numbers[message.name] += 1
        return self._numbers[message.name]

    def update(self, message: Message, changes: Values, table: str | None = None) -> Outgoing:
        """Merges *changes* into an object, attribute by attribute, and gives the message that says so.

        Attributes that are absent or None stay as they are.

        Args:
            message: the type, registered or not.
            changes: the ``data`` struct; must hold the key.
            table: the key's table, for a type that leaves it open.

        Raises:
            EncodeError: a value its field cannot hold, or no key. Nothing is merged then, so no bad value
                comes back at a resync.
        """
        known, key = self._known(message, changes)
        written = message if table is None else in_table(message, table)
        body = body_text(written, {"data": changes})
        if len(body) > LARGEST:
            for name, value in changes.items():
                if value is not None and too_long(message, name, value):
                    path, reason = f"data.{name}", f"is longer than the {LARGEST} characters that analytics shows"
                    raise EncodeError(path, reason)
        given = {name: value for name, value in changes.items() if value is not None}
        if given.get(_DELETED):
            known.entries.pop(key, None)
            return Outgoing(written, body, self.next_number(message))
        entry = known.entries.setdefault(key, _Entry(written, {}, 0))
        entry.message = written
        entry.attributes |= given
        entry.sequence = self.next_number(message)
        return Outgoing(written, body, entry.sequence)

    def replace(self, message: Message, whole: Values, table: str | None = None) -> tuple[Outgoing, ...]:
        """Makes an object be exactly *whole*, and gives the messages that say so, in order.

        Nothing if nothing changed; one with the attributes that did; or two, a deletion and the whole,
        where an attribute went away that cannot be sent empty. The errors are those of `update`.
        """
        known, key = self._known(message, whole)
        wanted = {name: value for name, value in whole.items() if value is not None}
        entry = known.entries.get(key)
        if entry is None:
            return (self.update(message, wanted, table),)
        keys = {part.name for part in message.keys}
        types = {part.name: part.type for part in message.data.fields}
        delta = {name: value for name, value in wanted.items() if entry.attributes.get(name) != value}
        for name, value in entry.attributes.items():
            if name in wanted:
                continue
            empty = _empty(types[name])
            if empty is None:
                # Refuse before the deletion is counted, not between the two.
                body_text(message if table is None else in_table(message, table), {"data": wanted})
                gone = self.delete(message, whole, table)
                return (*gone, self.update(message, wanted, table))
            if value != empty:
                delta[name] = empty
        if not delta:
            return ()
        return (self.update(message, {name: wanted[name] for name in keys} | delta, table),)

    def delete(self, message: Message, key: Values, table: str | None = None) -> tuple[Outgoing, ...]:
        """Forgets an object and gives the message that deletes it; none for an object never told of.

        Args:
            message: the type.
            key: a mapping that holds the key fields; others are ignored.
            table: as in `update`.

        Raises:
            EncodeError: no key.
            SchemaError: the type's struct has no field ``deleted``.
        """
        if all(part.name != _DELETED for part in message.data.fields):
            msg = f"{message.data.name} cannot be deleted: it has no field {_DELETED!r}"
            raise SchemaError(msg)
        known, name = self._known(message, key)
        if name not in known.entries:
            return ()
        return (self.update(message, {part.name: key[part.name] for part in message.keys} | {_DELETED: True}, table),)

    def clear(self, keep: Collection[Message] = ()) -> None:
        """Forgets all objects but those of the types in *keep*, and says so to nobody: it must have no session."""
        for type_ in self._types.values():
            if type_.message not in keep:
                type_.entries.clear()

    def get(self, message: Message, key: str) -> Mapping[str, Any] | None:
        """The merged attributes of an object, or None."""
        known = self._types.get(message.name)
        entry = known.entries.get(key) if known else None
        return entry.attributes if entry else None

    def refs(self, struct: str, key: str = "") -> Iterator[Ref]:
        """The objects of the type whose struct is called *struct*; only the one called *key* if that is given."""
        for type_ in self._types.values():
            if type_.message.data.name == struct:
                yield from (Ref(type_.message.name, name) for name in type_.entries if key in {"", name})

    def alarms(self, table: str, name: str = "") -> Iterator[Ref]:
        """The objects in *table* that have alarms; only the one called *name* if that is given."""
        for type_ in self._types.values():
            if type_.message.kind is Kind.ALARM:
                for key, entry in type_.entries.items():
                    if name in {"", key} and entry.message.keys[0].table == table:
                        yield Ref(type_.message.name, key)

    @property
    def alarm_tables(self) -> tuple[str, ...]:
        """The tables of objects that have alarms."""
        messages = (known.message for known in self._types.values() if known.message.kind is Kind.ALARM)
        entries = (entry for message in messages for entry in self._types[message.name].entries.values())
        return tuple(sorted({entry.message.keys[0].table or "" for entry in entries}))

    def stale(self, known: Mapping[str, int]) -> Iterator[Ref]:
        """What a collector lacks.

        Args:
            known: the ``type_info`` of its reply: a type's name, or its struct's, to the number of the last update
                the collector has. 0 and absence mean: none.
        """
        for type_ in self._types.values():
            last = max(known.get(type_.message.name, 0), known.get(type_.message.data.name, 0))
            for key, entry in type_.entries.items():
                if entry.sequence > last:
                    yield Ref(type_.message.name, key)

    def again(self, ref: Ref) -> Outgoing | None:
        """The whole of an object as a message that repeats it, or None if it was deleted meanwhile."""
        entry = self._types[ref.type].entries.get(ref.key)
        if entry is None:
            return None
        return Outgoing(entry.message, body_text(entry.message, {"data": entry.attributes}), entry.sequence, sync=True)

    def _known(self, message: Message, values: Values) -> tuple[_Type, str]:
        self.register(message)
        parts = []
        for part in message.keys:
            value = values.get(part.name)
            if not isinstance(value, str) or not value:
                path = f"data.{part.name}"
                reason = "the key is missing"
                raise EncodeError(path, reason)
            parts.append(value)
        return self._types[message.name], ":".join(parts)


def _empty(type_: Type) -> object:
    """What stands for an attribute without a value, or None where nothing can."""
    match type_:
        case Scalar.STRING:
            return ""
        case ListOf() | SetOf():
            return []
        case MapOf():
            return {}
        case _:
            return None
