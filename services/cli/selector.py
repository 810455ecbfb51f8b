# SPDX-License-Identifier: Apache-2.0
"""Selectors such as ``rack=R12,class=gold,env!=lab``: which servers a verb is meant for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from services.cli.failures import BadUsage

_INVENTORY: Mapping[str, str] = {
    "name": "display_name", "class": "resource_class", "type": "node_type", "site": "site", "rack": "rack",
    "manufacturer": "manufacturer", "bmc": "bmc_address", "mac": "mac_address", "available": "available",
    "reserved-by": "reserved_by", "reason": "unavailable_reason",
}  # fmt: skip
_STATUS = ("state", "power", "instance", "wait", "maintenance", "isolated", "fault")


@dataclass(frozen=True, slots=True)
class Term:
    """``field = value``, or ``!=`` if *negated*."""

    field: str
    value: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Selector:
    """What to select by.

    Attributes:
        inventory: the filter of inventory's list; empty for all.
        status: terms over what lifecycle knows, by the words of `STATUS`.
    """

    inventory: str = ""
    status: tuple[Term, ...] = ()


def parse_selector(text: str) -> Selector:
    """*text* as a selector; a key that is none of ours is a label's.

    Raises:
        BadUsage: a term is not ``key=value`` or ``key!=value``.
    """
    inventory: list[str] = []
    status: list[Term] = []
    for part in filter(None, (each.strip() for each in text.split(","))):
        key, separator, value = part.partition("=")
        negated = key.endswith("!")
        key = key.rstrip("!").strip()
        value = value.removeprefix("=").strip()
        if not separator or not key or not value:
            raise BadUsage(
                f"{part!r} is not KEY=VALUE",
                reason="BAD_SELECTOR",
                remedy=f"Keys are {', '.join([*_INVENTORY, *_STATUS])}; others are labels. Join terms with commas.",
            )
        if key in _STATUS:
            status.append(Term(key, value, negated))
        else:
            field = _INVENTORY.get(key) or _INVENTORY.get(key.replace("_", "-")) or _label(key)
            inventory.append(f"{field} {'!=' if negated else '='} {quote(value)}")
    return Selector(" AND ".join(inventory), tuple(status))


def quote(value: str) -> str:
    """*value* as a filter's string."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _label(key: str) -> str:
    return f"labels.{key.removeprefix('labels.').removeprefix('label.')}"
