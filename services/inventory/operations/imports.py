# SPDX-License-Identifier: Apache-2.0
"""Registering all servers of a file, or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.inventory.domain import importing
from services.inventory.domain.import_rows import Fault, Stated
from services.inventory.domain.importing import Action, Planned
from services.inventory.domain.keys import keys
from services.inventory.operations import servers
from services.inventory.operations.ports import Servers
from services.kernel.calls import Call
from services.kernel.clock import Ids


@dataclass(frozen=True, slots=True)
class Imported:
    """One server of the file and what became of it; ``uuid`` is its UUID on record."""

    uuid: str
    planned: Planned


class Faulty(Exception):
    """The file has faults; nothing of it is taken."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(f"{len(faults)} faults")
        self.faults = tuple(faults)


def import_servers(
    rows: Servers, call: Call, ids: Ids, stated: Sequence[Stated], faults: Sequence[Fault]
) -> list[Imported]:
    """Brings the servers on record to what the file states.

    Args:
        faults: what reading the file found; the rows are checked all the same, so that everything is told at once.

    Raises:
        Faulty: there is a fault, in the file or against what is on record.
    """
    existing = rows.named({said.name for said in stated if said.name})
    planned, found = importing.plan(stated, existing, rows.owners, lambda server: rows.login(server.uuid))
    if faults or found:
        raise Faulty([*faults, *found])
    for plan in planned:
        # Two servers of the file may swap a cable: what is given up is free before anything is taken.
        if plan.before is not None and plan.action is Action.UPDATE:
            rows.free_keys(plan.before, keys(plan.before.spec) - keys(plan.spec))
    return [Imported(_imported(rows, call, ids, plan), plan) for plan in planned]


def _imported(rows: Servers, call: Call, ids: Ids, plan: Planned) -> str:
    if plan.before is None:
        return servers.create(rows, call, ids, plan.spec, plan.login, server_id=plan.uuid, unchecked=False).uuid
    if plan.action is Action.UPDATE:
        servers.apply(rows, call, plan.before, plan.spec, plan.login, login_changed=bool(plan.login))
    return plan.before.uuid
