# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.sandesh.decode import decode
from telemetry.sandesh.flat import LARGEST, UveView, flat_attribute
from telemetry.sandesh.publication import uve_update
from tests.telemetry.sandesh.values import TEXT
from tests.telemetry.sandesh.vectors import BY_NAME, rest

G = "cfg-node-1.example.net:Config:ironic-notification-manager:0"


def stored(name: str) -> dict[str, str]:
    """What the reference's store holds of a vector."""
    (attributes,) = [
        value["hash"] for key, value in rest(name)["redis"].items() if key.startswith("VALUES:") and "hash" in value
    ]
    found: dict[str, str] = attributes
    return found


@pytest.mark.parametrize("name", ["01-ironic-full", "05-ironic-escapes", "13-ironic-empty-list"])
def test_shown_like_the_reference(name: str) -> None:
    """
    Both forms of the answer are the reference's own, from what it had stored.
    """
    view = UveView()
    view.add("IronicNode", G, stored(name))

    assert view.flat() == rest(name)["GET /analytics/uves/<type>/<name>?flat"]
    assert view.full() == rest(name)["GET without flat"]


def test_every_type() -> None:
    """
    Each type is rendered as consumers know it: numbers and bools as such, elements of lists and values of maps as text.
    """
    update = uve_update(decode(BY_NAME["38-all-types"].frame))
    assert update is not None
    view = UveView()
    view.add("TruthAll", "g", dict(update.attributes))

    inner = {"a": "in&ner", "b": 65535, "color": 7}
    assert view.flat()["TruthAll"] == {
        "f_bool": True,
        "f_byte": -128,
        "f_i16": -32768,
        "f_i32": -2147483648,
        "f_i64": -9223372036854775808,
        "f_u16": 65535,
        "f_u32": 4294967295,
        "f_u64": 18446744073709551615,
        "f_double": 3.25,
        "f_string": "s",
        "f_xml": '<a b="c">&amp;raw</a>',
        "f_ipv4": "3221225985",
        "f_ipaddr": "2001:db8::1",
        "f_uuid": "00010203-0405-0607-0809-0a0b0c0d0e0f",
        "f_enum": 7,
        "f_struct": inner,
        "l_string": ["a", None, "c<d"],
        "l_u32": ["0", "1", "4294967295"],
        "l_bool": ["true", "false"],
        "l_struct": [inner, {"a": None}],
        "m_ss": {"k1": "v1", "k&2": "v'2"},
        "m_su64": {"tx": "5"},
        "m_sstruct": {"s1": inner},
        "m_u16s": {"7": "seven"},
        "s_string": None,
        "l_l": [["1", "2"], []],
        "l_double": ["1.0", "1e+21", "1.5e-07"],
        "l_enum": ["0", "1", "7"],
        "counted": 3,
        "m_slist": {"l": ["p", "q"]},
    }


@pytest.mark.parametrize(
    ("xml", "value"),
    [
        ('<x type="string"></x>', None),
        ('<x type="string"/>', None),
        ('<x type="string">  a b \n</x>', "a b"),
        ('<x type="bool">maybe</x>', "maybe"),
        ('<x type="struct"><S/></x>', {}),
        ('<x type="list"><list type="string" size="1"><element>a</element></list></x>', ["a"]),
        ('<x type="list"><list type="struct" size="1"><S><a type="u32">1</a></S></list></x>', [{"a": 1}]),
        ('<x type="map"><map key="string" value="string" size="0"/></x>', {}),
        (
            '<x type="map"><map key="string" value="string" size="1"><element/><element>v</element></map></x>',
            {"null": "v"},
        ),
        (
            '<x type="map"><map key="string" value="struct" size="1"><element>k</element><S/></map></x>',
            {"k": {}},
        ),
    ],
)
def test_corners(xml: str, value: Any) -> None:
    """
    The odd corners that consumers know are kept.
    """
    assert flat_attribute(xml) == value


@pytest.mark.parametrize(
    "xml",
    [
        "",
        "text",
        "<x",
        "<x>untyped</x>",
        '<x type="u32">abc</x>',
        '<x type="double">abc</x>',
        '<x type="struct"/>',
        '<x type="struct"><A/><B/></x>',
        '<x type="list"/>',
        '<x type="list"><list type="string" size="0"></list></x>',
        '<x type="map"/>',
        '<x type="map"><map size="many"/></x>',
        '<x type="map"><map key="string" value="string" size="5"><element>a</element></map></x>',
        '<x type="string">\x01</x>',
        f'<x type="string">{"a" * LARGEST}</x>',
    ],
    ids=range(15),
)
def test_not_shown(xml: str) -> None:
    """
    An attribute that is empty, too large, broken or at odds with its type is not shown; the others are.
    """
    view = UveView()
    view.add("S", "g", {"bad": xml, "good": '<good type="u32">1</good>'})

    assert view.flat() == {"S": {"good": 1}}
    assert flat_attribute(xml) is None


def test_just_small_enough() -> None:
    """
    The limit is on the XML, not on the text.
    """
    around = '<x type="string"></x>'

    assert flat_attribute(f'<x type="string">{"a" * (LARGEST - len(around) - 1)}</x>') is not None
    assert flat_attribute(f'<x type="string">{"a" * (LARGEST - len(around))}</x>') is None


