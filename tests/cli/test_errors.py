# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from services.cli.errors import render
from services.cli.failures import CliError
from services.kernel.errors import (
    BmsError,
    Busy,
    DeadlineExceeded,
    Exhausted,
    FieldViolation,
    Forbidden,
    InvalidField,
    InvalidFields,
    NotFound,
    PeerUnavailable,
    Stale,
    Unauthenticated,
)
from tests.cli.conftest import Shell
from tests.cli.fakes.world import World


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFound("no such thing", remedy="Look."), 1),
        (Forbidden("you may not", remedy="Ask."), 1),
        (Unauthenticated("who are you", remedy="Log in."), 1),
        (Stale("it changed", remedy="Read again."), 1),
        (Busy("somebody has it", remedy="Wait."), 1),
        (Exhausted("none left", remedy="Buy more."), 1),
        (PeerUnavailable("network does not answer", remedy="Start it."), 3),
        (DeadlineExceeded("too late", remedy="Again."), 4),
    ],
)
def test_a_refusal_is_reason_text_and_remedy(bms: Shell, world: World, error: BmsError, code: int) -> None:
    """
    Whatever a service refuses is told on standard error in these three parts, and the exit code tells its kind.
    """
    world.refusals["ListFlavors"] = error

    said = bms("flavor list")

    assert said.out == ""
    assert said.err == f"Error {error.reason}: {error}\nRemedy: {error.remedy}\n"
    assert said.code == code


def test_malformed_fields_are_listed(bms: Shell, world: World) -> None:
    """
    Each malformed field stands on a line of its own, with what is wrong with it.
    """
    world.refusals["CreateFlavor"] = InvalidFields(
        [FieldViolation("flavor_id", "is too long"), FieldViolation("flavor.min_cpus", "is negative")],
        remedy="Correct them.",
    )

    said = bms("flavor create x")

    assert said.err.splitlines() == [
        "Error INVALID_FIELDS: the request has malformed fields",
        "  flavor_id        is too long",
        "  flavor.min_cpus  is negative",
        "Remedy: Correct them.",
    ]


def test_one_malformed_field(bms: Shell, world: World) -> None:
    """
    A single field is shown the same way.
    """
    world.refusals["CreateFlavor"] = InvalidField("flavor_id", "is too long", remedy="Choose another.")

    assert "  flavor_id  is too long" in bms("flavor create x").err


def test_services_that_are_not_there(offline: Shell) -> None:
    """
    No connection is exit code 3, and says how to start them or where to look.
    """
    said = offline("flavor list")

    assert said.code == 3
    assert "Error UNAVAILABLE: no answer:" in said.err
    assert "bms up" in said.err
    assert "Traceback" not in said.err


def test_a_call_that_takes_too_long(bms: Shell, world: World) -> None:
    """
    A deadline that passes is exit code 4.
    """
    world.delays["ListFlavors"] = 1.0

    said = bms("flavor list --request-timeout 0.2")

    assert said.code == 4
    assert "--request-timeout" in said.err


def test_an_internal_error_shows_where_it_is_in_the_log(bms: Shell, world: World) -> None:
    """
    An error that nobody foresaw comes as the service words it, without a traceback.
    """
    world.refusals["ListFlavors"] = _Unforeseen("internal error; the log has it under request id x")

    said = bms("flavor list")

    assert said.code == 1
    assert "request id x" in said.err
    assert "Traceback" not in said.err


class _Unforeseen(BmsError):
    """Not in the table."""

    reason = "INTERNAL"


def test_no_tokens_at_all(
    offline: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """
    A directory where `bms up` never ran is told as such.
    """
    monkeypatch.setenv("BMS_DATA_DIR", str(tmp_path_factory.mktemp("empty")))

    said = offline("server list")

    assert said.code == 1
    assert "Error NO_TOKEN: there are no tokens in" in said.err
    assert "bms up" in said.err


def test_an_unknown_login(offline: Shell) -> None:
    """
    --as somebody unknown lists who is known.
    """
    said = offline("--as nobody flavor list")

    assert said.code == 1
    assert "admin, site, tenant-a" in said.err


def test_a_token_file_that_cannot_be_read(bms: Shell) -> None:
    """
    A login whose token was removed is told with its file.
    """
    bms.data.token_file("site").unlink()

    said = bms("flavor list")

    assert said.code == 1
    assert "site.token cannot be read" in said.err


def test_no_project(bms: Shell) -> None:
    """
    An administrator without a project is asked for one where it matters.
    """
    said = bms("--as admin instance list")

    assert said.code == 2
    assert "which project?" in said.err


def test_an_unknown_service_in_an_endpoint(offline: Shell) -> None:
    """
    --endpoint names one of the five.
    """
    said = offline("flavor list --endpoint nova=127.0.0.1:1")

    assert said.code == 2
    assert "'nova' is not a service" in said.err


def test_a_broken_file_in_the_data_directory(offline: Shell) -> None:
    """
    A half-written file of the data directory is told, with the way to mend it.
    """
    (offline.data.path / "endpoints.json").write_text("{")

    said = offline("flavor list")

    assert said.code == 1
    assert "endpoints.json cannot be read" in said.err


def test_colours_are_for_terminals() -> None:
    """
    An error in colour has the same words as one without.
    """
    error = CliError("it broke", reason="BROKEN", remedy="Mend it.", fields=[("a", "b")])

    plain, coloured = render(error, color=False), render(error, color=True)

    assert "\x1b" not in plain
    assert "\x1b[31m" in coloured
