# SPDX-License-Identifier: Apache-2.0
"""What an import would do: each server of the file beside the one on record, and every clash among them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from services.inventory.domain import server as servers
from services.inventory.domain.checks import Checks
from services.inventory.domain.import_rows import Fault, Stated
from services.inventory.domain.keys import Key, Owner, keyed, keys
from services.inventory.domain.server import Login, Server, ServerSpec
from services.kernel.errors import FieldViolation, InvalidFields

MAX_FAULTS = 1000

_KINDS = {"name": "name", "bmc": "BMC address", "link": "switch port"}


class Action(StrEnum):
    """What becomes of a server of the file."""

    CREATE = "create"
    UPDATE = "update"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Planned:
    """One server of the file, checked.

    Attributes:
        uuid: of one that is created: the UUID that the file gives; empty: a new one.
        before: the server on record; None if there is none.
        login: what the file gives, in full; empty if it gives none or what is stored already.
        changed: for an update, the fields that differ.
    """

    row: int
    action: Action
    before: Server | None
    spec: ServerSpec
    login: Login
    changed: tuple[str, ...] = ()
    uuid: str = ""


class _Row(NamedTuple):
    """A row while it is looked at; ``bad`` are the paths that are at fault already."""

    said: Stated
    before: Server | None
    spec: ServerSpec
    bad: frozenset[str]


def plan(
    rows: Sequence[Stated],
    existing: Mapping[str, Server],
    owners: Callable[[set[Key]], Mapping[Key, Owner]],
    stored_login: Callable[[Server], Login],
) -> tuple[list[Planned], list[Fault]]:
    """What the import does, and everything that speaks against it, in the order of the rows.

    Args:
        existing: servers on record by display name, those at least that the file names.
        owners: whose these keys are on record.
        stored_login: what is stored for a server on record.
    """
    faults: list[Fault] = []
    checked: list[_Row] = []
    for said in rows:
        faults += said.faults
        before = existing.get(said.name)
        checks = Checks()
        spec = servers.checked(said.over(before.spec if before else ServerSpec()), checks)
        servers.checked_login(said.login, checks, kept=spec.bmc.kept_by_controller)
        faults += (said.fault(each.field, each.description) for each in checks.violations)
        bad = frozenset(each.field for each in checks.violations) | {fault.path for fault in said.faults}
        checked.append(_Row(said, before, spec, bad))
    faults += _clashes(checked, owners)
    planned = []
    for row in checked:
        faults += _forbidden(row)
        planned.append(_planned(row, stored_login))
    return planned, sorted(set(faults), key=lambda fault: (fault.row, fault.path))


def refusal(faults: Sequence[Fault], remedy: str) -> InvalidFields:
    """The refusal that tells all *faults*: the first thousand, and how many more there are."""
    told = [violation(fault) for fault in faults[:MAX_FAULTS]]
    if len(faults) > MAX_FAULTS:
        told.append(FieldViolation("content", f"and {len(faults) - MAX_FAULTS} more"))
    return InvalidFields(told, remedy=remedy, faults=str(len(faults)))


def violation(fault: Fault) -> FieldViolation:
    """*fault* as a field of the request: ``rows[3].ports[0].mac_address``, with row and column in words."""
    if not fault.row:
        return FieldViolation(
            "content",
            f"the file {fault.description}" if not fault.description.startswith("line ") else fault.description,
        )
    where = f"row {fault.row}, column {fault.column}" if fault.column else f"row {fault.row}"
    return FieldViolation(
        f"rows[{fault.row}]" + (f".{fault.path}" if fault.path else ""), f"{where}: {fault.description}"
    )


def changed_fields(before: ServerSpec, after: ServerSpec) -> tuple[str, ...]:
    """The fields in which two specs differ, as paths of the contract."""
    changed = []
    for name in ServerSpec.__dataclass_fields__:
        old, new = getattr(before, name), getattr(after, name)
        if old == new:
            continue
        if name in {"bmc", "location", "properties"}:
            changed += [
                f"{name}.{part}" for part in type(new).__dataclass_fields__ if getattr(old, part) != getattr(new, part)
            ]
        else:
            changed.append(name)
    return tuple(changed)


def fixed_while_held(before: ServerSpec, after: ServerSpec) -> list[str]:
    """The fields among the changed ones that must not change while an instance holds the server."""
    return [
        path
        for path in changed_fields(before, after)
        if path in {"ports", "port_groups", "node_type", "unmanaged"} or path.startswith("bmc.")
    ]


def _planned(row: _Row, stored_login: Callable[[Server], Login]) -> Planned:
    said, before, spec, _ = row
    if before is None:
        return Planned(said.row, Action.CREATE, None, spec, said.login, uuid=said.uuid)
    changed = list(changed_fields(before.spec, spec))
    login = Login()
    if said.login:
        stored = stored_login(before)
        login = said.login.over(stored)
        if login == stored:
            login = Login()
        else:
            changed.append("bmc.credentials")
    action = Action.UPDATE if changed else Action.UNCHANGED
    return Planned(said.row, action, before, spec, login, tuple(changed))


def _forbidden(row: _Row) -> Iterator[Fault]:
    """What the state of the server on record does not allow."""
    said, before, spec, _ = row
    if before is None:
        return
    if said.uuid and said.uuid != before.uuid:
        yield said.fault("uuid", f"is not that of the server of this name, which is {before.name}")
    if before.delete_time is not None:
        yield said.fault("display_name", f"is the name of {before.name}, which is being deleted")
    elif before.pool.in_use:
        for path in fixed_while_held(before.spec, spec):
            yield said.fault(path, f"cannot change: {before.name} is held by {before.pool.reserved_by}")


def _clashes(rows: Sequence[_Row], owners: Callable[[set[Key]], Mapping[Key, Owner]]) -> Iterator[Fault]:
    """Keys that two servers of the file have, or one of the file and another on record."""
    first: dict[Key, tuple[_Row, str]] = {}
    for row in rows:
        for path, key in keyed(row.spec):
            # What is malformed clashes with nothing, and is not shown.
            if not key.value or path in row.bad:
                continue
            other, where = first.setdefault(key, (row, path))
            if other is not row or where != path:
                place = other.said.fault(where, "")
                yield row.said.fault(path, f"{_shown(key)} is in row {place.row} too")
    ours = {row.before.uuid for row in rows if row.before}
    before = {row.before.uuid: keys(row.before.spec) for row in rows if row.before}
    known = owners(set(first))
    for key, (row, path) in first.items():
        owner = known.get(key)
        if owner is None or (row.before and owner.uuid == row.before.uuid):
            continue
        if owner.uuid in ours and key in before[owner.uuid]:
            continue  # its present owner is in the file too and no longer names it there: it changes hands
        yield row.said.fault(
            path, f"{_shown(key)} belongs to server {owner.display_name} (servers/{owner.uuid}) already"
        )


def _shown(key: Key) -> str:
    """*key* in words. Only a MAC address is surely no password that stands in the wrong column."""
    return key.words if key.kind == "mac" else f"this {_KINDS[key.kind]}"
