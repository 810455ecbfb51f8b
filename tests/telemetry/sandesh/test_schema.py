# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import get_type_hints

import pytest

from telemetry.sandesh import messages
from telemetry.sandesh.alarms import ALARM_TRACE
from telemetry.sandesh.errors import SchemaError
from telemetry.sandesh.messages import BMS_LIFECYCLE_EVENT_LOG, IRONIC_NODE, IRONIC_NODE_INFO, NODE_STATUS_UVE
from telemetry.sandesh.schema import (
    Enumeration,
    Field,
    Hint,
    Kind,
    ListOf,
    MapOf,
    Message,
    Scalar,
    SetOf,
    Struct,
    in_table,
    label,
    object_log,
    signature,
)
from telemetry.sandesh.verdict import BMS_SERVER_VERDICT_INFO
from telemetry.systemlog import BMS_SERVICE_LOG

KEY = Field("name", Scalar.STRING, 1, (("key", "ObjectServerTable"),))


def test_signature_is_computed() -> None:
    """
    The signatures that the reference compiler gave these types come out of their fields.
    """
    assert signature(IRONIC_NODE_INFO) == 1713663921
    assert signature(messages.SANDESH_CTRL_CLIENT_TO_SERVER) == -340245130
    assert signature(messages.SANDESH_CTRL_SERVER_TO_CLIENT) == 1746741351
    assert signature(ALARM_TRACE) == -1445124786
    assert signature(BMS_SERVER_VERDICT_INFO) == 1121951033
    assert signature(BMS_LIFECYCLE_EVENT_LOG) == 955246451
    assert signature(messages.BMS_LOG_CHECKPOINT) == -2101702152
    assert signature(BMS_SERVICE_LOG) == -848275652


def test_signature_of_every_type() -> None:
    """
    Every type enters the signature, in the order of the identifiers.
    """
    parts: list[Enumeration | MapOf | SetOf | ListOf | Scalar] = [
        Enumeration("Color"),
        MapOf(Scalar.STRING, Scalar.U64),
        SetOf(Scalar.UUID),
        ListOf(ListOf(Scalar.DOUBLE)),
        Scalar.UUID,
    ]
    rows = [Field(f"f{number}", type_, number) for number, type_ in enumerate(parts, 1)]

    ordered = signature(object_log("Log", tuple(rows), "x"))

    assert ordered == signature(object_log("Log", tuple(reversed(rows)), "x"))
    for index in range(len(rows)):
        assert ordered != signature(object_log("Log", tuple(rows[:index] + rows[index + 1 :]), "x"))


def test_label() -> None:
    """
    Each type has its word; an enumeration travels as a number.
    """
    assert [label(type_) for type_ in (Scalar.UUID, Enumeration("E"), SetOf(Scalar.BOOL), IRONIC_NODE)] == [
        "uuid_t",
        "i32",
        "set",
        "struct",
    ]


@pytest.mark.parametrize("name", ["", "1st", "a-b", "a b", 'a"b', "ä"])
def test_names(name: str) -> None:
    """
    A field or type whose name cannot stand in a tag is refused.
    """
    with pytest.raises(SchemaError):
        Field(name, Scalar.STRING, 1)
    with pytest.raises(SchemaError):
        Struct(name, ())


@pytest.mark.parametrize("annotation", [("key", 'a"b'), ("key", "<"), ("key", "{x}"), ("type", "x"), ("a b", "x")])
def test_annotations(annotation: tuple[str, str]) -> None:
    """
    An annotation that would have to be escaped, or takes a name with a meaning of its own, is refused.
    """
    with pytest.raises(SchemaError):
        Field("name", Scalar.STRING, 1, (annotation,))


def test_annotations_are_sorted() -> None:
    """
    Annotations stand in the order of their names, as the C++ writer has them.
    """
    field = Field("f", Scalar.U64, 1, (("tags", ".x"), ("aggtype", "sum")))

    assert field.annotations == (("aggtype", "sum"), ("tags", ".x"))


@pytest.mark.parametrize(
    "fields",
    [(KEY, Field("name", Scalar.STRING, 2)), (KEY, Field("other", Scalar.STRING, 1))],
    ids=["name", "identifier"],
)
def test_fields_differ(fields: tuple[Field, ...]) -> None:
    """
    Two fields of one struct have neither name nor identifier in common.
    """
    with pytest.raises(SchemaError):
        Struct("S", fields)


def test_uve_has_data() -> None:
    """
    A UVE is one struct called data: a collector publishes nothing else.
    """
    for fields in ((), (KEY,), (Field("data", Scalar.STRING, 1),), (Field("data", IRONIC_NODE, 1), KEY)):
        with pytest.raises(SchemaError):
            Message("M", Kind.UVE, fields)


def test_hints() -> None:
    """
    A message with a key says so in its hints; one of the handshake says that.
    """
    assert IRONIC_NODE_INFO.hints == Hint.KEY
    assert BMS_LIFECYCLE_EVENT_LOG.hints == Hint.KEY
    assert messages.SANDESH_CTRL_CLIENT_TO_SERVER.hints == Hint.CONTROL
    assert object_log("Log", (), "x").hints == Hint.NONE


def test_table_at_run_time() -> None:
    """
    A key without a table is given one, and nothing else of the type changes.
    """
    moved = in_table(NODE_STATUS_UVE, "ObjectConfigNode")

    assert [key.table for key in moved.keys] == ["ObjectConfigNode"]
    assert signature(NODE_STATUS_UVE) == signature(moved)
    assert in_table(NODE_STATUS_UVE, "ObjectConfigNode") is moved
    assert NODE_STATUS_UVE.keys[0].table == ""


def test_table_of_a_flat_log() -> None:
    """
    The key of a log may stand at the top, and is moved there too.
    """
    moved = in_table(BMS_LIFECYCLE_EVENT_LOG, "ObjectOther")

    assert [key.table for key in moved.keys] == ["ObjectOther"]
    assert signature(BMS_LIFECYCLE_EVENT_LOG) == signature(moved)


def test_table_needs_a_key() -> None:
    """
    A type without a key cannot be put in a table.
    """
    with pytest.raises(SchemaError):
        in_table(object_log("Log", (), "x"), "ObjectServerTable")


def test_data_of_a_log() -> None:
    """
    Asking a type that has no data struct for it is an error, not a guess.
    """
    for message in (BMS_LIFECYCLE_EVENT_LOG, object_log("Log", (), "x")):
        with pytest.raises(SchemaError):
            _ = message.data


@pytest.mark.parametrize(
    ("typed", "struct"),
    [
        (messages.IronicNode, IRONIC_NODE),
        (messages.BmsLifecycleEventLogFields, BMS_LIFECYCLE_EVENT_LOG),
        *(
            (getattr(messages, field.type.name), field.type)
            for field in IRONIC_NODE.fields
            if isinstance(field.type, Struct)
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_typed_dicts_say_the_same(typed: type, struct: Struct | Message) -> None:
    """
    What the type checker allows in a struct is what the struct has, in the same order.
    """
    python = {Scalar.STRING: str, Scalar.BOOL: bool}
    hints = get_type_hints(typed)

    assert [field.name for field in struct.fields] == list(hints)
    for field in struct.fields:
        if isinstance(field.type, Scalar):
            assert hints[field.name] is python.get(field.type, int)
