# SPDX-License-Identifier: Apache-2.0
"""Names, and what listings are asked for, on the wire."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from services.ipam.domain.addresses import (
    key,
    parse_address,
    parse_host_name,
    parse_mac,
)
from services.ipam.domain.leases import LeaseState
from services.ipam.operations.ports import Condition
from services.kernel.errors import InvalidField
from services.kernel.names import LEASE, PREFIX, PROJECT
from services.runtime.filters import Term, parse

_ALL = "projects/-"


def project_of(parent: str) -> str:
    """The project of a listing's *parent*; "" for all."""
    return "" if parent == _ALL else PROJECT.parse(parent, "parent")[0]


def lease_name(name: str) -> str:
    """*name*, if it is of the form of a lease's.

    Raises:
        InvalidField: it is not.
    """
    LEASE.parse(name)
    return name


def prefix_name(name: str, field: str = "name") -> str:
    """*name*, if it is of the form of a prefix's.

    Raises:
        InvalidField: it is not.
    """
    PREFIX.parse(name, field)
    return name


def prefix_conditions(text: str) -> list[Condition]:
    """The filter *text* of a listing of prefixes.

    Raises:
        InvalidField: it is none.
    """
    return _conditions(text, {"network": str, "vrf": str, "ip_version": _version, "parent_prefix": str})


def lease_conditions(text: str) -> list[Condition]:
    """The filter *text* of a listing of leases.

    Raises:
        InvalidField: it is none.
    """
    return _conditions(
        text,
        {
            "network": str,
            "prefix": str,
            "vrf": str,
            "address": lambda value: key(parse_address(value, "filter")),
            "owner": str,
            "mac_address": lambda value: parse_mac(value, "filter"),
            "host_name": lambda value: parse_host_name(value, "filter"),
            "state": _state,
        },
    )


def _conditions(text: str, fields: dict[str, Callable[[str], str]]) -> list[Condition]:
    terms: Sequence[Term] = parse(text, fields)
    return [Condition(term.field, term.op == "=", fields[term.field](term.value)) for term in terms]


def _version(value: str) -> str:
    if value in {"4", "6"}:
        return value
    raise InvalidField("filter", "has an ip_version that is neither 4 nor 6", remedy="Give ip_version = 4 or 6.")


def _state(value: str) -> str:
    plain = value.upper().removeprefix("STATE_")
    if plain in LeaseState.__members__:
        return LeaseState[plain].value
    known = ", ".join(f"STATE_{state}" for state in LeaseState.__members__)
    raise InvalidField("filter", "has an unknown state", remedy=f"Give one of {known}.", supported=known)
