# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bms.inventory.v1 import inventory_service_pb2
from tests.inventory.rig import ADMIN, DEMO, HOLDER, LIFECYCLE, Rig

METHODS = [
    method
    for method in inventory_service_pb2.DESCRIPTOR.services_by_name["InventoryService"].methods
    if method.name != "ListEvents"
]
"""All but ListEvents, which may be asked to wait."""

WORDS = [
    "", "*", "a", "x1", HOLDER, "flavors/any", "images/any", "52:54:00:00:00:01", "10.0.0.1", "demo", "other", "R1",
    "bmc.password", "labels", "properties.cpus", "rack = R1 AND labels.a != b", "https://h/i", "sha256:" + "0" * 64,
    '"1"', "e0f5a1b2-0000-4000-8000-000000000001", "a\x00b", "\n", "é" * 300, "/" * 80, "%s?'\"", "CLEANING",
]  # fmt: skip
NUMBERS = [0, 1, 2, 64, 1000, 65536, 2**31 - 1, -1, -(2**31)]
FILES = [
    b"",
    b"nodes:\n- {name: n, driver_info: {address: h}}\n",
    b"{",
    b"name,mac_address\nn,525400000001\n",
    b"\xff\xfe",
]


def value(data: st.DataObject, field: Any, names: list[str], depth: int) -> Any:
    """Any value of a field that is no message."""
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return data.draw(st.booleans())
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return data.draw(st.sampled_from([*field.enum_type.values_by_number, 77]))
    if kind in {FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64}:
        more = [2**62] if kind == FieldDescriptor.CPPTYPE_INT64 else []
        return data.draw(st.sampled_from([*NUMBERS, *more]))
    if field.type == FieldDescriptor.TYPE_BYTES:
        return data.draw(st.sampled_from(FILES))
    return data.draw(st.one_of(st.sampled_from([*WORDS, *names]), st.text(max_size=8)))


def fill(data: st.DataObject, message: Any, names: list[str], depth: int = 0) -> Any:
    """*message* with some of its fields set to anything."""
    for field in message.DESCRIPTOR.fields:
        if data.draw(st.integers(0, 3)) == 0 or depth > 3:
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            for _ in range(data.draw(st.integers(0, 2))):
                key, text = field.message_type.fields
                getattr(message, field.name)[value(data, key, names, depth)] = value(data, text, names, depth)
        elif field.message_type is not None and field.is_repeated:
            for _ in range(data.draw(st.integers(0, 2))):
                fill(data, getattr(message, field.name).add(), names, depth + 1)
        elif field.message_type is not None:
            getattr(message, field.name).SetInParent()
            fill(data, getattr(message, field.name), names, depth + 1)
        elif field.is_repeated:
            count = data.draw(st.integers(0, 2))
            getattr(message, field.name).extend(value(data, field, names, depth) for _ in range(count))
        else:
            setattr(message, field.name, value(data, field, names, depth))
    return message


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_input_reaches_internal(rig: Rig, method: Any, data: st.DataObject) -> None:
    """
    Whatever a request holds, it is served or refused in our words.
    """
    listed = rig.database.read(lambda tx: tx.all("SELECT uuid FROM servers"))
    if not listed:
        rig.flavor("any")
        rig.image("any")
        listed = [{"uuid": rig.available(number).name.removeprefix("servers/")} for number in (1, 2)]
    names = [f"servers/{row['uuid']}" for row in listed]
    request = fill(data, message_factory.GetMessageClass(method.input_type)(), names)

    reply = rig.wire.call(method.name, request, caller=data.draw(st.sampled_from([ADMIN, LIFECYCLE, DEMO])))

    assert reply.code not in {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}, request
