# SPDX-License-Identifier: Apache-2.0
"""Whom a person means: servers by BMC, UUID or a name that was taught."""

from __future__ import annotations

from services.kernel.errors import NotFound
from services.simulated.faults import targets_of
from services.simulated.file import Connection
from services.simulated.passing import settle
from services.simulated.state import Machine, all_machines, find_machine, machine_of


def resolved(tx: Connection, target: str) -> str:
    """What the name *target* stands for; itself, if nobody taught it."""
    row = tx.execute("SELECT target FROM names WHERE name = ?", (target,)).fetchone()
    return target if row is None else str(row[0])


def find(tx: Connection, target: str) -> Machine | None:
    """The machine that *target* means, if its BMC was ever called."""
    target = resolved(tx, target)
    machine = find_machine(tx, target) or machine_of(tx, target)
    if machine is None:
        matching = [one for one in all_machines(tx) if one.bmc.rpartition(":")[0] == target]
        machine = matching[0] if len(matching) == 1 else None
    return machine


def the_machine(tx: Connection, target: str, at: int) -> Machine:
    """The machine that *target* means, as it is at *at*.

    Raises:
        NotFound: its BMC was never called.
    """
    machine = find(tx, target)
    if machine is None:
        msg = f"no BMC of {target} was ever called"
        raise NotFound(msg, remedy="Name it by its BMC or UUID, after it was verified once.", target=target)
    return settle(tx, machine.server, machine, at) or machine


def spellings(tx: Connection, target: str) -> tuple[str, ...]:
    """All that may stand for *target* in a fault."""
    machine = find(tx, target)
    names = (target, resolved(tx, target))
    return (*names, *targets_of(machine.bmc, machine.server)) if machine else names


def known(tx: Connection, target: str) -> bool:
    """Whether *target* is a server or a switch that was ever seen."""
    if find(tx, target) is not None:
        return True
    switch = target.partition("/")[0]
    return tx.execute("SELECT 1 FROM switch_ports WHERE switch = ? LIMIT 1", (switch,)).fetchone() is not None
