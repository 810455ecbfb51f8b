# SPDX-License-Identifier: Apache-2.0
"""Times, etags, page tokens and filters: small and pure."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from google.longrunning.operations_pb2 import ListOperationsRequest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.calls import Call
from services.kernel.errors import InvalidField, Stale
from services.runtime import etags, filters
from services.runtime.filters import Term
from services.runtime.page_tokens import PageTokens
from services.runtime.times import from_micros, to_micros, to_timestamp
from tests.support.clocks import START
from tests.support.wire import admin

TOKENS = PageTokens(b"k" * 32)
WORDS = st.characters(exclude_characters="\x00", exclude_categories=["Cs"])
CALL = Call(caller=admin(), method="/bms.x.v1.X/ListNotes", correlation="c", now=START)


@given(st.datetimes(timezones=st.just(UTC)))
def test_times_come_back_exactly(moment: datetime) -> None:
    """
    Every microsecond between the years 1 and 9999 is stored exactly, and sent so.
    """
    assert from_micros(to_micros(moment)) == moment
    assert to_timestamp(moment).ToDatetime(UTC) == moment


def test_etags() -> None:
    """
    An etag has quotes; an empty one agrees to any version; an old one is Stale and told the present one.
    """
    assert etags.etag(3) == '"3"'
    etags.check("", 3)
    etags.check('"3"', 3)
    with pytest.raises(Stale) as caught:
        etags.check('"2"', 3, "flavors/a")
    assert caught.value.facts["current"] == '"3"'
    with pytest.raises(Stale):
        etags.check("3", 3)


def paged(size: int = 0, token: str = "") -> ListOperationsRequest:
    return ListOperationsRequest(page_size=size, page_token=token)


@given(st.text(min_size=1), st.lists(st.text(), max_size=3))
def test_a_token_leads_to_its_position(after: str, parts: list[str]) -> None:
    """
    The token of a listing, given to the same listing, is the position it was made of.
    """
    token = TOKENS.next(after, CALL, *parts)

    assert TOKENS.request(paged(10, token), CALL, *parts).after == after


@given(st.text(), st.lists(st.text(), max_size=3), st.lists(st.text(), max_size=3))
def test_a_token_serves_its_listing_alone(after: str, parts: list[str], others: list[str]) -> None:
    """
    With another filter, parent, order or method, a token is refused.
    """
    token = TOKENS.next(after or "x", CALL, *parts)

    if parts != others:
        with pytest.raises(InvalidField) as caught:
            TOKENS.request(paged(10, token), CALL, *others)
        assert caught.value.facts["field"] == "page_token"
    with pytest.raises(InvalidField):
        TOKENS.request(paged(10, token), replace(CALL, method="/bms.x.v1.X/ListOthers"), *parts)
    with pytest.raises(InvalidField):
        PageTokens(b"other").request(paged(10, token), CALL, *parts)


@given(st.one_of(st.text(min_size=1), st.binary(min_size=1).map(lambda data: base64.urlsafe_b64encode(data).decode())))
def test_made_up_tokens_are_refused(token: str) -> None:
    """
    Whatever is no token of ours is InvalidField, never something else.
    """
    with pytest.raises(InvalidField):
        TOKENS.request(paged(0, token), CALL)


@pytest.mark.parametrize(("asked", "given"), [(0, 50), (1, 1), (1000, 1000), (1001, 1000), (2**31 - 1, 1000)])
def test_page_sizes(asked: int, given: int) -> None:
    """
    No size means 50; more than 1000 is taken as 1000; a negative one is refused; the last page has no token.
    """
    assert TOKENS.request(paged(asked), CALL).size == given
    with pytest.raises(InvalidField):
        TOKENS.request(paged(-1), CALL)
    assert TOKENS.next("", CALL) == ""


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", ()),
        ("  ", ()),
        ("state = ACTIVE", (Term("state", "=", "ACTIVE"),)),
        ("state=ACTIVE", (Term("state", "=", "ACTIVE"),)),
        ('state != "two words"', (Term("state", "!=", "two words"),)),
        (r'name = "a \" b \\ c"', (Term("name", "=", 'a " b \\ c'),)),
        ("labels.rack = R12 AND state = A", (Term("labels", "=", "R12", "rack"), Term("state", "=", "A"))),
        ("labels.example.com/x = 1", (Term("labels", "=", "1", "example.com/x"),)),
        ('name = "AND"', (Term("name", "=", "AND"),)),
        ("name = servers/1-2", (Term("name", "=", "servers/1-2"),)),
    ],
)
def test_filters_we_speak(text: str, terms: tuple[Term, ...]) -> None:
    """
    Comparisons joined by AND, with bare and quoted values and keys of maps.
    """
    assert filters.parse(text, ("state", "name"), ("labels",)) == terms


@pytest.mark.parametrize(
    "text",
    [
        "state",
        "state =",
        "= A",
        "state = A OR name = B",
        "state = A AND",
        "state = A AND ",
        "state = A name = B",
        "NOT state = A",
        "(state = A)",
        "state > 1",
        "state : A",
        'state = "open',
        'state = "a"name = b',
        "unknown = 1",
        "labels = x",
        "state.key = x",
        "state = A\x00",
        "s" * 5000,
    ],
)
def test_other_filters_are_refused_with_what_we_speak(text: str) -> None:
    """
    Anything else is InvalidField on `filter`, and the remedy lists the fields.
    """
    with pytest.raises(InvalidField) as caught:
        filters.parse(text, ("state", "name"), ("labels",))

    assert caught.value.facts["field"] == "filter"
    assert "labels.<key>, " not in caught.value.remedy
    assert "name, state, labels.<key>" in caught.value.remedy


@given(st.text(max_size=60))
def test_no_filter_breaks_the_parser(text: str) -> None:
    """
    Any text is parsed or refused.
    """
    try:
        terms = filters.parse(text, ("a", "b"), ("m",))
    except InvalidField:
        return
    assert all(term.field in {"a", "b", "m"} for term in terms)


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["=", "!="]), st.text(WORDS, max_size=12)), max_size=4
    )
)
def test_quoted_values_come_back(terms: list[tuple[str, str, str]]) -> None:
    """
    Any value, quoted and escaped, is read as it was meant.
    """
    quote = str.maketrans({"\\": "\\\\", '"': '\\"'})
    text = " AND ".join(f'{field} {op} "{value.translate(quote)}"' for field, op, value in terms)

    assert [(term.field, term.op, term.value) for term in filters.parse(text, ("a", "b"))] == terms
