# SPDX-License-Identifier: Apache-2.0
"""What a check is, and what it may say."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from services.cli.doctor.facts import Facts, Seen


class Verdict(enum.IntEnum):
    """How something stands; the worse, the greater."""

    PASS = 0
    """It is as it has to be."""
    UNKNOWN = 1
    """It could not be seen, with this login or at all."""
    WARN = 2
    """It works, and something will not."""
    FAIL = 3
    """Servers will be lost, stuck or not isolated."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of configuration; without a section it is a variable of the environment."""

    file: str
    section: str
    key: str
    value: str

    def __str__(self) -> str:
        where = f"{self.file} [{self.section}]" if self.section else f"{self.file}:"
        return f"{where} {self.key} = {self.value}" if self.section else f"{where} {self.key}={self.value}"


@dataclass(frozen=True, slots=True)
class Said:
    """What a check says of one thing.

    Attributes:
        subject: of which of several; empty where there is one.
        lines, commands: in place of the check's own, where what was seen makes them exact.
    """

    verdict: Verdict
    text: str
    subject: str = ""
    lines: tuple[Line, ...] | None = None
    commands: tuple[str, ...] | None = None


Judge = Callable[[Facts], Iterable[Said]]


@dataclass(frozen=True, slots=True)
class Check:
    """One question about a site.

    Attributes:
        code: stable for ever; scripts and runbooks name it.
        asks: what has to hold, in a sentence.
        remedy: what to do if it does not.
        lines: the configuration that repairs it.
        commands: or the commands.
        judge: pure.
    """

    code: str
    section: str
    asks: str
    remedy: str
    judge: Judge
    lines: tuple[Line, ...] = ()
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found of one thing. What to do is empty where nothing is to be done."""

    code: str
    section: str
    verdict: Verdict
    subject: str
    text: str
    remedy: str = ""
    lines: tuple[Line, ...] = ()
    commands: tuple[str, ...] = ()


def check(
    code: str,
    asks: str,
    remedy: str,
    *,
    lines: tuple[Line, ...] = (),
    commands: tuple[str, ...] = (),
    section: str = "",
) -> Callable[[Judge], Check]:
    """Makes a function a check; its section is the first word of *code* unless it is given."""
    return lambda judge: Check(code, section or code.partition("_")[0].lower(), asks, remedy, judge, lines, commands)


def findings(checks: Iterable[Check], facts: Facts) -> Iterator[Finding]:
    """What *checks* find in *facts*."""
    for each in checks:
        for said in each.judge(facts):
            if said.verdict is Verdict.PASS:
                yield Finding(each.code, each.section, said.verdict, said.subject, said.text)
                continue
            lines = each.lines if said.lines is None else said.lines
            commands = each.commands if said.commands is None else said.commands
            yield Finding(each.code, each.section, said.verdict, said.subject, said.text, each.remedy, lines, commands)


def passed(text: str, subject: str = "") -> Said:
    """It is as it has to be."""
    return Said(Verdict.PASS, text, subject)


def warned(text: str, subject: str = "", *, lines: tuple[Line, ...] | None = None) -> Said:
    """Something will not work."""
    return Said(Verdict.WARN, text, subject, lines)


def failed(text: str, subject: str = "", *, lines: tuple[Line, ...] | None = None) -> Said:
    """It is not as it has to be."""
    return Said(Verdict.FAIL, text, subject, lines)


def unseen(why: str, subject: str = "") -> Said:
    """It could not be seen."""
    return Said(Verdict.UNKNOWN, f"could not see: {why}" if why else "could not see", subject)


def unless_seen(what: Seen[object], subject: str = "") -> Iterator[Said]:
    """Says that *what* could not be seen; nothing if it could."""
    if what.value is None:
        yield unseen(what.why, subject)


def some(names: Iterable[str], most: int = 5) -> str:
    """*names* for a sentence: the first few, and how many more."""
    found = list(names)
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more
