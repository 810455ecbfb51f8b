# SPDX-License-Identifier: Apache-2.0
"""Update masks (AIP-134): what an update request makes of the resource that is stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, TypeVar

from google.api import field_behavior_pb2
from google.protobuf.message import Message

from services.kernel.errors import FieldViolation, InvalidFields

M = TypeVar("M", bound=Message)

_NOT_TAKEN = frozenset({field_behavior_pb2.OUTPUT_ONLY, field_behavior_pb2.IDENTIFIER})


def merged(stored: M, given: M, paths: Sequence[str]) -> M:
    """*stored* with the fields at *paths* taken from *given*.

    No paths: all fields that *given* sets, those of sub-messages one by one; maps and lists as a whole. ``*``:
    everything. Output-only fields and identifiers stay as stored, and so do immutable ones that *given* leaves empty.

    Raises:
        InvalidFields: a path names no field.
    """
    if not paths:
        paths = list(_set_paths(given, ""))
    elif "*" in paths:
        paths = [field.name for field in given.DESCRIPTOR.fields]
    wrong = [
        FieldViolation(f"update_mask.paths[{at}]", "names no field of the resource")
        for at, path in enumerate(paths)
        if not _known(given.DESCRIPTOR, path)
    ]
    if wrong:
        raise InvalidFields(wrong, remedy="Name fields of the resource, such as labels or bmc.password, or * for all.")
    result = type(stored)()
    result.CopyFrom(stored)
    for path in paths:
        _take(result, given, path.split("."))
    return result


def _take(into: Any, source: Any, parts: Sequence[str]) -> None:  # messages of one type
    field: Any = into.DESCRIPTOR.fields_by_name[parts[0]]
    behaviors = _behaviors(field)
    if behaviors & _NOT_TAKEN:
        return
    name = field.name
    plain = field.message_type is not None and not field.is_repeated
    if plain and (len(parts) > 1 or _has_output(field.message_type)):
        # A whole sub-message is taken field by field: those that only we write stay.
        inner = parts[1:] or None
        names = [inner] if inner else [[each.name] for each in field.message_type.fields]
        for each in names:
            _take(getattr(into, name), getattr(source, name), each)
        return
    empty = not (source.HasField(name) if field.has_presence else getattr(source, name))
    if empty and field_behavior_pb2.IMMUTABLE in behaviors:
        return
    into.ClearField(name)
    if empty:
        return
    if field.is_repeated or field.message_type is not None:
        getattr(into, name).MergeFrom(getattr(source, name))
    else:
        setattr(into, name, getattr(source, name))


def _set_paths(given: Any, prefix: str) -> Iterator[str]:
    for field, value in given.ListFields():
        if field.message_type is not None and not field.is_repeated and not _behaviors(field) & _NOT_TAKEN:
            yield from _set_paths(value, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


def _known(descriptor: Any, path: str) -> bool:
    head, _, rest = path.partition(".")
    field = descriptor.fields_by_name.get(head)
    if field is None:
        return False
    if not rest:
        return True
    return field.message_type is not None and not field.is_repeated and _known(field.message_type, rest)


@cache
def _behaviors(field: Any) -> frozenset[int]:  # a FieldDescriptor; its stubs do not know extensions of options
    return frozenset(field.GetOptions().Extensions[field_behavior_pb2.field_behavior])


@cache
def _has_output(descriptor: Any) -> bool:
    return any(_behaviors(field) & _NOT_TAKEN for field in descriptor.fields)
