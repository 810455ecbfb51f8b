# SPDX-License-Identifier: Apache-2.0
"""Resource names are parsed and formatted in one place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel import names
from services.kernel.errors import InvalidField
from services.kernel.names import Pattern, new_id, stable_uuid

UUID = "6f1c2a52-9a2f-4b6e-8f6e-1f2d3c4b5a69"
PATTERNS = [value for value in vars(names).values() if isinstance(value, Pattern)]
IDS = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?", fullmatch=True)


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.text)
@given(data=st.data())
def test_names_come_back(pattern: Pattern, data: st.DataObject) -> None:
    """
    What a pattern formats it parses, into the same values.
    """
    variables = [part for part in pattern.text.split("/") if part.startswith("{")]
    values = tuple(
        str(data.draw(st.uuids())) if variable.endswith("uuid}") else data.draw(IDS) for variable in variables
    )

    assert pattern.parse(pattern.format(*values)) == values


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.text)
@given(text=st.text(max_size=80))
def test_other_texts_are_refused(pattern: Pattern, text: str) -> None:
    """
    Any text is parsed or refused with the field's name and the form.
    """
    refusal: InvalidField | None = None
    try:
        assert pattern.format(*pattern.parse(text, "server.name")) == text
    except InvalidField as error:
        refusal = error
    if refusal is not None:
        assert refusal.facts["field"] == "server.name"
        assert pattern.text in refusal.remedy


@pytest.mark.parametrize(
    "name",
    [
        "",
        "servers/",
        f"servers/{UUID.upper()}",
        f"servers/{UUID}/",
        f"/servers/{UUID}",
        "servers/a",
        f"server/{UUID}",
        f"servers/{UUID}\n",
        "x" * 10_000,
    ],
)
def test_a_server_is_a_canonical_uuid(name: str) -> None:
    """
    Only servers/{uuid} with a canonical lower-case UUID names a server; a long name is not repeated in full.
    """
    with pytest.raises(InvalidField) as caught:
        names.SERVER.parse(name)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("value", ["a", "a" * 63, "0", "gpu-large", "v1.2_3"])
def test_ids_that_may_be(value: str) -> None:
    """
    One to 63 lower-case letters, digits and inner -, _ and . make an id.
    """
    assert new_id(value, "flavor_id") == value


@pytest.mark.parametrize("value", ["", "a" * 64, "A", "-a", "a-", "a/b", "a b", "ö", "a\n", "."])
def test_ids_that_may_not_be(value: str) -> None:
    """
    Anything else is refused by the field that held it.
    """
    with pytest.raises(InvalidField) as caught:
        new_id(value, "flavor_id")
    assert caught.value.facts["field"] == "flavor_id"


PARTS = st.lists(st.text(alphabet="ab", max_size=3), min_size=1, max_size=4)


@given(PARTS, PARTS)
def test_a_step_has_one_identity(parts: list[str], others: list[str]) -> None:
    """
    The same parts give the same UUID, always; other parts another, however they would join.
    """
    assert (stable_uuid(*parts) == stable_uuid(*others)) == (parts == others)
    assert stable_uuid("intent", "step", "target") == "da1fb742-53c7-599a-88ec-13df0eb777d8"