NAMES = st.sampled_from(["x", "list", "map", "set", "element", "S"])
TREES: st.SearchStrategy[str] = st.recursive(
    TEXT.map(lambda text: text.replace("&", "").replace("<", "")),
    lambda inner: st.builds(
        lambda name, type_, size, parts: f'<{name} type="{type_}" size="{size}">{"".join(parts)}</{name}>',
        NAMES,
        st.sampled_from(["struct", "list", "map", "set", "u32", "string", "bool", "double"]),
        st.integers(-1, 3),
        st.lists(inner, max_size=3),
    ),
    max_leaves=12,
)


@given(TREES, TREES, st.sampled_from(["", ' aggtype="sum"', ' aggtype="union"', ' aggtype="append"']))
def test_nonsense(first: str, second: str, aggregation: str) -> None:
    """
    Whatever generators have stored, the view can be made, and as JSON.
    """
    view = UveView()
    for generator, xml in (("g1", first), ("g2", second)):
        view.add("S", generator, {"x": xml.replace(' type="', f'{aggregation} type="', 1)})

    json.dumps([view.flat(), view.full()])


# --- several generators --------------------------------------------------------------------------


def view_of(*told: str) -> UveView:
    view = UveView()
    for number, xml in enumerate(told, 1):
        view.add("S", f"g{number}", {"x": xml})
    return view


def numbers(*values: int, annotation: str = "") -> list[str]:
    return [f'<x type="u32"{annotation}>{value}</x>' for value in values]


def test_agreement_and_conflict() -> None:
    """
    Generators that agree give the value; those that differ give each value with those who say so.
    """
    assert view_of(*numbers(7, 7)).flat() == {"S": {"x": 7}}
    assert view_of(*numbers(7, 8, 7)).flat() == {"S": {"x": [[7, "g1", "g3"], [8, "g2"]]}}
    assert view_of(*numbers(7, 7)).full() == {"S": {"x": [[{"@type": "u32", "#text": "7"}, "g1", "g2"]]}}


def lists(*values: list[str], annotation: str) -> list[str]:
    return [
        f'<x type="list" aggtype="{annotation}"><list type="string" size="{len(value)}">'
        f"{''.join(f'<element>{one}</element>' for one in value)}</list></x>"
        for value in values
    ]


def struct(**values: int) -> str:
    return "<S>" + "".join(f'<{name} type="u32">{value}</{name}>' for name, value in values.items()) + "</S>"


def test_sums() -> None:
    """
    Numbers that say so are added up, field by field in structs.
    """
    assert view_of(*numbers(7, 8, annotation=' aggtype="sum"')).flat() == {"S": {"x": 15}}
    structs = [f'<x type="struct" aggtype="sum">{struct(a=a, b=1)}</x>' for a in (1, 2)]
    assert view_of(*structs).flat() == {"S": {"x": {"a": 3, "b": 2}}}


def test_unions() -> None:
    """
    Lists that say so are united, each element once; maps too, under their generators' names.
    """
    assert view_of(*lists(["a", "b"], ["b", "c"], annotation="union")).flat() == {"S": {"x": ["a", "b", "c"]}}
    maps = [
        f'<x type="map" aggtype="union"><map key="string" value="u32" size="1">'
        f"<element>k</element><element>{value}</element></map></x>"
        for value in (1, 2)
    ]
    assert view_of(*maps).flat() == {"S": {"x": {'g1:"k"': "1", 'g2:"k"': "2"}}}
    maps = [
        f'<x type="map" aggtype="union"><map key="string" value="struct" size="1">'
        f"<element>k</element>{struct(a=value)}</map></x>"
        for value in (1, 2)
    ]
    assert view_of(*maps).flat() == {"S": {"x": {'g1:"k"': {"a": 1}, 'g2:"k"': {"a": 2}}}}


def test_appending() -> None:
    """
    Lists that say so are joined; structs with the same list key become one, their numbers added.
    """
    assert view_of(*lists(["a"], ["a", "b"], annotation="append")).flat() == {"S": {"x": ["a", "a", "b"]}}
    keyed = [
        '<x type="list" aggtype="append"><list type="struct" size="1"><S>'
        f'<k type="string" aggtype="listkey">{key}</k><n type="u32">{number}</n></S></list></x>'
        for key, number in (("a", 1), ("b", 2), ("a", 4))
    ]
    assert view_of(*keyed).flat() == {"S": {"x": [{"k": "a", "n": 5}, {"k": "b", "n": 2}]}}


def test_processes_of_a_node() -> None:
    """
    The processes of a node, each told by itself, are one list: what contrail-status is made of.
    """
    update = uve_update(decode(BY_NAME["41-nodestatus"].frame))
    assert update is not None
    view = UveView()
    for generator, instance in (("g1", "0"), ("g2", "1")):
        attributes = {name: xml.replace(">0<", f">{instance}<") for name, xml in update.attributes}
        view.add(update.struct, generator, attributes)

    processes = view.flat()["NodeStatus"]["process_status"]

    assert [process["instance_id"] for process in processes] == ["0", "1"]
    assert processes[0]["connection_infos"][0]["server_addrs"] == ["127.0.0.1:8086"]


def test_choosing() -> None:
    """
    Structs and attributes can be chosen; what nobody told is not shown.
    """
    view = view_of(*numbers(1))
    view.add("T", "g1", {"a": '<a type="u32">1</a>', "b": '<b type="u32">2</b>'})

    assert view.flat({"T": ["b"], "U": []}) == {"T": {"b": 2}}
    assert view.flat({"S": []}) == {"S": {"x": 1}}
    assert view.full({"T": ["z"]}) == {}
