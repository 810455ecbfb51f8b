# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.sandesh.decode import Decoded, decode, parse_fragment
from telemetry.sandesh.errors import DecodeError
from telemetry.sandesh.framing import frame
from telemetry.sandesh.publication import object_names, uve_update
from telemetry.sandesh.tree import fields, plain, stored_xml
from tests.telemetry.sandesh.vectors import BY_NAME, FULL, VECTORS

HEADER = FULL.frame[29 : FULL.frame.index(b"</SandeshHeader>") + 16]


def body(xml: str | bytes) -> bytes:
    """A frame with a good header and this message."""
    return frame(HEADER + (xml.encode() if isinstance(xml, str) else xml))


def log(inner: str | bytes) -> bytes:
    content = inner.encode() if isinstance(inner, str) else inner
    return body(b'<M type="sandesh">' + content + b"</M>")


def headed(header: str) -> bytes:
    return frame(header.encode() + b'<M type="sandesh"></M>')


ACCEPTED: dict[str, tuple[bytes, dict[str, Any]]] = {
    "unknown message and field": (log('<x type="u32" identifier="1">5</x>'), {"x": 5}),
    "no fields": (log(""), {}),
    "self-closing message": (body('<M type="sandesh"/>'), {}),
    "self-closing field": (log('<x type="string" identifier="1"/>'), {"x": ""}),
    "other order and quotes": (log("<x identifier='1' type='bool'>true</x>"), {"x": True}),
    "fields in any order": (log('<b type="i32">2</b><a type="i32">1</a>'), {"b": 2, "a": 1}),
    "comment": (log('<x type="string">a<!-- -->b</x>'), {"x": "ab"}),
    "blank text": (log('<x type="string"> \n\t</x>'), {"x": ""}),
    "white space kept around text": (log('<x type="string"> a </x>'), {"x": " a "}),
    "returns": (log(b'<x type="string">a\r\nb\rc</x>'), {"x": "a\nb\nc"}),
    "literal escape": (log('<x type="string">&amp;lt;</x>'), {"x": "&lt;"}),
    "all five escapes": (log('<x type="string">&amp;&lt;&gt;&apos;&quot;</x>'), {"x": "&<>'\""}),
    "cdata": (log('<x type="xml"><![CDATA[<a>&</a>]]></x>'), {"x": "<a>&</a>"}),
    "raw double quote": (log('<x type="string">"</x>'), {"x": '"'}),
    "a type to come": (log('<x type="i128" identifier="1">5</x>'), {"x": "5"}),
    "double of C++": (log('<x type="double">1</x>'), {"x": 1.0}),
}


