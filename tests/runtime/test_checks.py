# SPDX-License-Identifier: Apache-2.0
"""What a contract says of a request is held against it, all at once and field by field."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.errors import InvalidField, InvalidFields
from services.runtime.checks import MAX_STRING, MAX_VIOLATIONS, Checker, is_uuid
from tests.support.notes import Note, UpdateNoteRequest, WriteNoteRequest

CHECKER = Checker()
DEEP = "note.free.fields[a].struct_value.fields[b].list_value.values[0].string_value"


def note(**more: Any) -> Any:
    return Note(**{"text": "t", "count": 0, **more})


def wrong(request: Message, *, suspect: bool = True) -> list[tuple[str, str]]:
    try:
        CHECKER.check(request, suspect=suspect)
    except InvalidFields as error:
        return [(violation.field, violation.description) for violation in error.violations]
    return []


def write(**more: Any) -> Any:
    return WriteNoteRequest(**{"note": note(), "paths": ["p"], **more})


def test_a_whole_request_passes() -> None:
    """
    A request with everything required, also a required number that is 0 and present, passes.
    """
    full = note(
        kind=1,
        kinds=[0, 1],
        data=b"\x00",
        ratio=1.5,
        time={"seconds": 1},
        delay={"seconds": -1, "nanos": -5},
        answers=[note()],
        labels={"a": "b"},
        parts={"x": note()},
        free={"a": [1, "b"]},
    )
    assert wrong(write(note=full, request_id="6F1C2A52-9a2f-4b6e-8f6e-1f2d3c4b5a69")) == []


def test_all_missing_fields_are_told_at_once() -> None:
    """
    Every required field that is missing is named by its path, also inside messages, lists and maps that are present.
    """
    broken = note(answers=[note(), Note(count=1)], parts={"k": Note(text="t")})
    with pytest.raises(InvalidFields) as caught:
        CHECKER.check(WriteNoteRequest(), suspect=False)

    assert caught.value.remedy
    assert wrong(WriteNoteRequest()) == [("note", "is required"), ("paths", "is required")]
    assert wrong(write(note=Note())) == [("note.text", "is required"), ("note.count", "is required")]
    assert wrong(write(note=broken)) == [
        ("note.answers[1].text", "is required"),
        ("note.parts[k].count", "is required"),
    ]


def test_one_violation_is_an_invalid_field() -> None:
    """
    One thing wrong is InvalidField with the field in its facts; endless many are cut.
    """
    with pytest.raises(InvalidField) as one:
        CHECKER.check(write(paths=[]), suspect=False)
    assert one.value.facts["field"] == "paths"
    assert len(wrong(write(note=note(answers=[Note()] * 500)))) == MAX_VIOLATIONS


@pytest.mark.parametrize(
    ("request_", "field", "words"),
    [
        (write(page_size=-1), "page_size", "negative"),
        (write(request_id="x"), "request_id", "UUID"),
        (write(note=note(kind=7)), "note.kind", "unknown value 7"),
        (write(note=note(kinds=[1, -3])), "note.kinds", "unknown value -3"),
        (write(note=note(ratio=float("nan"))), "note.ratio", "finite"),
        (write(note=note(ratio=float("inf"))), "note.ratio", "finite number"),
        (write(note=note(text="a\x00b")), "note.text", "NUL"),
        (write(note=note(text="a" * (MAX_STRING + 1))), "note.text", "longer than"),
        (write(paths=["ok", "\x00"]), "paths", "NUL"),
        (write(note=note(labels={"a\x00": "b"})), "note.labels", "NUL"),
        (write(note=note(labels={"a": "b\x00"})), "note.labels[a]", "NUL"),
        (write(note=note(parts={"a\x00": note()})), "note.parts", "NUL"),
        (write(note=note(free={"a": {"b": ["\x00"]}})), DEEP, "NUL"),
        (write(note=note(time={"seconds": 253402300800})), "note.time", "between the years"),
        (write(note=note(time={"nanos": -1})), "note.time", "time between"),
        (write(note=note(delay={"seconds": 1, "nanos": -1})), "note.delay", "duration"),
        (write(note=note(delay={"seconds": 2**60})), "note.delay", "10,000 years"),
        (write(note=note(answers=[note(answers=[note(kind=9)])])), "note.answers[0].answers[0].kind", "unknown"),
    ],
)  # fmt: skip
def test_each_refusal(request_: Message, field: str, words: str) -> None:
    """
    Whatever is wrong is told with the path of its field.
    """
    ((found, description),) = wrong(request_)

    assert found == field
    assert words in description


def test_unknown_fields_are_refused() -> None:
    """
    A field that the contract does not have is refused by its number, at any depth: a typing error must not be ignored.
    """
    extra = b"\xa2\x06\x01x"  # field 100, one byte
    top = WriteNoteRequest.FromString(write().SerializeToString() + extra)
    deep = write(note=Note.FromString(note().SerializeToString() + extra))

    assert wrong(top) == [("100", "unknown field number 100")]
    assert wrong(deep) == [("note.100", "unknown field number 100")]


@pytest.mark.parametrize(
    ("mask", "missing"),
    [
        ([], []),
        (["kind"], []),
        (["text"], ["note.text"]),
        (["time", "count"], ["note.count"]),
        (["*"], ["note.text", "note.count"]),
    ],
)
def test_an_update_needs_only_what_it_changes(mask: list[str], missing: list[str]) -> None:
    """
    Of a resource in an update, required fields are asked for where the mask names them; * names all, no mask those set.
    """
    request = UpdateNoteRequest(note=Note(kind=1), update_mask={"paths": mask})

    assert [found for found, _ in wrong(request)] == missing


@given(st.binary(max_size=200))
def test_no_bytes_break_the_checks(data: bytes) -> None:
    """
    Whatever parses is accepted or refused as InvalidFields, never anything else.
    """
    try:
        request = WriteNoteRequest.FromString(data)
    except Exception:  # noqa: BLE001 -- not a message at all
        return
    wrong(request)


@given(st.text(max_size=40))
def test_a_uuid_is_canonical(text: str) -> None:
    """
    Only the form with hyphens is a UUID.
    """
    assert not is_uuid(text) or len(text) == 36
