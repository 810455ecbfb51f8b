# SPDX-License-Identifier: Apache-2.0
r"""Regular expressions of queries, matched by RE2 in time that grows with the text alone.

Python's own engine tries alternatives one after the other, and holds every thread of the process meanwhile: a few
characters of pattern could stop telemetry for hours. Known is RE2's syntax, which is Python's without look-around and
back references; ``\d \w \s`` are ASCII, ``.`` is any character. The whole text must match, as the reference demands.
"""

from __future__ import annotations

from typing import Final

import re2  # type: ignore[import-untyped]  # it comes without types

LONGEST: Final = 200
"""Characters of a pattern."""
_MEMORY: Final = 1 << 20
"""Bytes of one compiled pattern; counted repetitions are written out in it."""


class PatternError(ValueError):
    """It is no pattern, or one that is too large; the text says which."""


class Pattern:
    """A pattern, ready to match.

    Raises:
        PatternError: *text* is none.
    """

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            msg = f"has {len(text)} characters, of {LONGEST} at most"
            raise PatternError(msg)
        options = re2.Options()
        options.dot_nl, options.log_errors, options.never_capture, options.max_mem = True, False, True, _MEMORY
        try:
            self._compiled = re2.compile(text.encode(), options)
        except UnicodeEncodeError:
            msg = "holds half a character"
            raise PatternError(msg) from None
        except re2.error as error:
            said = error.args[0]
            msg = f"is none: {said.decode(errors='replace') if isinstance(said, bytes) else said}"
            raise PatternError(msg) from None

    def matches(self, text: str) -> bool:
        """Whether all of *text* matches."""
        return self._compiled.fullmatch(text.encode(errors="replace")) is not None
