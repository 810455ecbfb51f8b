# SPDX-License-Identifier: Apache-2.0
"""No line of the log is lost for what its facts are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from services.runtime import logs
from services.runtime.settings import LogSettings


class Speechless:
    """An object that cannot be told."""

    def __str__(self) -> str:
        raise KeyError


class Side(Enum):
    """A choice."""

    LEFT = "left"


@dataclass
class Login:
    """A record with a field that nobody may see."""

    user: str
    password: str
    seen: set[int]


@contextmanager
def configured(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A log in JSON, until the block ends."""
    before = structlog.get_config()
    monkeypatch.setattr(logs, "_fast", None)  # puts back what configure() sets
    logs.configure(LogSettings(level="info", json=True), "ipam")
    try:
        yield
    finally:
        structlog.configure(**before)


CASES: dict[str, tuple[Any, Any]] = {
    "more than 64 bits": (2**64, str(2**64)),
    "less than 64 bits": (-(2**63) - 1, str(-(2**63) - 1)),
    "within lists": ([1, [2**80, 2.5, None, True]], [1, [str(2**80), 2.5, None, True]]),
    "a key": ({2**70: 1}, {str(2**70): 1}),
    "a key that is no text": ({(1, 2): "a"}, {"(1, 2)": "a"}),
    "no UTF-8": ("a\udcffb", "a\\udcffb"),
    "no text at all": (Speechless(), "[Speechless: KeyError]"),
    "too many digits to tell": (10**5000, "[int: ValueError]"),
    "a set": ({2, b"abc"}, [2, "[3 bytes]"]),
    "a choice": (Side.LEFT, "left"),
    "a moment": (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05+00:00"),
    "secrets of a record": (
        Login("me", "hunter2", {2**70}),
        {"user": "me", "password": "[redacted]", "seen": [str(2**70)]},
    ),
    "a secret within a set": ({"a-registered-secret is in it"}, ["[redacted] is in it"]),
    "a secret in an object's words": (Path("/a-registered-secret"), "/[redacted]"),
}


@pytest.mark.parametrize("fast", [False, True], ids=["line", "fast line"])
@pytest.mark.parametrize("case", CASES)
def test_a_fact_that_json_does_not_know_is_written_as_text(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch, case: str, fast: bool
) -> None:
    """
    Numbers that are too great, texts that are none and whatever else: the line is there, with its other facts.
    """
    fact, shown = CASES[case]
    monkeypatch.setattr(logs, "_registered", {"a-registered-secret"})
    with configured(monkeypatch):
        if fast:
            logs.line("odd", {"fact": fact, "number": 2**64 - 1})
        else:
            structlog.get_logger().info("odd", fact=fact, number=2**64 - 1)
    (line,) = capfdbinary.readouterr().err.splitlines()
    read = orjson.loads(line)

    assert (read["event"], read["number"], read["fact"]) == ("odd", 2**64 - 1, shown)


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.just(Speechless()),
    lambda inner: st.lists(inner) | st.dictionaries(st.integers() | st.text(st.characters()) | st.none(), inner),
)


@given(st.dictionaries(st.text(st.characters()), _ANYTHING))
def test_whatever_is_logged_is_one_line(facts: dict[str, Any]) -> None:
    """
    Facts of any shape come out as one line of JSON that can be read again.
    """
    written = logs._dumps(facts)

    assert b"\n" not in written
    assert isinstance(orjson.loads(written), dict)
