# SPDX-License-Identifier: Apache-2.0
"""`bms force`: what lacks its proof, done because two administrators answer for it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from services.cli.failures import CliError, ExitCode
from services.cli.fleet import complete_server, find
from services.cli.nouns import Noun, Span
from services.cli.screen import Column, age, as_dict, moment, short, span, when, word
from services.cli.session import Session, changes, reads
from services.cli.waiting import conclude, show_plan

if TYPE_CHECKING:
    from datetime import timedelta

    from bms.lifecycle.v1.forced_action_pb2 import ForcedAction

MEANINGS = {
    "release": "Addresses are given out again though nobody read that the server is off their networks.",
    "available": "Whoever gets the server next may find what was on its disks: no clean pass is made.",
    "skip-clean": "Whoever gets the server next may find what was on its disks: the clean pass is left out.",
    "attest-power-off": "Addresses are given out again on your word that the server is powered off.",
}
"""What each kind means for others; said before it is asked for or approved."""

ACTION = click.argument("name", metavar="ID")
_ENOUGH = 8
"""How many characters of an id tell it from the others, as a list shows it."""


@click.group("force", cls=Noun)
def force() -> None:
    """Forced actions: what lacks its proof, done because two administrators answer for it."""


def _kind(each: ForcedAction) -> str:
    from bms.lifecycle.v1.forced_action_pb2 import ForcedAction

    return word(ForcedAction.Kind, each.kind, "KIND_").replace("_", "-")


def _state(each: ForcedAction) -> str:
    from bms.lifecycle.v1.forced_action_pb2 import ForcedAction

    return word(ForcedAction.State, each.state, "STATE_")


def _server(each: ForcedAction) -> str:
    return each.name.split("/")[1]


def _expires(each: ForcedAction) -> str:
    until = moment(each.expire_time)
    return f"in {span(until - datetime.now(UTC))}" if until and _state(each) == "pending" else ""


def _card(each: ForcedAction) -> list[tuple[str, str]]:
    return [
        ("Name", each.name),
        ("Kind", _kind(each)),
        ("Meaning", MEANINGS.get(_kind(each), "")),
        ("State", _state(each)),
        ("Reason", each.reason),
        ("Asked for by", f"{each.requester}, {when(each.create_time)}"),
        ("Expires", _expires(each)),
        ("Approved by", f"{each.approver}, {when(each.end_time)}" if each.approver else ""),
        ("Withdrawn by", f"{each.withdrawer}, {when(each.end_time)}" if each.withdrawer else ""),
        ("Operation", each.operation),
        ("The server then", "\n".join(each.shown)),
    ]


def _named(session: Session, name: str) -> str:
    """The full name of the forced action that *name* is, or begins the id of."""
    from bms.lifecycle.v1.forced_action_pb2 import ListForcedActionsRequest

    if "/" in name:
        return name
    asked = ListForcedActionsRequest(parent="servers/-")
    found = [
        each.name
        for each in session.pages(session.lifecycle.ListForcedActions, asked, "forced_actions")
        if short(each.name).startswith(name.lower())
    ]
    if len(found) == 1:
        return str(found[0])
    raise CliError(
        f"{len(found) or 'no'} forced actions have an id that begins with {name!r}",
        reason="NOT_FOUND",
        remedy="`bms force list -A -o name` shows them in full.",
    )


def _warn(session: Session, kind: str) -> None:
    if not session.screen.structured:
        session.screen.print(session.screen.styled(f"{kind}: {MEANINGS[kind]}", "bold"))
        session.screen.print("The server's evidence is tainted from then on, until its next full clean pass.")


@force.command("request")
@click.argument("server", shell_complete=complete_server)
@click.option("--kind", required=True, type=click.Choice(list(MEANINGS)), help="What shall be forced.")
@click.option("--reason", required=True, help="Why, for the record.")
@changes
def request(session: Session, server: str, kind: str, reason: str) -> None:
    """Ask for a forced action; nothing is done before another administrator approves it."""
    from bms.lifecycle.v1.forced_action_pb2 import CreateForcedActionRequest, ForcedAction

    record = find(session, server)
    wanted = ForcedAction(kind=ForcedAction.Kind.Value(f"KIND_{kind.upper().replace('-', '_')}"), reason=reason)
    _warn(session, kind)
    session.confirm(f"Ask for it for {record.display_name}?")
    asked = CreateForcedActionRequest(parent=record.name, forced_action=wanted)
    made = session.lifecycle.CreateForcedAction(session.fill(asked))
    session.screen.one(made, _card(made))
    if not session.options.validate_only:
        session.screen.print(f"Another administrator, within 24 hours: bms force approve {made.name}")


@force.command("list")
@click.argument("server", default="", shell_complete=complete_server)
@click.option("--all", "-A", "everything", is_flag=True, help="Those that ended, too.")
@reads
def list_(session: Session, server: str, everything: bool) -> None:
    """List the forced actions that wait for approval, of a server or of all."""
    from bms.lifecycle.v1.forced_action_pb2 import ListForcedActionsRequest

    parent = find(session, server).name if server else "servers/-"
    asked = ListForcedActionsRequest(parent=parent, filter="" if everything else "state = pending")
    found = session.pages(session.lifecycle.ListForcedActions, asked, "forced_actions")
    session.screen.rows(
        [each for each in found if everything or _state(each) == "pending"],
        (
            Column("ID", lambda each: short(each.name)[:_ENOUGH]),
            Column("SERVER", _server),
            Column("KIND", _kind),
            Column("STATE", _state),
            Column("ASKED FOR BY", lambda each: each.requester),
            Column("AGE", lambda each: age(each.create_time)),
            Column("EXPIRES", _expires),
            Column("APPROVED BY", lambda each: each.approver),
            Column("REASON", lambda each: each.reason),
            Column("NAME", lambda each: each.name, wide=True),
        ),
        name=lambda each: each.name,
        as_data=as_dict,
        none="Nothing waits for approval." if not everything else "Nothing was ever forced.",
    )


@force.command("show")
@ACTION
@reads
def show(session: Session, name: str) -> None:
    """Show a forced action: what it means, why, and how the server stood."""
    from bms.lifecycle.v1.forced_action_pb2 import GetForcedActionRequest

    found = session.lifecycle.GetForcedAction(GetForcedActionRequest(name=_named(session, name)))
    session.screen.one(found, _card(found))


@force.command("approve")
@ACTION
@click.option("--wait", "-w", is_flag=True, help="Follow it to its end.")
@click.option("--timeout", type=Span(), metavar="TIME", help="With --wait: how long, such as 30m.")
@changes
def approve(session: Session, name: str, wait: bool, timeout: timedelta | None) -> ExitCode:
    """Approve what another administrator asked for, and do it: refused to the one who asked."""
    from bms.lifecycle.v1.forced_action_pb2 import ApproveForcedActionRequest, GetForcedActionRequest

    found = session.lifecycle.GetForcedAction(GetForcedActionRequest(name=_named(session, name)))
    if not session.screen.structured:
        session.screen.one(found, _card(found))
        _warn(session, _kind(found))
    session.confirm(f"{found.requester} asked for it. Answer for it as well, and do it?")
    # What was shown is what is approved: the etag refuses anything else.
    operation = session.lifecycle.ApproveForcedAction(
        session.fill(ApproveForcedActionRequest(name=found.name, etag=found.etag))
    )
    if session.options.validate_only:
        show_plan(session.screen, {_kind(found): operation})
        return ExitCode.OK
    return conclude(session, {_kind(found): operation}, wait=wait, limit=timeout)


@force.command("withdraw")
@ACTION
@changes
def withdraw(session: Session, name: str) -> None:
    """Withdraw a forced action that nobody approved; it stays on record."""
    from bms.lifecycle.v1.forced_action_pb2 import DeleteForcedActionRequest

    gone = session.lifecycle.DeleteForcedAction(session.fill(DeleteForcedActionRequest(name=_named(session, name))))
    session.screen.one(gone, _card(gone))
