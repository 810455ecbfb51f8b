# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cli.failures import BadUsage
from services.cli.selector import Term, parse_selector, quote


@pytest.mark.parametrize(
    ("text", "inventory"),
    [
        ("", ""),
        ("rack=R12", 'rack = "R12"'),
        ("rack=R12,class=gold", 'rack = "R12" AND resource_class = "gold"'),
        (" rack = R12 , name!=x ", 'rack = "R12" AND display_name != "x"'),
        ("env=lab", 'labels.env = "lab"'),
        ("label.rack=7", 'labels.rack = "7"'),
        ("reserved-by=projects/p/instances/i", 'reserved_by = "projects/p/instances/i"'),
        ("name==x", 'display_name = "x"'),
        ('note=say "hi"', 'labels.note = "say \\"hi\\""'),
    ],
)
def test_what_inventory_is_asked(text: str, inventory: str) -> None:
    """
    Our words become inventory's fields; any other word is a label's.
    """
    assert inventory == parse_selector(text).inventory


def test_what_lifecycle_knows_is_kept_apart() -> None:
    """
    States and the like are terms for afterwards.
    """
    found = parse_selector("state=active,rack=R1,power!=on")

    assert found.inventory == 'rack = "R1"'
    assert found.status == (Term("state", "active"), Term("power", "on", negated=True))


@pytest.mark.parametrize("text", ["rack", "=R12", "rack=", "!=x", "rack=R1,,class"])
def test_what_is_no_selector_is_refused(text: str) -> None:
    """
    A term without key or value is refused, with the keys there are.
    """
    with pytest.raises(BadUsage) as caught:
        parse_selector(text)

    assert "rack" in caught.value.remedy


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_quoted_value_ends_where_it_should(value: str) -> None:
    """
    No value can end its own quotes and go on as a filter.
    """
    quoted = quote(value)

    assert quoted[0] == quoted[-1] == '"'
    assert quoted[1:-1].replace("\\\\", "").replace('\\"', "").count('"') == 0
