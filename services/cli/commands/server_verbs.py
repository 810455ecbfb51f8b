# SPDX-License-Identifier: Apache-2.0
"""The verbs that move servers: provide, quarantine, recover, maintenance; and diagnose, which says why one rests."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from services.cli.commands.server_noun import NAME, NAMES, SELECTOR, TIMEOUT, WAIT, server
from services.cli.failures import BadUsage, ExitCode, TimedOut
from services.cli.fleet import Machine, find, join, targets
from services.cli.nouns import Noun, Span
from services.cli.screen import age, seconds, short, span, when
from services.cli.selector import parse_selector
from services.cli.session import Session, changes, reads
from services.cli.turns import each_in_turn
from services.cli.waiting import conclude, plan_of, show_plan

if TYPE_CHECKING:
    from datetime import timedelta

    from google.longrunning.operations_pb2 import Operation

    from bms.inventory.v1.server_pb2 import Server
    from bms.lifecycle.v1.server_status_pb2 import DiagnoseServerResponse

_LOOK_SECONDS = 0.2

Ask = Callable[[str, bool], "Operation"]
"""Calls the verb for a server's name; with True only to check and plan it."""


def carry_out(
    session: Session,
    records: Sequence[Server],
    ask: Ask,
    question: str,
    *,
    wait: bool,
    limit: timedelta | None,
    erases: bool,
) -> ExitCode:
    """Plans a verb for all *records*, asks, does it, and follows it.

    Every server is checked before one is touched: a single refusal, and nothing is done.
    """
    plans = {record.display_name: ask(record.name, True) for record in records}
    screen = session.screen
    if session.options.validate_only:
        show_plan(screen, plans)
        return ExitCode.OK
    if erases:
        tell_erased(session, records, plans)
    session.confirm(question.format(count=len(records), s="" if len(records) == 1 else "s"))
    operations = {record.display_name: ask(record.name, False) for record in records}
    return conclude(session, operations, wait=wait, limit=limit)


def tell_erased(session: Session, records: Sequence[Server], plans: dict[str, Operation]) -> None:
    """Names every server and every disk that will be erased."""
    if session.screen.structured:
        return
    session.screen.print(session.screen.styled("These disks will be ERASED:", "bold"))
    rows = []
    for record in records:
        known = {disk.serial: disk for disk in record.disks}
        planned = [serial for step in plan_of(plans[record.display_name]).plan if step.erases for serial in step.disks]
        serials = list(dict.fromkeys(planned)) or list(known)
        if not serials:
            rows.append((record.display_name, "every disk that inspection finds", "", ""))
        for serial in serials:
            disk = known.get(serial)
            rows.append(
                (
                    record.display_name,
                    serial,
                    f"{disk.size_bytes / 1e9:.0f} GB" if disk else "",
                    disk.model if disk else "",
                )
            )
    session.screen.table(("SERVER", "DISK", "SIZE", "MODEL"), rows)


def provide_servers(session: Session, records: Sequence[Server], *, wait: bool, limit: timedelta | None) -> ExitCode:
    """Provides *records*, after naming what is erased and asking."""
    from bms.lifecycle.v1.server_status_pb2 import ProvideServerRequest

    def ask(name: str, plan: bool) -> Operation:
        request = session.fill(ProvideServerRequest(name=name), name if len(records) > 1 else "")
        request.validate_only |= plan
        return session.lifecycle.ProvideServer(request)

    question = "Erase every disk of {count} server{s} and make them available?"
    return carry_out(session, records, ask, question, wait=wait, limit=limit, erases=True)


@server.command("provide")
@NAMES
@SELECTOR
@WAIT
@TIMEOUT
@changes
def provide(session: Session, names: tuple[str, ...], selector: str, wait: bool, timeout: timedelta | None) -> ExitCode:
    """Verify, inspect and clean enrolled servers, and make them available. ERASES EVERY DISK."""
    return provide_servers(session, targets(session, names, selector), wait=wait, limit=timeout)


@server.command("quarantine")
@NAMES
@SELECTOR
@click.option("--reason", required=True, help="Why, for the record.")
@WAIT
@TIMEOUT
@changes
def quarantine(
    session: Session, names: tuple[str, ...], selector: str, reason: str, wait: bool, timeout: timedelta | None
) -> ExitCode:
    """Set servers aside: what is done to them ends, their ports go to quarantine, they are powered off."""
    from bms.lifecycle.v1.server_status_pb2 import QuarantineServerRequest

    records = targets(session, names, selector)

    def ask(name: str, plan: bool) -> Operation:
        request = session.fill(QuarantineServerRequest(name=name, reason=reason), name if len(records) > 1 else "")
        request.validate_only |= plan
        return session.lifecycle.QuarantineServer(request)

    question = "Set {count} server{s} aside, with whatever runs on them?"
    return carry_out(session, records, ask, question, wait=wait, limit=timeout, erases=False)


@server.command("recover")
@NAMES
@SELECTOR
@click.option(
    "--take-from-instance",
    is_flag=True,
    help="Take it back from an instance whose project did not delete it; that one ends.",
)
@WAIT
@TIMEOUT
@changes
def recover(
    session: Session,
    names: tuple[str, ...],
    selector: str,
    take_from_instance: bool,
    wait: bool,
    timeout: timedelta | None,
) -> ExitCode:
    """Lead servers from quarantine back to the pool. ERASES EVERY DISK."""
    from bms.lifecycle.v1.server_status_pb2 import RecoverServerRequest

    records = targets(session, names, selector)

    def ask(name: str, plan: bool) -> Operation:
        request = RecoverServerRequest(name=name, take_from_instance=take_from_instance)
        request = session.fill(request, name if len(records) > 1 else "")
        request.validate_only |= plan
        return session.lifecycle.RecoverServer(request)

    question = "Erase every disk of {count} server{s} and lead them back to the pool?"
    return carry_out(session, records, ask, question, wait=wait, limit=timeout, erases=True)


