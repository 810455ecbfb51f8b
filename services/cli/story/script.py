# SPDX-License-Identifier: Apache-2.0
"""What a story is made of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_SLOT = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True, slots=True)
class Line:
    """A line for the shell, and what must come of it.

    Attributes:
        text: the line. ``{word}`` is replaced by what the stage or an earlier line gave for *word*: ``{tenant}`` by the
            option that makes a tenant of the caller, ``{project}`` by his project, ``{inventory}`` ... by addresses.
        note: what it shows, for the audience.
        code: the exit code it must have.
        says: what its output must contain, each.
        never: what its output must not contain, each.
        keep: word -> a pattern with one group, found in the output for later lines.
        needs: a program that must be there; without it the line is left out.
    """

    text: str
    note: str = ""
    code: int = 0
    says: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    keep: Mapping[str, str] = field(default_factory=dict)
    needs: str = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """Lines under one heading."""

    title: str
    lines: tuple[Line, ...]


def fill(text: str, words: Mapping[str, str]) -> str:
    """*text* with its ``{word}`` replaced; braces around anything else, such as JSON's, stay."""
    return " ".join(_SLOT.sub(lambda found: words.get(found[1], found[0]), text).split("  "))


def faults_of(line: Line, words: Mapping[str, str], code: int, output: str) -> list[str]:
    """In what the end of *line* differs from what it must be; nothing if it is as it must be."""
    found = [] if code == line.code else [f"its exit code is {code}, not {line.code}"]
    found += [f"it does not say {text!r}" for each in line.says if (text := fill(each, words)) not in output]
    found += [f"it says {text!r}" for each in line.never if (text := fill(each, words)) in output]
    found += [f"nothing in it is like {pattern!r}" for pattern in line.keep.values() if not re.search(pattern, output)]
    return found


def kept(line: Line, output: str) -> dict[str, str]:
    """What *line* gives to later ones."""
    return {word: found[1] for word, pattern in line.keep.items() if (found := re.search(pattern, output))}
