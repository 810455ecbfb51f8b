# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ipaddress
import uuid
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from telemetry import systemlog
from telemetry.sandesh import alarms, messages, verdict
from telemetry.sandesh.decode import decode
from telemetry.sandesh.encode import body_text, encode
from telemetry.sandesh.errors import EncodeError, FrameError, IdentityError
from telemetry.sandesh.framing import LARGEST, OVERHEAD, frame
from telemetry.sandesh.header import Header, Identity, header_of, header_text
from telemetry.sandesh.messages import BMS_LIFECYCLE_EVENT_LOG, IRONIC_NODE_INFO, NODE_STATUS_UVE
from telemetry.sandesh.schema import Hint, Message, Scalar, Struct, in_table
from telemetry.sandesh.text import ILLEGAL
from telemetry.sandesh.tree import fields
from tests.telemetry.sandesh.values import arrived, values_of
from tests.telemetry.sandesh.vectors import FULL, TRUTH_ALL_UVE

SCHEMAS = (alarms, messages, systemlog, verdict)
SENDER = Identity("host", "module", "Config", "0")
HEADER = header_of(TRUTH_ALL_UVE, SENDER, 1, 1)


def truth(**values: Any) -> dict[str, Any]:
    return {"data": {"name": "n", **values}}


def refusal(values: dict[str, Any]) -> EncodeError:
    with pytest.raises(EncodeError) as caught:
        encode(HEADER, TRUTH_ALL_UVE, values)
    return caught.value


@given(values_of(TRUTH_ALL_UVE.data))
def test_what_is_written_is_read(values: dict[str, Any]) -> None:
    """
    Any values of any type come back from the wire as they were, but for what XML itself does to text.
    """
    message = decode(encode(HEADER, TRUTH_ALL_UVE, {"data": values}), repair=False)

    assert HEADER == message.header
    assert arrived(TRUTH_ALL_UVE.data, values) == fields(message.body)["data"]


def ours() -> dict[str, Message]:
    """Every message type that the product speaks."""
    found = [value for module in SCHEMAS for value in vars(module).values() if isinstance(value, Message)]
    open_table = {message.name for message in found if any(key.table == "" for key in message.keys)}
    return {one.name: in_table(one, "ObjectConfigNode") if one.name in open_table else one for one in found}


@pytest.mark.parametrize("message", ours().values(), ids=lambda message: message.name)
@given(data=st.data())
def test_every_type_of_ours_is_read_as_written(message: Message, data: st.DataObject) -> None:
    """
    The same for each type that we send, so that none has a field that does not survive the wire.
    """
    shape = Struct(message.name, message.fields)
    values = data.draw(values_of(shape))
    header = header_of(message, SENDER, 1, 1)

    read = decode(encode(header, message, values), repair=False)

    assert header == read.header
    assert arrived(shape, values) == fields(read.body)


@given(values_of(TRUTH_ALL_UVE.data))
def test_what_is_written_is_xml(values: dict[str, Any]) -> None:
    """
    Whatever the values, the bytes are well-formed XML and the length is theirs.
    """
    data = encode(HEADER, TRUTH_ALL_UVE, {"data": values})

    root = etree.fromstring(data)

    assert len(data) == int(root.attrib["length"])


@pytest.mark.parametrize(
    ("field", "low", "high"),
    [
        ("f_byte", -(2**7), 2**7 - 1),
        ("f_i16", -(2**15), 2**15 - 1),
        ("f_i32", -(2**31), 2**31 - 1),
        ("f_i64", -(2**63), 2**63 - 1),
        ("f_u16", 0, 2**16 - 1),
        ("f_u32", 0, 2**32 - 1),
        ("f_u64", 0, 2**64 - 1),
        ("f_ipv4", 0, 2**32 - 1),
        ("f_enum", -(2**31), 2**31 - 1),
    ],
)
def test_ranges(field: str, low: int, high: int) -> None:
    """
    A number beyond the limits of its type is refused by name; the reference wraps it silently.
    """
    for number in (low, high):
        assert f">{number}</{field}>" in body_text(TRUTH_ALL_UVE, truth(**{field: number}))
    for number in (low - 1, high + 1):
        error = refusal(truth(**{field: number}))

        assert f"data.{field}" == error.field
        assert str(low) in error.reason
        assert str(high) in error.reason


