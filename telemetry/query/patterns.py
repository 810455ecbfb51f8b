# SPDX-License-Identifier: Apache-2.0
r"""Regular expressions of queries, matched in time that grows with the text alone.

Python's own engine tries alternatives one after the other, and holds every thread of the process meanwhile: a few
characters of pattern could stop telemetry for hours. Here all alternatives move on together, character by character
(partial derivatives, after Antimirov); what follows on a character is remembered.

Known are characters, ``.`` (any), classes, ``\d \w \s`` and their opposites (ASCII), groups, ``|`` and
``* + ? {m} {m,} {m,n}``. The whole text must match, as the reference demands; ``^`` in front and ``$`` at the end say
so once more. Nothing is captured and nothing looked back at.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

LONGEST: Final = 200
"""Characters of a pattern."""
LARGEST: Final = 300
"""Parts of a pattern once its counted repetitions are written out."""
_REMEMBERED: Final = 20_000


class PatternError(ValueError):
    """It is no pattern, or one that is too large; the text says which."""


# Tuples of different kinds would be equal if their parts are: each names its kind.
class _Some(NamedTuple):
    """One character out of *ranges* (first, last), or one that is in none of them."""

    ranges: tuple[tuple[str, str], ...]
    other: bool = False
    kind: str = "some"


class _Both(NamedTuple):
    first: _Part
    then: _Part
    kind: str = "both"


class _Either(NamedTuple):
    one: _Part
    another: _Part
    kind: str = "either"


class _Often(NamedTuple):
    part: _Part
    kind: str = "often"


_Part: TypeAlias = _Some | _Both | _Either | _Often | None
"""None matches the empty text."""

_ANY: Final = _Some((), other=True)
_CLASSES: Final[Mapping[str, tuple[tuple[str, str], ...]]] = MappingProxyType(
    {"d": (("0", "9"),), "w": (("0", "9"), ("A", "Z"), ("_", "_"), ("a", "z")), "s": (("\t", "\r"), (" ", " "))}
)
_SPACES: Final[Mapping[str, str]] = MappingProxyType({"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"})


class Pattern:
    """A pattern, ready to match.

    Raises:
        PatternError: *text* is none.
    """

    def __init__(self, text: str) -> None:
        self._start = frozenset({_Reader(text).whole()})
        self._next: dict[tuple[frozenset[_Part], str], frozenset[_Part]] = {}
        self._states = {self._start: self._start}

    def matches(self, text: str) -> bool:
        """Whether all of *text* matches."""
        state = self._start
        for character in text:
            after = self._next.get((state, character))
            if after is None:
                if len(self._next) >= _REMEMBERED:
                    self._next.clear()
                    self._states.clear()
                after = frozenset(rest for part in state for rest in _after(part, character))
                # One object for equal states: they need not be compared in depth for each character.
                after = self._states.setdefault(after, after)
                self._next[state, character] = after
            if not after:
                return False
            state = after
        return any(_may_be_empty(part) for part in state)


def _after(part: _Part, character: str) -> frozenset[_Part]:
    """What may follow in *part* behind *character*."""
    match part:
        case None:
            return frozenset()
        case _Some(ranges, other):
            within = any(low <= character <= high for low, high in ranges)
            return frozenset({None}) if within is not other else frozenset()
        case _Both(first, then):
            found = frozenset(_both(rest, then) for rest in _after(first, character))
            return found | _after(then, character) if _may_be_empty(first) else found
        case _Either(one, another):
            return _after(one, character) | _after(another, character)
        case _Often(repeated):
            return frozenset(_both(rest, part) for rest in _after(repeated, character))


@lru_cache(maxsize=4096)
def _may_be_empty(part: _Part) -> bool:
    match part:
        case None | _Often():
            return True
        case _Some():
            return False
        case _Both(first, then):
            return _may_be_empty(first) and _may_be_empty(then)
        case _Either(one, another):
            return _may_be_empty(one) or _may_be_empty(another)


def _both(first: _Part, then: _Part) -> _Part:
    if first is None:
        return then
    return first if then is None else _Both(first, then)


class _Reader:
    """Reads a pattern from left to right."""

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            msg = f"has more than {LONGEST} characters"
            raise PatternError(msg)
        text = text.removeprefix("^")
        behind = text[: len(text) - 1]
        escaped = (len(behind) - len(behind.rstrip("\\"))) % 2 == 1
        self._text = behind if text.endswith("$") and not escaped else text
        self._at = 0
        self._parts = 0

    def whole(self) -> _Part:
        part = self._alternatives()
        if self._at < len(self._text):
            msg = "closes a group that was not opened"
            raise PatternError(msg)
        return part

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self, what: str) -> str:
        character = self._peek()
        if not character:
            msg = f"ends within {what}"
            raise PatternError(msg)
        self._at += 1
        return character

    def _taken(self, text: str) -> bool:
        found = self._text.startswith(text, self._at)
        self._at += len(text) if found else 0
        return found

    def _count(self, parts: int = 1) -> None:
        self._parts += parts
        if self._parts > LARGEST:
            msg = f"has more than {LARGEST} parts, its repetitions written out"
            raise PatternError(msg)

    def _alternatives(self) -> _Part:
        part = self._sequence()
        while self._taken("|"):
            self._count()
            part = _Either(part, self._sequence())
        return part

    def _sequence(self) -> _Part:
        parts: list[_Part] = []
        while self._peek() not in {"", "|", ")"}:
            parts.append(self._repeated())
        whole: _Part = None
        for part in reversed(parts):
            whole = _both(part, whole)
        return whole

    def _repeated(self) -> _Part:
        before = self._parts
        part = self._atom()
        while True:
            size = max(1, self._parts - before)
            if self._taken("*"):
                part = _often(part)
            elif self._taken("+"):
                self._count(size)
                part = _both(part, _often(part))
            elif self._taken("?"):
                self._count()
                part = _Either(part, None)
            elif self._taken("{"):
                part = self._counted(part, size)
            else:
                return part

    def _counted(self, part: _Part, size: int) -> _Part:
        given, closed, _ = self._text[self._at :].partition("}")
        low, comma, high = given.partition(",")
        if not closed or not _is_number(low) or not (_is_number(high) or not high):
            msg = "has a repetition that is not {m}, {m,} or {m,n}"
            raise PatternError(msg)
        self._at += len(given) + 1
        least, most = int(low), int(high) if high else None if comma else int(low)
        if most is not None and most < least:
            msg = "has a repetition whose greatest number is below its least"
            raise PatternError(msg)
        self._count(size * (least + 1 if most is None else most))
        end: _Part = _often(part) if most is None else None
        for _ in range((most or least) - least):
            end = _Either(_both(part, end), None)
        for _ in range(least):
            end = _both(part, end)
        return end

    def _atom(self) -> _Part:
        self._count()
        character = self._take("a pattern")
        match character:
            case "(":
                if self._taken("?") and not self._taken(":"):
                    msg = "has a group of a kind that is not known"
                    raise PatternError(msg)
                part = self._alternatives()
                if self._take("a group") != ")":
                    raise AssertionError  # alternatives end at nothing else
                return part
            case "[":
                return self._class()
            case ".":
                return _ANY
            case "\\":
                return self._escaped()
            case "*" | "+" | "?" | "{":
                msg = f"repeats nothing, at {character}"
                raise PatternError(msg)
            case "^" | "$":
                msg = f"has {character} within, where it can match nothing; write \\{character} for the character"
                raise PatternError(msg)
            case _:
                return _Some(((character, character),))

    def _escaped(self) -> _Some:
        character = self._take("an escape")
        if character.lower() in _CLASSES:
            return _Some(_CLASSES[character.lower()], other=character.isupper())
        plain = self._plain(character)
        return _Some(((plain, plain),))

    def _plain(self, character: str) -> str:
        if character in _SPACES:
            return _SPACES[character]
        if character.isalnum():
            msg = f"has the escape \\{character}, which is not known"
            raise PatternError(msg)
        return character

    def _class(self) -> _Some:
        other = self._taken("^")
        ranges: list[tuple[str, str]] = []
        while True:
            character = self._take("a class")
            if character == "]" and ranges:
                return _Some(tuple(ranges), other)
            if character == "[" and self._peek() in {":", "=", "."}:
                msg = "has a named class, which is not known"
                raise PatternError(msg)
            if character == "\\":
                character = self._take("an escape")
                if character in _CLASSES:
                    ranges += _CLASSES[character]
                    continue
                character = self._plain(character)
            ranges.append((character, self._last(character)))

    def _last(self, first: str) -> str:
        """The end of a range in a class; *first* if there is none."""
        if self._peek() != "-" or self._text[self._at + 1 : self._at + 2] in {"]", ""}:
            return first
        self._at += 1
        last = self._take("a class")
        if last == "\\":
            last = self._plain(self._take("an escape"))
        if last < first:
            msg = f"has the range {first}-{last}, which is empty"
            raise PatternError(msg)
        return last


def _often(part: _Part) -> _Part:
    return part if part is None or isinstance(part, _Often) else _Often(part)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 3
