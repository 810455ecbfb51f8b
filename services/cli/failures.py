# SPDX-License-Identifier: Apache-2.0
"""What goes wrong, and the exit code that says so to scripts."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import ClassVar


class ExitCode(enum.IntEnum):
    """What the shell sees."""

    OK = 0
    """Done."""
    REFUSED = 1
    """A service refused, an operation failed, or a file could not be used."""
    USAGE = 2
    """The line was not understood."""
    UNAVAILABLE = 3
    """A service does not answer; the same line may go through later."""
    TIMED_OUT = 4
    """What was waited for is not done yet; it goes on."""
    UNPROVEN = 5
    """Nothing is known to be wrong, and not everything is proven: a verdict is UNKNOWN or TAINTED."""


class CliError(Exception):
    """Something that the person at the terminal can understand and act on.

    Attributes:
        code: the exit code.
        reason: UPPER_SNAKE word; empty where the message says all.
        fields: (path, what is wrong) of each malformed field.
        remedy: what to do next.
    """

    code: ClassVar[ExitCode] = ExitCode.REFUSED

    def __init__(
        self, message: str, *, remedy: str = "", reason: str = "", fields: Sequence[tuple[str, str]] = ()
    ) -> None:
        super().__init__(message)
        self.remedy = remedy
        self.reason = reason
        self.fields = tuple(fields)


class BadUsage(CliError):
    """The line asks for something that makes no sense."""

    code = ExitCode.USAGE


class Unreachable(CliError):
    """A service does not answer."""

    code = ExitCode.UNAVAILABLE


class TimedOut(CliError):
    """It is not done within the time given."""

    code = ExitCode.TIMED_OUT
