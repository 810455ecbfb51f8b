# SPDX-License-Identifier: Apache-2.0
"""The quick reader and the parser read the same, or only the parser reads."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from telemetry.sandesh import quick
from telemetry.sandesh.decode import parse_fragment
from telemetry.sandesh.encode import encode
from telemetry.sandesh.errors import DecodeError
from telemetry.sandesh.header import Identity, header_of
from tests.telemetry.sandesh.values import values_of
from tests.telemetry.sandesh.vectors import FULL, TRUTH_ALL_UVE

SENDER = Identity("host", "module", "Config", "0")
SNIPPETS = st.sampled_from(
    [
        *("<", ">", "/", "&", '"', "'", " ", "\n", "\t", "\r", "=", "a", "é", "\ufffe", "\x00", "\x01", "]]>", "]]"),
        *(
            "<a>",
            "</a>",
            "<a/>",
            "<b>",
            "</b>",
            "<a b='1'>",
            '<a b="1">',
            '<a b="1" b="2">',
            '<a b=">">',
            '<a b="&lt;">',
        ),
        *("<a >", "</a >", "< a>", '<a  b="1">', '<a\tb="1">', '<a b ="1">', '<a b="1"c="2">', '<a b="\t">', "<1>"),
        *("&amp;", "&lt;", "&quot;", "&#65;", "&#x41;", "&nope;", "&amp;lt;", "&amp", "<!--c-->", "<![CDATA[x]]>"),
        *(
            "<?p?>",
            '<a xmlns="u">',
            "<n:a>",
            "</n:a>",
            '<?xml version="1.0"?>',
            "<!DOCTYPE a>",
            "<é>",
            "</é>",
            "\u2028",
        ),
    ]
)


def same(data: bytes) -> bool:
    """Whether the quick reader read *data*; then as the parser did."""
    found = quick.read(data)
    if found is None:
        return False
    assert found == parse_fragment(data.decode())
    return True


@given(values_of(TRUTH_ALL_UVE.data))
def test_what_writers_write(values: dict[str, Any]) -> None:
    """
    Any values of any type are read the same, and quickly unless they hold a carriage return or XML of their own.
    """
    data = encode(header_of(TRUTH_ALL_UVE, SENDER, 1, 1), TRUTH_ALL_UVE, {"data": values})

    assert same(data) or b"\r" in data or b"CDATA" in data or b"]]>" in data or b"xmlns" in data


@given(st.lists(SNIPPETS, max_size=12).map("".join))
@example("<a>x</a>")
@example("<a>x<b></b></a>")
@example("<a><b></b>x</a>")
@example("<a><b>x</b></a>y")
@example("y<a></a>")
@example("<a></a><b></b>")
@example("<a>]]&gt;</a>")
@example('<a b="1" c="2"> </a>')
def test_pieces_of_xml(text: str) -> None:
    """
    Whatever stands there, well-formed or not, the quick reader says nothing that the parser would not.
    """
    same(text.encode())


@given(st.integers(0, len(FULL.frame) - 1), st.integers(0, 3), SNIPPETS)
def test_damaged(position: int, cut: int, snippet: str) -> None:
    """
    Nor of a message in which something was replaced.
    """
    same(FULL.frame[:position] + snippet.encode() + FULL.frame[position + cut :])


@pytest.mark.parametrize("deep", [quick.DEEPEST + 1, quick.DEEPEST + 2, 300])
def test_depth_is_the_parsers_to_judge(deep: int) -> None:
    """
    However deep elements stand in each other, the parser's limit is the limit.
    """
    data = b"<a>" * deep + b"</a>" * deep
    try:
        parse_fragment(data.decode())
    except DecodeError:
        assert quick.read(data) is None
    else:
        same(data)


def test_long_messages_are_left_to_the_parser() -> None:
    """
    So are messages near its limits on text.
    """
    assert quick.read(b"<a>%b</a>" % (b"x" * quick.LONGEST)) is None


def test_a_long_tag_is_not_remembered() -> None:
    """
    What is remembered of a generator's tags is bounded in all: none that is long is kept.
    """
    before = quick._known_tag.cache_info().currsize
    for number in range(20):
        long = f'<a{number} type="{"x" * 5000}">1</a{number}>'.encode()
        assert quick.read(long) is not None

    assert quick._known_tag.cache_info().currsize == before