WRONG = [
    (truth(f_string=1), "data.f_string"),
    (truth(f_string=b"x"), "data.f_string"),
    (truth(f_u32="1"), "data.f_u32"),
    (truth(f_u32=1.0), "data.f_u32"),
    (truth(f_u32=True), "data.f_u32"),
    (truth(f_bool=1), "data.f_bool"),
    (truth(f_bool="true"), "data.f_bool"),
    (truth(f_double="1"), "data.f_double"),
    (truth(f_double=True), "data.f_double"),
    (truth(f_double=float("nan")), "data.f_double"),
    (truth(f_double=float("inf")), "data.f_double"),
    (truth(f_double=10**400), "data.f_double"),
    (truth(f_xml=1), "data.f_xml"),
    (truth(f_xml="a]]>b"), "data.f_xml"),
    (truth(f_ipaddr="not an address"), "data.f_ipaddr"),
    (truth(f_uuid="not a uuid"), "data.f_uuid"),
    (truth(f_struct="x"), "data.f_struct"),
    (truth(f_struct={"b": -1}), "data.f_struct.b"),
    (truth(l_string="abc"), "data.l_string"),
    (truth(l_string={"a": 1}), "data.l_string"),
    (truth(l_string=["ok", 7]), "data.l_string[1]"),
    (truth(l_string=[None]), "data.l_string[0]"),
    (truth(l_struct=[{}, {"color": 2**31}]), "data.l_struct[1].color"),
    (truth(l_l=[[1], [2, -1]]), "data.l_l[1][1]"),
    (truth(s_string=1), "data.s_string"),
    (truth(s_string={1, "a"}), "data.s_string"),
    (truth(m_ss=[1]), "data.m_ss"),
    (truth(m_ss={"a": 1}), "data.m_ss['a']"),
    (truth(m_u16s={"7": "x"}), "data.m_u16s.key"),
    (truth(m_sstruct={"a": {"a": 1}}), "data.m_sstruct['a'].a"),
    ({"data": 1}, "data"),
    ({"data": {"name": "n", "nonsense": 1}}, "data"),
    ({"data": {"name": "n"}, "more": 1}, "TruthAllUVE"),
    (truth(f_struct={"other": "x"}), "data.f_struct"),
]


@pytest.mark.parametrize(("values", "field"), WRONG, ids=[f"{index}-{field}" for index, (_, field) in enumerate(WRONG)])
def test_wrong_values(values: dict[str, Any], field: str) -> None:
    """
    A value its field cannot hold is refused with the path of that field, wherever it is.
    """
    assert field == refusal(values).field


@pytest.mark.parametrize("bad", ["\0", "\x0b", "\x1f", "\ud800", "\ufffe", "\uffff"])
@pytest.mark.parametrize("field", ["f_string", "f_xml"])
def test_illegal_characters(bad: str, field: str) -> None:
    """
    A character that XML does not allow is refused, and the refusal names the field and the code point.
    """
    error = refusal(truth(**{field: f"a{bad}b"}))

    assert f"data.{field}" == error.field
    assert f"U+{ord(bad):04X}" in error.reason


@given(st.text(st.characters(blacklist_categories=["Cs"])))
def test_every_text(text: str) -> None:
    """
    A text is written so that a reader takes it, or refused; never a third thing.
    """
    try:
        data = encode(HEADER, TRUTH_ALL_UVE, truth(f_string=text))
    except EncodeError:
        assert ILLEGAL.search(text)
    else:
        assert not ILLEGAL.search(text)
        assert not decode(data, repair=False).repaired


def test_refusals_keep_secrets() -> None:
    """
    A refusal says what is wrong with a value, never the value.
    """
    for values in (
        truth(f_string="hunter2\0"),
        truth(f_u32="hunter2"),
        truth(f_ipaddr="hunter2"),
        truth(f_uuid="hunter2"),
    ):
        assert "hunter2" not in str(refusal(values))


def test_absent_and_none_are_the_same() -> None:
    """
    A field that is None is not written, whatever else is.
    """
    assert body_text(TRUTH_ALL_UVE, truth()) == body_text(TRUTH_ALL_UVE, truth(f_u32=None, l_string=None, other=None))


class Word(StrEnum):
    """A text."""

    UP = "up & away"


