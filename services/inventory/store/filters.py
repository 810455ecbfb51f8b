# SPDX-License-Identifier: Apache-2.0
"""The filter of ListServers as a condition of SQL."""

from __future__ import annotations

from typing import Literal

from services.inventory.domain.checks import Checks
from services.inventory.domain.server import NodeType
from services.kernel.errors import InvalidField
from services.runtime.filters import Term, parse

_COLUMNS = ("display_name", "resource_class", "node_type", "site", "rack", "reserved_by", "unavailable_reason")
FIELDS = (*_COLUMNS, "manufacturer", "bmc_address", "mac_address", "available")
"""What servers may be filtered by, beside labels.KEY."""


def where(filter_: str, dialect: Literal["sqlite", "postgresql"]) -> tuple[str, list[object]]:
    """The condition for *filter_* and its parameters; true of every server if it is empty.

    Raises:
        InvalidField: it is no filter, or a value cannot be one of its field.
    """
    conditions, values = ["1 = 1"], list[object]()
    for term in parse(filter_, FIELDS, ("labels",)):
        condition, value = _condition(term, dialect)
        conditions.append(condition)
        values += value
    return " AND ".join(conditions), values


def _condition(term: Term, dialect: str) -> tuple[str, list[object]]:
    op = "=" if term.op == "=" else "<>"
    if "\x00" in term.value:
        raise _refused(term, "text")
    if term.field == "labels":
        if dialect == "sqlite":
            return f"coalesce(json_extract(labels, ?), '') {op} ?", [f'$."{term.key}"', term.value]
        return f"coalesce(labels::json ->> ?::text, '') {op} ?", [term.key, term.value]
    if term.field == "available":
        if term.value not in {"true", "false"}:
            raise _refused(term, "true or false")
        return f"available {op} ?", [int(term.value == "true")]
    if term.field == "mac_address":
        has = "EXISTS" if op == "=" else "NOT EXISTS"
        match = f"{has} (SELECT 1 FROM server_keys k WHERE k.kind = 'mac' AND k.value = ? AND k.server = servers.uuid)"
        return match, [_canonical(term, "mac")]
    if term.field == "bmc_address":
        return f"bmc_address {op} ?", [_canonical(term, "host")]
    if term.field == "manufacturer":
        return f"lower(manufacturer) {op} lower(?)", [term.value]
    if term.field == "node_type":
        return f"node_type {op} ?", [_node_type(term)]
    return f"{term.field} {op} ?", [term.value]


def _canonical(term: Term, kind: Literal["mac", "host"]) -> str:
    checks = Checks()
    value = checks.mac(term.field, term.value) if kind == "mac" else checks.host(term.field, term.value)
    if checks.violations:
        raise _refused(term, "an address")
    return value


def _node_type(term: Term) -> str:
    word = term.value.lower().removeprefix("node_type_").replace("_", "-")
    if word not in set(NodeType):
        raise _refused(term, ", ".join(NodeType))
    return word


def _refused(term: Term, wanted: str) -> InvalidField:
    return InvalidField(
        "filter", f"{term.field} is compared with something that is not {wanted}", remedy=f"Give {wanted}."
    )
