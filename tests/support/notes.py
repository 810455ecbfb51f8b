# SPDX-License-Identifier: Apache-2.0
"""A contract made at run time, with every kind of field, for tests of what looks at contracts alone."""

from __future__ import annotations

from typing import Any

from google.api import field_behavior_pb2
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    field_mask_pb2,
    message_factory,
    struct_pb2,
    timestamp_pb2,
)
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field

_T = Field
_BEHAVIOR: Any = field_behavior_pb2.field_behavior
_WELL_KNOWN = (descriptor_pb2, timestamp_pb2, duration_pb2, struct_pb2, field_mask_pb2, field_behavior_pb2)


def _field(message: descriptor_pb2.DescriptorProto, name: str, kind: Any, **more: Any) -> Field:
    required = more.pop("required", False)
    many = more.pop("many", False)
    optional = more.pop("optional", False)
    field = message.field.add(
        name=name,
        number=more.pop("number", len(message.field) + 1),
        type=kind,
        label=_T.LABEL_REPEATED if many else _T.LABEL_OPTIONAL,
        **more,
    )
    if required:
        field.options.Extensions[_BEHAVIOR].append(field_behavior_pb2.REQUIRED)
    if optional:
        field.proto3_optional = True
        field.oneof_index = len(message.oneof_decl)
        message.oneof_decl.add(name=f"_{name}")
    return field


def _build() -> tuple[Any, Any, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="tests/notes.proto", package="tests.notes", syntax="proto3")
    file.dependency.extend(module.DESCRIPTOR.name for module in _WELL_KNOWN)
    kind = file.enum_type.add(name="Kind")
    kind.value.add(name="KIND_UNSPECIFIED", number=0)
    kind.value.add(name="KIND_LONG", number=1)

    note = file.message_type.add(name="Note")
    _field(note, "name", _T.TYPE_STRING)
    _field(note, "text", _T.TYPE_STRING, required=True)
    _field(note, "count", _T.TYPE_INT64, required=True, optional=True)
    _field(note, "kind", _T.TYPE_ENUM, type_name=".tests.notes.Kind")
    _field(note, "kinds", _T.TYPE_ENUM, type_name=".tests.notes.Kind", many=True)
    _field(note, "data", _T.TYPE_BYTES)
    _field(note, "ratio", _T.TYPE_DOUBLE)
    _field(note, "time", _T.TYPE_MESSAGE, type_name=".google.protobuf.Timestamp")
    _field(note, "delay", _T.TYPE_MESSAGE, type_name=".google.protobuf.Duration")
    _field(note, "answers", _T.TYPE_MESSAGE, type_name=".tests.notes.Note", many=True)
    entry = note.nested_type.add(name="LabelsEntry")
    entry.options.map_entry = True
    _field(entry, "key", _T.TYPE_STRING)
    _field(entry, "value", _T.TYPE_STRING)
    _field(note, "labels", _T.TYPE_MESSAGE, type_name=".tests.notes.Note.LabelsEntry", many=True)
    entry = note.nested_type.add(name="PartsEntry")
    entry.options.map_entry = True
    _field(entry, "key", _T.TYPE_STRING)
    _field(entry, "value", _T.TYPE_MESSAGE, type_name=".tests.notes.Note")
    _field(note, "parts", _T.TYPE_MESSAGE, type_name=".tests.notes.Note.PartsEntry", many=True)
    _field(note, "free", _T.TYPE_MESSAGE, type_name=".google.protobuf.Struct")

    request = file.message_type.add(name="WriteNoteRequest")
    _field(request, "note", _T.TYPE_MESSAGE, type_name=".tests.notes.Note", required=True)
    _field(request, "paths", _T.TYPE_STRING, many=True, required=True)
    _field(request, "request_id", _T.TYPE_STRING)
    _field(request, "page_size", _T.TYPE_INT32)

    update = file.message_type.add(name="UpdateNoteRequest")
    _field(update, "note", _T.TYPE_MESSAGE, type_name=".tests.notes.Note", required=True)
    _field(update, "update_mask", _T.TYPE_MESSAGE, type_name=".google.protobuf.FieldMask")
    pool = descriptor_pool.DescriptorPool()
    for module in _WELL_KNOWN:
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    made = [
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tests.notes.{name}"))
        for name in ("Note", "WriteNoteRequest", "UpdateNoteRequest")
    ]
    return made[0], made[1], made[2]


Note, WriteNoteRequest, UpdateNoteRequest = _build()