@server.group("maintenance", cls=Noun)
def maintenance() -> None:
    """Set servers aside for work on them: not offered, nothing new is begun; what runs goes on."""


@maintenance.command("set")
@NAMES
@SELECTOR
@click.option("--reason", required=True, help="Why, for the record.")
@changes
def maintenance_set(session: Session, names: tuple[str, ...], selector: str, reason: str) -> ExitCode:
    """Set maintenance."""
    from bms.lifecycle.v1.server_status_pb2 import SetMaintenanceRequest

    def ask(record: Server, target: str) -> None:
        request = SetMaintenanceRequest(name=record.name, reason=reason)
        status = session.lifecycle.SetMaintenance(session.fill(request, target))
        session.screen.one(
            status, [("Name", record.display_name), ("Maintenance", status.maintenance_reason or reason)]
        )

    return each_in_turn(session, targets(session, names, selector), ask)


@maintenance.command("unset")
@NAMES
@SELECTOR
@changes
def maintenance_unset(session: Session, names: tuple[str, ...], selector: str) -> ExitCode:
    """End maintenance."""
    from bms.lifecycle.v1.server_status_pb2 import ClearMaintenanceRequest

    def ask(record: Server, target: str) -> None:
        status = session.lifecycle.ClearMaintenance(session.fill(ClearMaintenanceRequest(name=record.name), target))
        session.screen.one(status, [("Name", record.display_name), ("Maintenance", "ended")])

    return each_in_turn(session, targets(session, names, selector), ask)


@server.command("diagnose")
@NAME
@reads
def diagnose(session: Session, name: str) -> None:
    """Say what a server waits for, since when, who must act, and the exact command."""
    from bms.lifecycle.v1.server_status_pb2 import DiagnoseServerRequest

    record = find(session, name)
    found = session.lifecycle.DiagnoseServer(DiagnoseServerRequest(name=record.name))
    screen = session.screen
    machine = Machine(record, found.status)
    screen.one(
        found,
        [
            ("Server", f"{machine.label} ({short(record.name)})"),
            ("State", machine.state),
            ("For", f"{age(found.status.state_since)}{_limit(seconds(found.status.state_limit))}"),
            ("Power", machine.power),
            ("Isolated", "yes" if found.status.isolated else "no"),
            ("Instance", found.status.instance),
            ("Blocked on", found.blocked_on or "nothing"),
            ("Since", f"{when(found.since)} ({age(found.since)} ago)" if found.since.seconds else ""),
            ("Meaning", found.meaning),
            ("Detail", found.status.wait.reason or found.status.fault_message),
            ("May last", seconds(found.wait_limit)),
            ("Overdue by", seconds(found.wait_overdue_by) or seconds(found.overdue_by)),
            ("By itself", _by_itself(found) if found.HasField("self_remedy") else ""),
            ("Who must act", found.who_must_act),
            ("Remedy", found.remedy),
            ("Run", "\n".join(found.commands)),
            ("More", found.runbook),
            ("Lately", "\n".join(f"{when(each.time)}  {each.type}  {each.message}" for each in found.last_effects)),
        ],
    )


@server.command("wait")
@NAMES
@SELECTOR
@click.option(
    "--for", "wanted", required=True, metavar="KEY=VALUE", help="What for: state=available, wait=BMC_SILENT ..."
)
@click.option("--timeout", type=Span(), default="60s", show_default=True, help="How long to wait.")
@reads
def wait_for(session: Session, names: tuple[str, ...], selector: str, wanted: str, timeout: timedelta) -> None:
    """Wait until servers are in a state, wait for something, or have a fault."""
    terms = parse_selector(wanted)
    if terms.inventory or not terms.status:
        raise BadUsage(
            f"{wanted!r} is nothing to wait for",
            remedy="Wait for state=, power=, wait=, fault=, maintenance= or isolated=.",
        )
    pause, deadline = threading.Event(), time.monotonic() + timeout.total_seconds()
    records = targets(session, names, selector)
    while True:
        machines = join(session, records)
        late = [each for each in machines if not all(each.matches(term) for term in terms.status)]
        if not late:
            break
        if time.monotonic() > deadline:
            now = ", ".join(f"{each.label} is {each.state or 'not known to lifecycle yet'}" for each in late[:5])
            message = f"not {wanted} after {span(timeout)}: {now}"
            raise TimedOut(message, remedy=f"See bms server diagnose {late[0].label}.")
        # Waits begin and end without an event: nothing tells of them but looking.
        pause.wait(_LOOK_SECONDS)
    for each in machines:
        session.screen.print(f"{each.label}  {each.state}  {each.waits}".rstrip())


def _by_itself(found: DiagnoseServerResponse) -> str:
    """What runs by itself, how often it did, and when it does next."""
    own = found.self_remedy
    following = f"next {when(own.next_time)}" if own.HasField("next_time") else "not again"
    return f"{own.description}; {own.attempts} of {own.budget} tries made, {own.left} left, {following}"


def _limit(text: str) -> str:
    return f" of at most {text}" if text else ""


@server.command("status")
@NAMES
@SELECTOR
@reads
def status(session: Session, names: tuple[str, ...], selector: str) -> None:
    """Show lifecycle's state of servers as JSON, one a line: for scripts."""
    for machine in join(session, targets(session, names, selector)):
        click.echo(json.dumps(machine.as_data()["status"]))
