# SPDX-License-Identifier: Apache-2.0
"""What every request is checked for, from its contract alone, before a servicer sees it.

Required fields, negative page sizes, malformed request ids, strings and bytes beyond all reason, NUL characters (which
PostgreSQL cannot store), numbers of no enum value, impossible timestamps and unknown fields. Everything is compiled
once per message type, so that a request of three fields costs microseconds.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf import unknown_fields
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from services.kernel.errors import FieldViolation, InvalidField, InvalidFields

MAX_STRING = 64 * 1024
MAX_BYTES = 64 * 1024 * 1024
MAX_VIOLATIONS = 100

_REQUIRED = "is required"
_GIVE = "Give it; the comments of the contract say what each field is."
_TIMESTAMP_SECONDS = (-62135596800, 253402300799)
_DURATION_SECONDS = 315576000000
_NANOS = 999999999

Look = Callable[[Any, str], Iterator[FieldViolation]]
"""Looks at a message (or one value) found at a path."""


# The stubs know neither that the set is iterable nor the annotation's type.
_unknown: Callable[[Message], Iterator[Any]] = unknown_fields.UnknownFieldSet  # type: ignore[assignment]
_BEHAVIOR: Any = field_behavior_pb2.field_behavior


class Checker:
    """Checks requests of every type; keeps what it compiled."""

    def __init__(self) -> None:
        self._plans: dict[str, _Plan] = {}

    def check(self, request: Message, *, suspect: bool) -> None:
        """Refuses a malformed *request*.

        Args:
            request: any message.
            suspect: its bytes are longer than `MAX_STRING` or hold a NUL, so that its strings must be looked at one by
                one.

        Raises:
            InvalidFields: with everything that is wrong (`InvalidField` if it is one thing).
        """
        violations = []
        for violation in self.plan(request.DESCRIPTOR).look(request, "", suspect):
            violations.append(violation)
            if len(violations) >= MAX_VIOLATIONS:
                break
        remedy = _GIVE if all(each.description == _REQUIRED for each in violations) else ""
        if len(violations) == 1:
            raise InvalidField(violations[0].field, violations[0].description, remedy=remedy)
        if violations:
            raise InvalidFields(violations, remedy=remedy)

    def plan(self, descriptor: Any) -> _Plan:
        """What to look at in messages of this type (a Descriptor, whose class depends on protobuf's implementation)."""
        plan = self._plans.get(descriptor.full_name)
        if plan is None:
            plan = self._plans[descriptor.full_name] = (
                _Plan()
            )  # there before it is filled: messages may hold themselves
            plan.fill(descriptor, self)
        return plan


class _Plan:
    """What to look at in messages of one type."""

    __slots__ = (
        "enums",
        "floats",
        "maps",
        "masked",
        "messages",
        "paged",
        "repeated",
        "request_id",
        "required",
        "special",
        "texts",
    )

    def __init__(self) -> None:
        self.required: list[tuple[str, bool]] = []
        self.messages: list[tuple[str, _Plan]] = []
        self.repeated: list[tuple[str, _Plan]] = []
        self.maps: list[tuple[str, _Plan | None, bool, bool]] = []
        self.enums: list[tuple[str, bool, frozenset[int]]] = []
        self.texts: list[tuple[str, bool, bool]] = []
        self.floats: list[tuple[str, bool]] = []
        self.special: Callable[[Any, str], Iterator[FieldViolation]] | None = None
        self.paged = False
        self.request_id = False
        self.masked = ""

    def fill(self, descriptor: Any, checker: Checker) -> None:
        self.special = _SPECIAL.get(descriptor.full_name)
        self._fill_texts(descriptor)
        if descriptor.file.package == "google.protobuf" and descriptor.full_name not in _STRUCTS:
            return
        names = {field.name for field in descriptor.fields}
        self.paged = "page_size" in names
        self.request_id = "request_id" in names and descriptor.name.endswith("Request")
        for field in descriptor.fields:
            self._fill_field(field, checker)
        if "update_mask" in names:
            resources = [name for name, _ in self.messages if name != "update_mask"]
            self.masked = resources[0] if len(resources) == 1 else ""

    def _fill_texts(self, descriptor: Any) -> None:
        for field in descriptor.fields:
            if field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
                self.texts.append((field.name, field.is_repeated, field.type == FieldDescriptor.TYPE_STRING))

    def _fill_field(self, field: Any, checker: Checker) -> None:
        behaviors = field.GetOptions().Extensions[_BEHAVIOR]
        if field_behavior_pb2.REQUIRED in behaviors:
            self.required.append((field.name, field.has_presence))
        kind = field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            key, value = kind.fields_by_name["key"], kind.fields_by_name["value"]
            inner = checker.plan(value.message_type) if value.message_type is not None else None
            texts = key.type == FieldDescriptor.TYPE_STRING, value.type == FieldDescriptor.TYPE_STRING
            self.maps.append((field.name, inner, *texts))
        elif kind is not None:
            (self.repeated if field.is_repeated else self.messages).append((field.name, checker.plan(kind)))
        elif field.enum_type is not None:
            self.enums.append((field.name, field.is_repeated, frozenset(field.enum_type.values_by_number)))
        elif field.type in (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT):
            self.floats.append((field.name, field.is_repeated))

    def look(
        self, message: Any, path: str, suspect: bool, demanded: frozenset[str] | None = None
    ) -> Iterator[FieldViolation]:
        """What is wrong in *message*, found at *path* (ending in a dot, "" at the top).

        Args:
            demanded: paths of the only required fields to ask for: an update tells some fields of a resource, not all.
        """
        for name, presence in self.required:
            if demanded is not None and name not in demanded:
                continue
            if not (message.HasField(name) if presence else getattr(message, name)):
                yield FieldViolation(path + name, _REQUIRED)
        for unknown in _unknown(message):
            # As the text format prints what it does not know: by number.
            yield FieldViolation(f"{path}{unknown.field_number}", f"unknown field number {unknown.field_number}")
        if self.paged and message.page_size < 0:
            yield FieldViolation(path + "page_size", "is negative")
        if self.request_id and message.request_id and not is_uuid(message.request_id):
            yield FieldViolation(path + "request_id", "is not a UUID")
        if self.special is not None:
            yield from self.special(message, path.rstrip("."))
        if suspect:
            yield from self._look_texts(message, path)
        for name, many, numbers in self.enums:
            for number in getattr(message, name) if many else (getattr(message, name),):
                if number not in numbers:
                    yield FieldViolation(path + name, f"has the unknown value {number}")
        for name, many in self.floats:
            for value in getattr(message, name) if many else (getattr(message, name),):
                if not math.isfinite(value):
                    yield FieldViolation(path + name, "is not a finite number")
        yield from self._look_inside(message, path, suspect, demanded)

    def _look_inside(
        self, message: Any, path: str, suspect: bool, demanded: frozenset[str] | None
    ) -> Iterator[FieldViolation]:
        for name, plan in self.messages:
            if message.HasField(name):
                below = _below(demanded, name)
                if name == self.masked and "*" not in message.update_mask.paths:
                    below = frozenset(message.update_mask.paths)
                yield from plan.look(getattr(message, name), f"{path}{name}.", suspect, below)
        for name, plan in self.repeated:
            for index, item in enumerate(getattr(message, name)):
                yield from plan.look(item, f"{path}{name}[{index}].", suspect)
        for name, inner, text_keys, text_values in self.maps:
            entries = getattr(message, name)
            if inner is not None:
                for key in entries:
                    yield from inner.look(entries[key], f"{path}{name}[{str(key)[:60]}].", suspect)
            if suspect:
                for key in entries:
                    if text_keys:
                        yield from _text(key, f"{path}{name}", string=True)
                    if text_values:
                        yield from _text(entries[key], f"{path}{name}[{str(key)[:60]}]", string=True)

    def _look_texts(self, message: Any, path: str) -> Iterator[FieldViolation]:
        for name, many, string in self.texts:
            for value in getattr(message, name) if many else (getattr(message, name),):
                yield from _text(value, path + name, string=string)


def _below(demanded: frozenset[str] | None, name: str) -> frozenset[str] | None:
    """What of *demanded* is asked of the sub-message *name*: None, everything, if it is demanded as a whole."""
    if demanded is None or name in demanded:
        return None
    return frozenset(path.removeprefix(f"{name}.") for path in demanded if path.startswith(f"{name}."))


def _text(value: str | bytes, path: str, *, string: bool) -> Iterator[FieldViolation]:
    most = MAX_STRING if string else MAX_BYTES
    if len(value) > most:
        yield FieldViolation(path, f"is longer than {most} {'characters' if string else 'bytes'}")
    elif isinstance(value, str) and "\x00" in value:
        yield FieldViolation(path, "holds a NUL character")


def _timestamp(message: Any, path: str) -> Iterator[FieldViolation]:
    first, last = _TIMESTAMP_SECONDS
    if not (first <= message.seconds <= last and 0 <= message.nanos <= _NANOS):
        yield FieldViolation(path, "is not a time between the years 1 and 9999")


def _duration(message: Any, path: str) -> Iterator[FieldViolation]:
    if abs(message.seconds) > _DURATION_SECONDS or abs(message.nanos) > _NANOS or message.seconds * message.nanos < 0:
        yield FieldViolation(path, "is not a duration of at most 10,000 years")


_SPECIAL = {"google.protobuf.Timestamp": _timestamp, "google.protobuf.Duration": _duration}
_STRUCTS = frozenset({"google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue"})


def is_uuid(text: str) -> bool:
    """Whether *text* is a UUID in its canonical form, in small or capital letters."""
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
