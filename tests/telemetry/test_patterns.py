# SPDX-License-Identifier: Apache-2.0
"""Patterns of queries match as Python's do, and never for long."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.query.patterns import LONGEST, Pattern, PatternError

_atom = st.one_of(
    st.sampled_from(list("ab.-_ ")),
    st.sampled_from(
        [r"\d", r"\w", r"\s", r"\D", r"\W", r"\S", r"\.", r"\\", "[ab]", "[^a]", "[a-c1-]", "[]a]", r"[\d_]"]
    ),
)
_patterns = st.recursive(
    _atom,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda both: f"({both[0]}|{both[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{0,2}", "{1,}"])).map(
            lambda of: f"(?:{of[0]}){of[1]}"
        ),
    ),
    max_leaves=6,
)


@given(text=_patterns, subject=st.text("abc1-_ .]\\\n", max_size=8))
def test_as_python_does(text: str, subject: str) -> None:
    """
    Whatever is understood means what it means there.
    """
    try:
        pattern = Pattern(text)
    except PatternError:
        assert "{" in text or len(text) > LONGEST  # only what is large is refused
        return

    assert pattern.matches(subject) == bool(re.fullmatch(text, subject, re.ASCII | re.DOTALL))


@given(st.text("ab()[]{}|*+?\\.^$-,1:", max_size=12))
def test_any_text_is_a_pattern_or_refused(text: str) -> None:
    """
    A pattern of ours is one of Python's that matches alike; the rest is refused, never more.
    """
    try:
        pattern = Pattern(text)
    except PatternError:
        return
    for subject in ("", "a", "ab", "1", "aab1", "()", "-", ","):
        pattern.matches(subject)


@pytest.mark.parametrize(
    ("text", "subject", "matches"),
    [
        ("", "", True),
        ("", "a", False),
        ("^server$", "server", True),
        ("^server$", "servers", False),
        (r"cost\$", "cost$", True),
        (r"a\\$", "a\\", True),
        (".*power.*", "<x>power off</x>\n", True),
        ("BmsLifecycle.*|Ironic.*", "IronicNodeInfo", True),
        ("é+", "éé", True),
        ("(ab)(a|b)(ab)*", "aba", True),
        ("[à-ü]", "é", True),
        (r"\bpower\b.*", "power off", True),
        ("[[:alpha:]]+", "ab", True),
        ("a.", "a\ud800", True),
    ],
)
def test_known_by_hand(text: str, subject: str, matches: bool) -> None:
    """
    The whole text must match; what stands at the ends says so once more.
    """
    assert Pattern(text).matches(subject) is matches


@pytest.mark.parametrize(
    "text",
    ["(", ")", "a)", "[", "[]", "[b-a]", "*", "a|*", "a{2,1}", "(?=a)", r"\1", "\\", "a" * 201, "(a{100}){100}",
     "((((a*)*)*)*", "\ud800"],
)  # fmt: skip
def test_what_is_no_pattern(text: str) -> None:
    """
    Refused with what is wrong, also when it only would be too large.
    """
    with pytest.raises(PatternError, match=r"\w{4}"):
        Pattern(text)


@pytest.mark.parametrize("text", ["(a+)+b", "(a|a)*b", "(a|aa)+b", "(.*)*b", "a*a*a*a*a*a*a*b", "(a?){50}a{50}b"])
def test_no_pattern_takes_long(text: str) -> None:
    """
    Those that stop other engines for ever are as quick as any.
    """
    pattern, begun = Pattern(text), time.process_time()

    assert not pattern.matches("a" * 20_000)
    assert time.process_time() - begun < 5
