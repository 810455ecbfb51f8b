# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from services.cli.screen import Column, Screen, age, span, style_of
from services.cli.waiting import Progress

ROWS = [("a", "available"), ("longer", "quarantined")]
COLUMNS: tuple[Column[tuple[str, str]], ...] = (
    Column("NAME", lambda row: row[0]),
    Column("STATE", lambda row: row[1]),
    Column("MORE", lambda row: row[0] * 2, wide=True),
)


def shown(screen: Screen, capsys: pytest.CaptureFixture[str], rows: list[tuple[str, str]] = ROWS) -> str:
    screen.rows(rows, COLUMNS, name=lambda row: f"things/{row[0]}", as_data=lambda row: {"name": row[0]})
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("table", "NAME    STATE\na       available\nlonger  quarantined\n"),
        ("wide", "NAME    STATE        MORE\na       available    aa\nlonger  quarantined  longerlonger\n"),
        ("name", "things/a\nthings/longer\n"),
        ("json", '[\n  {\n    "name": "a"\n  },\n  {\n    "name": "longer"\n  }\n]\n'),
        ("yaml", "- name: a\n- name: longer\n"),
    ],
)
def test_every_format(capsys: pytest.CaptureFixture[str], output: str, text: str) -> None:
    """
    The same rows in each format, without a colour where nobody looks.
    """
    assert text == shown(Screen(output), capsys)


def test_nothing_is_an_empty_list_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """
    People are told that there is nothing; programs get an empty list.
    """
    assert shown(Screen("json"), capsys, []) == "[]\n"
    assert shown(Screen("table"), capsys, []) == ""


def test_colours_do_not_move_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """
    With colours the text is the same.
    """
    import re

    plain, coloured = shown(Screen("table"), capsys), shown(Screen("table", color=True), capsys)

    assert "\x1b[32m" in coloured
    assert "\x1b[31m" in coloured
    assert plain == "".join(line.rstrip() + "\n" for line in re.sub(r"\x1b\[\d+m", "", coloured).splitlines())


def test_a_terminal_gets_rich_tables(capsys: pytest.CaptureFixture[str]) -> None:
    """
    On a terminal the table is rich's, with all its words.
    """
    out = shown(Screen("table", color=True, live=True), capsys)

    for word in ("NAME", "longer", "quarantined"):
        assert word in out


@pytest.mark.parametrize(
    ("environ", "color", "expected"),
    [
        ({}, None, False),
        ({"FORCE_COLOR": "1"}, None, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, None, False),
        ({}, True, True),
    ],
)
def test_who_gets_colours(environ: dict[str, str], color: bool | None, expected: bool) -> None:
    """
    Colours are for terminals and for who asks; NO_COLOR is heeded.
    """
    assert expected is Screen.choose("", color, environ).color


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59, "59s"),
        (60, "1m"),
        (192, "3m12s"),
        (3600, "1h"),
        (7500, "2h5m"),
        (86400, "1d"),
        (100_000, "1d3h"),
    ],
)
def test_spans(seconds: int, text: str) -> None:
    """
    A length of time is told in its two largest units.
    """
    assert text == span(timedelta(seconds=seconds))


@given(st.integers(0, 10**8), st.integers(1, 10**8))
def test_a_longer_span_never_reads_as_shorter(seconds: int, more: int) -> None:
    """
    What is left out of a span is less than its smallest unit shown.
    """
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}

    def length(text: str) -> int:
        import re

        return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([smhd])", text))

    assert length(span(timedelta(seconds=seconds))) <= length(span(timedelta(seconds=seconds + more)))


def test_what_was_never_has_no_age() -> None:
    """
    A time that is not set is shown as nothing.
    """
    stamp = Timestamp()
    stamp.FromDatetime(datetime(2026, 1, 1, tzinfo=UTC))

    assert age(Timestamp()) == ""
    assert age(stamp, datetime(2026, 1, 1, 0, 1, 5, tzinfo=UTC)) == "1m5s"


@pytest.mark.parametrize(
    ("word", "style"), [("available", "green"), ("cleaning", "yellow"), ("quarantined", "red"), ("r1-01", "")]
)
def test_states_have_colours(word: str, style: str) -> None:
    """
    What rests well is green, what moves yellow, what needs somebody red.
    """
    assert style == style_of(word)


def test_progress_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """
    The bar shows the stage, how long it may take, and what it waits for.
    """
    from services.cli.waiting import _Bars

    bars = _Bars()
    with bars:
        bars.update("web", Progress(40, "write_image", "1h", "3s", "BMC_SILENT: no [answer]"))
        bars.end("web", "done", "green")

    assert "web" in capsys.readouterr().out
