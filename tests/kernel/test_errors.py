# SPDX-License-Identifier: Apache-2.0
"""Errors say what happened, to a person and to a program."""

from __future__ import annotations

import re

import pytest

from services.kernel import errors
from services.kernel.calls import Caller, Role
from services.kernel.effect import effect, observed
from services.kernel.errors import BmsError, FieldViolation, InvalidField, InvalidFields, NotFound

KINDS = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, BmsError)]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not BmsError], ids=lambda kind: kind.__name__)
def test_reasons(kind: type[BmsError]) -> None:
    """
    A reason is UPPER_SNAKE of at most 63 characters, its own, and drawn in the module's tree with its class.
    """
    assert re.fullmatch(r"[A-Z][A-Z0-9_]{1,62}", kind.reason)
    assert sum(other.reason == kind.reason for other in KINDS if other is not BmsError) == 1
    assert kind.__name__ in (errors.__doc__ or "")


def test_many_violations_are_told_briefly() -> None:
    """
    The text names ten fields and how many more there are; all are in the error.
    """
    error = InvalidFields([FieldViolation(f"f{number}", "is bad") for number in range(25)])

    assert str(error).endswith("f9: is bad; and 15 more")
    assert len(error.violations) == 25


def test_a_field_is_a_fact() -> None:
    """
    One field is in the text, in the facts and in the violations.
    """
    error = InvalidField("a.b", "is bad", given="x")

    assert (str(error), error.facts) == ("a.b: is bad", {"field": "a.b", "given": "x"})
    assert error.violations == (FieldViolation("a.b", "is bad"),)


@pytest.mark.parametrize(
    ("roles", "reads", "writes"),
    [
        ({Role.ADMIN}, True, True),
        ({Role.SERVICE}, True, True),
        ({Role.READER}, True, False),
        (set(), False, False),
    ],
    ids=["admin", "service", "auditor", "nobody"],
)
def test_site_roles(roles: set[Role], reads: bool, writes: bool) -> None:
    """
    Administrators and services may all in any project, auditors read, others nothing.
    """
    caller = Caller("c", frozenset(roles))

    assert (caller.may_read("p"), caller.may_write("p")) == (reads, writes)


def test_project_roles() -> None:
    """
    A role counts in its project alone; a foreign project's row does not exist.
    """
    caller = Caller("c", frozenset(), {"own": frozenset({Role.READER}), "mine": frozenset({Role.MEMBER})})

    assert (caller.may_read("own"), caller.may_write("own")) == (True, False)
    assert (caller.may_read("mine"), caller.may_write("mine")) == (True, True)
    caller.require_read("own", "projects/own/leases/x")
    with pytest.raises(NotFound, match="does not exist"):
        caller.require_read("other", "projects/other/leases/x")


def test_effects_are_seen_only_while_observed() -> None:
    """
    An observer sees before and after, what it raises happens there, and it is gone after the block.
    """
    seen: list[str] = []
    with observed(lambda label, when: seen.append(f"{when} {label}")), effect("a"), effect("b"):
        seen.append("inside")
    with effect("c"):
        seen.append("unseen")
    assert seen == ["before a", "before b", "inside", "after b", "after a", "unseen"]

    def refuse(label: str, when: str) -> None:
        raise LookupError(f"{when} {label}")

    with observed(refuse), pytest.raises(LookupError, match="before d"), effect("d"):
        seen.append("never")
    assert "never" not in seen