class Number(IntEnum):
    """A number."""

    SEVEN = 7


def test_friendly_types() -> None:
    """
    Enumerations, addresses, UUIDs, tuples, sets and read-only mappings are written as the plain values they stand for.
    """
    number = uuid.UUID(int=7)
    friendly = truth(
        f_string=Word.UP,
        f_u32=Number.SEVEN,
        f_double=7,
        f_ipaddr=ipaddress.ip_address("2001:db8::1"),
        f_uuid=number,
        l_string=("a",),
        s_string=frozenset({"b", "a"}),
        m_ss=MappingProxyType({"a": "b"}),
    )
    simple = truth(
        f_string="up & away",
        f_u32=7,
        f_double=7.0,
        f_ipaddr="2001:db8::1",
        f_uuid=str(number),
        l_string=["a"],
        s_string=["a", "b"],
        m_ss={"a": "b"},
    )

    assert body_text(TRUTH_ALL_UVE, simple) == body_text(TRUTH_ALL_UVE, friendly)


def test_key_without_table() -> None:
    """
    A message whose key has no table yet is refused: a collector would drop it silently.
    """
    with pytest.raises(EncodeError):
        body_text(NODE_STATUS_UVE, {"data": {"name": "n"}})

    assert 'key="ObjectConfigNode"' in body_text(in_table(NODE_STATUS_UVE, "ObjectConfigNode"), {"data": {"name": "n"}})


def test_event_log() -> None:
    """
    The log of an event is one flat message under the server's key.
    """
    header = header_of(BMS_LIFECYCLE_EVENT_LOG, SENDER, 5, 2)
    values = {"name": "uuid", "sequence": 2**63 - 1, "state_before": "active", "time": 1, "detail": "a<b"}

    message = decode(encode(header, BMS_LIFECYCLE_EVENT_LOG, values))

    assert values == fields(message.body)
    assert (message.header.category, message.header.hints, message.header.kind) == ("BMS", Hint.KEY, 7)
    assert message.body.children[0].key == "ObjectServerTable"


# --- the header ----------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", ["", " ", "\n", "a:b", "a&b", "a'b", "a<b", "a>b", "a\0b", "a\nb", "\ud800"])
@pytest.mark.parametrize("part", ["source", "module", "node_type", "instance"])
def test_identity(part: str, bad: str) -> None:
    """
    What a collector cannot take for a name is refused before the first connection.
    """
    good = {"source": "s", "module": "m", "node_type": "n", "instance": "i"}
    with pytest.raises(IdentityError):
        Identity(**{**good, part: bad})


def test_name_of_a_generator() -> None:
    """
    A generator is called as the analytics API calls it.
    """
    assert str(FULL.sender) == "cfg-node-1.example.net:Config:ironic-notification-manager:0"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"timestamp": 2**63}, "SandeshHeader.Timestamp"),
        ({"sequence": 2**31}, "SandeshHeader.SequenceNum"),
        ({"kind": "UVE"}, "SandeshHeader.Type"),
        ({"category": "a\0"}, "SandeshHeader.Category"),
    ],
)
def test_header_is_checked(change: dict[str, Any], field: str) -> None:
    """
    A header that cannot be written is refused by the field too.
    """
    with pytest.raises(EncodeError) as caught:
        header_text(HEADER._replace(**change))

    assert field == caught.value.field


def test_header_of_a_sync() -> None:
    """
    A UVE that is sent again says so in its hints, and in nothing else.
    """
    again = header_of(IRONIC_NODE_INFO, SENDER, 1, 1, sync=True)

    assert again == header_of(IRONIC_NODE_INFO, SENDER, 1, 1)._replace(hints=Hint.KEY | Hint.SYNC)
    assert isinstance(again, Header)


class Long(bytes):
    """Bytes that claim a length no machine has."""

    def __len__(self) -> int:
        return LARGEST - OVERHEAD + 1


def test_frame_too_long_to_announce() -> None:
    """
    A frame whose length does not fit ten digits is refused.
    """
    with pytest.raises(FrameError):
        frame(Long())


def test_every_scalar_is_in_the_vectors() -> None:
    """
    The type that the tests generate values of has every scalar.
    """
    assert set(Scalar) <= {field.type for field in TRUTH_ALL_UVE.data.fields if isinstance(field.type, Scalar)}