@pytest.mark.parametrize(("data", "values"), ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(data: bytes, values: dict[str, Any]) -> None:
    """
    What the reference collector takes is taken, and means the same.
    """
    message = decode(data, repair=False)

    assert values == fields(message.body)


BOMB = '<!DOCTYPE sandesh [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
REFUSED = {
    "nul": log(b'<x type="string">a\0b</x>'),
    "nul as a reference": log('<x type="string">&#0;</x>'),
    "control character as a reference": log('<x type="string">&#11;</x>'),
    "unknown entity": log('<x type="string">&bomb;</x>'),
    "doctype": log(f'{BOMB}<x type="string">&b;</x>'),
    "external entity": log('<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x type="string">&e;</x>'),
    "raw ampersand": log('<x type="string">a & b</x>'),
    "open element": log('<x type="string">'),
    "crossed elements": log('<x type="string"><y></x></y>'),
    "attribute twice": log('<x type="string" type="string"/>'),
    "unquoted attribute": log("<x type=string/>"),
    "end of cdata in cdata": log('<x type="xml"><![CDATA[a]]>b]]></x>'),
    "nothing": frame(b"x"),
    "header only": frame(HEADER),
    "message only": frame(b'<M type="sandesh"></M>'),
    "two messages": frame(HEADER + b'<M type="sandesh"/><M type="sandesh"/>'),
    "message before header": frame(b'<M type="sandesh"></M>' + HEADER),
    "namespace": body('<M type="sandesh" xmlns="urn:x"/>'),
    "too deep": log("<x>" * 5000 + "</x>" * 5000),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_refused(data: bytes) -> None:
    """
    What no XML reader may take is refused, with or without repair, and no entity is ever expanded.
    """
    for repair in (True, False):
        with pytest.raises(DecodeError):
            decode(data, repair=repair)


MENDED = {
    "control character": (b"a\x0bb", "a\ufffdb"),
    "last of the plane": ("a\uffffb".encode(), "a\ufffdb"),
    "surrogate": ("a\ud800b".encode("utf-8", "surrogatepass"), "a\ufffd\ufffd\ufffdb"),
    "no utf-8": (b"a\xffb", "a\ufffdb"),
}


@pytest.mark.parametrize(("sent", "read"), MENDED.values(), ids=MENDED)
def test_mended(sent: bytes, read: str) -> None:
    """
    Characters that the reference writers let through and its collector takes are replaced, and the
    message says so; where strictness is asked for they are refused.
    """
    data = log(b'<x type="string">' + sent + b"</x>")

    message = decode(data)

    assert {"x": read} == fields(message.body)
    assert message.repaired
    with pytest.raises(DecodeError):
        decode(data, repair=False)


def test_refusals_keep_secrets() -> None:
    """
    A refusal says where the XML is broken, not what it says.
    """
    with pytest.raises(DecodeError) as caught:
        decode(log("<hunter2></password>"))

    assert "hunter2" not in str(caught.value)
    assert "password" not in str(caught.value)


@given(st.integers(0, len(FULL.frame) - 1), st.binary(min_size=1, max_size=3))
def test_damaged(position: int, damage: bytes) -> None:
    """
    A damaged message is read or refused; nothing else happens.
    """
    data = FULL.frame[:position] + damage + FULL.frame[position + 1 :]
    try:
        message = decode(data)
    except DecodeError:
        return
    assert isinstance(message, Decoded)


@given(st.binary(max_size=200))
def test_nonsense(content: bytes) -> None:
    """
    Nonsense in a good envelope is refused.
    """
    with pytest.raises(DecodeError):
        decode(frame(content))


# --- the header ----------------------------------------------------------------------------------

GOOD = HEADER.decode()


def test_optional_header_fields() -> None:
    """
    The two header fields that no writer sets are read.
    """
    extra = '<IPAddress type="string" identifier="14">10.0.0.1</IPAddress><Pid type="i32" identifier="15">7</Pid>'

    header = decode(headed(GOOD.replace("</SandeshHeader>", extra + "</SandeshHeader>"))).header

    assert (header.address, header.pid) == ("10.0.0.1", 7)


def test_attribute_after_the_identifier() -> None:
    """
    A header that aborts the reference collector is simply read.
    """
    header = GOOD.replace('identifier="3"', 'identifier="3" more="x"')

    assert FULL.header == decode(headed(header)).header


def test_header_goes_by_identifiers() -> None:
    """
    Header fields are known by their identifiers; those to come are passed over.
    """
    header = GOOD.replace("Module", "Program").replace(
        "</SandeshHeader>", '<New type="i32" identifier="16">x</New><Odd identifier="y"/></SandeshHeader>'
    )

    assert FULL.header == decode(headed(header)).header


@pytest.mark.parametrize(
    "header",
    [
        GOOD.replace("1700000000123457", "soon"),
        GOOD.replace("1700000000123457", str(2**63)),
        GOOD.replace(">1713663921<", f">{2**31}<"),
        GOOD.replace('identifier="4"', 'identifier="44"'),
        GOOD.replace('identifier="2"', 'identifier="22"'),
        GOOD.replace("SandeshHeader", "Header"),
    ],
    ids=["no number", "out of range", "unsigned signature", "no source", "no timestamp", "other element"],
)
def test_bad_headers(header: str) -> None:
    """
    A header without its source or time, or with a number that is none, is refused.
    """
    with pytest.raises(DecodeError):
        decode(headed(header))


# --- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "xml",
    [
        '<x type="u32">abc</x>',
        '<x type="u32"></x>',
        '<x type="double">abc</x>',
        '<x type="bool">maybe</x>',
        '<x type="u32"><y/></x>',
        '<x type="struct"/>',
        '<x type="struct"><A/><B/></x>',
        '<x type="list"/>',
        '<x type="list"><set type="string" size="0"/></x>',
        '<x type="list"><list type="string" size="2"><element>a</element></list></x>',
        '<x type="list"><list type="string"><element>a</element></list></x>',
        '<x type="map"><map key="string" value="string" size="1"><element>a</element></map></x>',
        '<x type="map"><map key="string" value="string" size="2"><element>a</element><element>b</element></map></x>',
    ],
)
def test_values_that_contradict_their_type(xml: str) -> None:
    """
    A value that is not of its announced type is refused when it is asked for, not before.
    """
    node = parse_fragment(xml)

    with pytest.raises(DecodeError):
        plain(node)


def test_containers_in_containers() -> None:
    """
    Lists of maps and maps of maps are read too, though nobody writes them.
    """
    inner = '<map key="string" value="i32" size="1"><element>k</element><element>1</element></map>'

    assert plain(parse_fragment(f'<x type="list"><list type="map" size="1">{inner}</list></x>')) == [{"k": 1}]
    assert plain(
        parse_fragment(f'<x type="map"><map key="string" value="map" size="1"><element>o</element>{inner}</map></x>')
    ) == {"o": {"k": 1}}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_stored_and_read_again(vector: Any) -> None:
    """
    What is stored means what was sent, without its identifiers.
    """
    message = decode(vector.frame).body

    stored = stored_xml(message)

    assert fields(message) == fields(parse_fragment(stored))
    assert "identifier" not in stored


def test_stored_attributes_are_escaped() -> None:
    """
    A quote inside an attribute cannot end it when it is stored.
    """
    node = parse_fragment("<x type='string' link='a\"b&lt;'>t</x>")

    assert parse_fragment(stored_xml(node)) == node


def test_fragment_must_be_xml() -> None:
    """
    A stored attribute that is broken is refused.
    """
    for broken in ("", "x", "<x>", "<x/><y/>", "<x>\ud800</x>"):
        with pytest.raises(DecodeError):
            parse_fragment(broken)


# --- what a message is about ---------------------------------------------------------------------


def test_objects_of_a_message() -> None:
    """
    The objects that a message is about are found wherever their keys stand.
    """
    assert object_names(decode(BY_NAME["29-objectlog"].frame).body) == (("ObjectServerTable", "node-1"),)
    assert object_names(decode(BY_NAME["30-objectlog-flat"].frame).body) == (("ObjectServerTable", "node-1"),)
    assert object_names(decode(BY_NAME["22-ctrl-c2s-no-uves"].frame).body) == ()
    twice = '<a type="string" key="T">x</a><b type="string" key="T">x</b><c type="string" key="U">y</c>'
    assert object_names(decode(log(twice)).body) == (("T", "x"), ("U", "y"))


def test_deletion() -> None:
    """
    A UVE that says deleted deletes, whatever else it says.
    """
    update = uve_update(decode(BY_NAME["03-ironic-deleted-true"].frame))

    assert update is not None
    assert update.deleted


def test_key_alone() -> None:
    """
    A UVE with nothing but its key changes nothing.
    """
    update = uve_update(decode(BY_NAME["02-ironic-minimal"].frame))

    assert update is not None
    assert (update.attributes, update.deleted) == ((), False)


def test_joined_keys() -> None:
    """
    Several key fields make one name, in the table of the first.
    """
    data = '<data type="struct"><S><a type="string" key="T">x</a><b type="u32" key="U">7</b></S></data>'

    update = uve_update(decode(log(data)))

    assert update is not None
    assert (update.table, update.key, update.attributes) == ("T", "x:7", ())


@pytest.mark.parametrize(
    "inner",
    ["", '<data type="struct"/>', '<data type="struct"><S/></data>', '<data type="struct"><S><a key=""/></S></data>'],
)
def test_uve_of_nothing(inner: str) -> None:
    """
    A message that calls itself a UVE and names no object changes nothing.
    """
    assert uve_update(decode(log(inner))) is None
