# SPDX-License-Identifier: Apache-2.0
"""The contracts as data: every file, message, field and RPC under ``bms.``, with its comment."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.api import field_behavior_pb2
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor, MethodDescriptor

ROOT = Path(__file__).resolve().parents[2]

READING_VERBS = ("Audit", "Diagnose", "Explain", "Get", "List", "Query", "Read", "Summarize", "Verify", "Watch")
"""First words of RPCs that change nothing; whatever begins otherwise is taken to change something."""

# What an etag is for: that nobody overwrites or removes what he has not seen.
GUARDED_VERBS = ("Update", "Delete")


def build_image(path: Path) -> FileDescriptorSet:
    """All contracts as protoc describes them, comments included; *path* is where protoc leaves it."""
    spec = importlib.util.spec_from_file_location("build_hook", ROOT / "protos" / "build_hook.py")
    assert spec is not None
    assert spec.loader is not None
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    hook.write_image(path)
    return FileDescriptorSet.FromString(path.read_bytes())


@dataclass(frozen=True)
class Contracts:
    """Every contract of ours, from one descriptor image."""

    image: FileDescriptorSet

    def __repr__(self) -> str:
        return f"{len(self.image.file)} files"

    @cached_property
    def files(self) -> tuple[FileDescriptor, ...]:
        """The files of package ``bms.*``."""
        pool = descriptor_pool.DescriptorPool()
        for file in self.image.file:
            pool.Add(file)
        return tuple(pool.FindFileByName(file.name) for file in self.image.file if file.package.startswith("bms."))

    @cached_property
    def comments(self) -> dict[str, str]:
        """Full name of a message, field, enum, value, service or RPC -> its leading comment, stripped."""
        found: dict[str, str] = {}
        for file in self.image.file:
            if not file.package.startswith("bms."):
                continue
            texts = {tuple(place.path): place.leading_comments.strip() for place in file.source_code_info.location}
            for name, path in _paths(file.package, file):
                found[name] = texts.get(path, "")
        return found

    @property
    def messages(self) -> Iterator[Descriptor]:
        """Every message, nested ones too; the entries of maps are no messages of their own."""
        for file in self.files:
            for message in file.message_types_by_name.values():
                yield from _with_nested(message)

    @property
    def methods(self) -> Iterator[MethodDescriptor]:
        """Every RPC of every service."""
        for file in self.files:
            for service in file.services_by_name.values():
                yield from service.methods

    def requested(self) -> dict[str, Descriptor]:
        """The messages that a request may hold, requests included, by full name."""
        return self._reachable(method.input_type for method in self.methods)

    def answered(self) -> dict[str, Descriptor]:
        """The messages that an answer may hold, answers included, by full name."""
        return self._reachable(method.output_type for method in self.methods)

    @staticmethod
    def _reachable(starts: Iterator[Descriptor]) -> dict[str, Descriptor]:
        found: dict[str, Descriptor] = {}
        todo = list(starts)
        while todo:
            message = todo.pop()
            if message.full_name in found or not message.full_name.startswith("bms."):
                continue
            found[message.full_name] = message
            todo.extend(field.message_type for field in message.fields if field.message_type is not None)
        return {name: message for name, message in found.items() if not message.GetOptions().map_entry}


def behaviors(field: FieldDescriptor) -> list[str]:
    """The ``google.api.field_behavior`` of *field*, as words: ``REQUIRED``, ``OUTPUT_ONLY``."""
    # The stubs of googleapis-common-protos call an extension by the type that descriptors have.
    extension: Any = field_behavior_pb2.field_behavior
    given = field.GetOptions().Extensions[extension]
    return [field_behavior_pb2.FieldBehavior.Name(value) for value in given]


def changes(method: MethodDescriptor) -> bool:
    """Whether the RPC may change anything, by the first word of its name."""
    return first_word(method.name) not in READING_VERBS


def first_word(name: str) -> str:
    """``Update`` of ``UpdateServer``, and of ``BatchUpdateServers``, which does the same to many."""
    found = re.match(r"[A-Z][a-z]*", name.removeprefix("Batch"))
    assert found is not None, name
    return found.group()


def _with_nested(message: Descriptor) -> Iterator[Descriptor]:
    if message.GetOptions().map_entry:
        return
    yield message
    for nested in message.nested_types:
        yield from _with_nested(nested)


def _paths(package: str, file: FileDescriptorProto) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Full names and their paths in source_code_info; the numbers are those of descriptor.proto's fields."""

    def message(prefix: str, value: DescriptorProto, path: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
        if value.options.map_entry:
            return
        name = f"{prefix}.{value.name}"
        yield name, path
        for number, field in enumerate(value.field):
            yield f"{name}.{field.name}", (*path, 2, number)
        for number, nested in enumerate(value.nested_type):
            yield from message(name, nested, (*path, 3, number))
        for number, enum in enumerate(value.enum_type):
            yield from enumeration(name, enum, (*path, 4, number))

    def enumeration(
        prefix: str, value: EnumDescriptorProto, path: tuple[int, ...]
    ) -> Iterator[tuple[str, tuple[int, ...]]]:
        name = f"{prefix}.{value.name}"
        yield name, path
        for number, member in enumerate(value.value):
            yield f"{name}.{member.name}", (*path, 2, number)

    for number, each in enumerate(file.message_type):
        yield from message(package, each, (4, number))
    for number, enum in enumerate(file.enum_type):
        yield from enumeration(package, enum, (5, number))
    for number, service in enumerate(file.service):
        yield f"{package}.{service.name}", (6, number)
        for place, method in enumerate(service.method):
            yield f"{package}.{service.name}.{method.name}", (6, number, 2, place)
