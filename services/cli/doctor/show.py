# SPDX-License-Identifier: Apache-2.0
"""How findings are shown: a table, what to do, JSON; and who is waited for meanwhile."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from services.cli.doctor.page import anchor
from services.cli.doctor.verdicts import Finding, Verdict
from services.cli.screen import Screen

_STYLE = {Verdict.PASS: "green", Verdict.UNKNOWN: "cyan", Verdict.WARN: "yellow", Verdict.FAIL: "red"}
_WORST_FIRST = (Verdict.FAIL, Verdict.WARN, Verdict.UNKNOWN, Verdict.PASS)


class Progress:
    """Says on one line of standard error who is still waited for; nothing where nobody looks on."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._open: list[str] = []
        self._done = 0
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._tell, daemon=True)

    def __enter__(self) -> Self:
        if self._live:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        if self._live:
            self._thread.join()
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def told(self, name: str, done: bool) -> None:
        """Something was begun, or is *done*."""
        with self._lock:
            if not done:
                self._open.append(name)
            elif name in self._open:
                self._open.remove(name)
                self._done += 1

    def _tell(self) -> None:
        while not self._end.wait(0.2):
            with self._lock:
                waiting = ", ".join(self._open)
                text = f"{self._done} of {self._done + len(self._open)} answered"
            if waiting:
                line = f"{text}, {time.monotonic() - self._began:.0f} s: waiting for {waiting}"
                sys.stderr.write(f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}")
                sys.stderr.flush()


def table(screen: Screen, found: Sequence[Finding]) -> None:
    """One line for each finding, and below what to do about those that are no PASS."""
    if not found:
        return
    # What is the same of several is one line.
    same: dict[tuple[str, Verdict, str], list[str]] = {}
    for each in found:
        same.setdefault((each.code, each.verdict, each.text), []).append(each.subject)
    rows = [(*key, subjects[0] + (f" +{len(subjects) - 1}" if subjects[1:] else "")) for key, subjects in same.items()]
    code = max(len(row[0]) for row in rows)
    subject = max(len(row[3]) for row in rows)
    screen.print(screen.styled(f"{'VERDICT':<8} {'CHECK':<{code}}  {'OF':<{subject}}  WHAT", "bold"))
    for name, verdict, text, subjects in rows:
        word = screen.styled(f"{verdict.name:<8}", _STYLE[verdict])
        screen.print(f"{word} {name:<{code}}  {subjects:<{subject}}  {text}".rstrip())


def remedies(screen: Screen, found: Sequence[Finding]) -> None:
    """What to do: once for each check that found something, the worst first."""
    todo: dict[str, list[Finding]] = {}
    for each in sorted(found, key=lambda each: -each.verdict):
        if each.verdict >= Verdict.WARN:
            todo.setdefault(each.code, []).append(each)
    if todo:
        screen.print()
        screen.print(screen.styled("What to do", "bold"))
    for code, those in todo.items():
        worst = max(each.verdict for each in those)
        screen.print()
        screen.print(f"{screen.styled(worst.name, _STYLE[worst])} {screen.styled(code, 'bold')}")
        for each in those:
            screen.print(f"  {each.subject}: {each.text}" if each.subject else f"  {each.text}")
        screen.print(f"  {those[0].remedy}")
        for line in dict.fromkeys(line for each in those for line in each.lines):
            screen.print(screen.styled(f"    {line}", "cyan"))
        for command in dict.fromkeys(command for each in those for command in each.commands):
            screen.print(f"    $ {command}")


def summary(screen: Screen, found: Sequence[Finding], left_out: Mapping[str, str]) -> None:
    """How many of each, and what was not looked at."""
    counts = Counter(each.verdict for each in found)
    told = [screen.styled(f"{counts[each]} {each.name}", _STYLE[each]) for each in _WORST_FIRST if counts[each]]
    screen.print()
    screen.print(", ".join(told) or "Nothing was looked at.")
    for why in dict.fromkeys(left_out.values()):
        screen.note(f"Not looked at: {', '.join(each for each in left_out if left_out[each] == why)} ({why}).")


def as_data(found: Sequence[Finding], left_out: Mapping[str, str], took: float) -> dict[str, object]:
    """All of it, for a program."""
    counts = Counter(each.verdict for each in found)
    worst = max((each.verdict for each in found), default=Verdict.UNKNOWN)
    return {
        "verdict": worst.name,
        "counts": {each.name: counts[each] for each in _WORST_FIRST},
        "seconds": round(took, 2),
        "not_looked_at": dict(left_out),
        "findings": [_finding(each) for each in found],
    }


def _finding(each: Finding) -> dict[str, object]:
    told: dict[str, object] = {
        "code": each.code,
        "section": each.section,
        "verdict": each.verdict.name,
        "subject": each.subject,
        "text": each.text,
    }
    if each.verdict is Verdict.PASS:
        return told
    return {
        **told,
        "remedy": each.remedy,
        "lines": [
            {"file": line.file, "section": line.section, "key": line.key, "value": line.value} for line in each.lines
        ],
        "commands": list(each.commands),
        "more": anchor(each.code),
    }
