# SPDX-License-Identifier: Apache-2.0
"""`bms audit leaks`: what the services hold for each other that nobody holds any more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from services.cli.commands.audit_noun import audit
from services.cli.counting import Counter
from services.cli.errors import is_of_one
from services.cli.failures import ExitCode
from services.cli.nouns import Span
from services.cli.screen import Column, age, as_dict, when, word
from services.cli.session import PAGE, Session, changes

if TYPE_CHECKING:
    from datetime import timedelta

    from bms.lifecycle.v1.audit_service_pb2 import Leak

_DONE, _REFUSED = "repaired", "not repaired"


def _kind(each: Leak) -> str:
    from bms.lifecycle.v1.audit_service_pb2 import Leak

    return word(Leak.Kind, each.kind, "KIND_")


COLUMNS: Sequence[Column[Leak]] = (
    Column("KIND", _kind),
    Column("RESOURCE", lambda each: each.resource),
    Column("SINCE", lambda each: age(each.since)),
    Column("WHY", lambda each: each.why),
    Column("REPAIRABLE", lambda each: "yes" if each.repairable else "no"),
    Column("OWNER", lambda each: each.owner, wide=True),
    Column("SERVER", lambda each: each.server, wide=True),
    Column("SINCE WHEN", lambda each: when(each.since), wide=True),
    Column("REMEDY", lambda each: each.remedy, wide=True),
)


@audit.command("leaks", short_help="Find what leaked between the services.")
@click.option("--repair", is_flag=True, help="Give back what can be shown to be nobody's; asks first.")
@click.option(
    "--settle", type=Span(), metavar="TIME", help="The time between the two looks, at most 10s.  [default: 2s]"
)
@click.option("--book", default="", metavar="NAME", help="Only this part of the books, such as fabric_leftovers.")
@changes
def leaks(session: Session, repair: bool, settle: timedelta | None, book: str) -> ExitCode:
    """Find what leaked between the services; the exit code is 1 if anything is left."""
    import grpc

    found: list[Leak] = []
    try:
        found.extend(_found(session, settle, book))
    except grpc.RpcError:
        # What was found is told, or repaired, and that nothing is known of the rest; never that there are no leaks.
        if found:
            session.screen.warn("not all books could be looked through; this is what was found before")
            _dealt_with(session, found, repair=repair)
        raise
    return _dealt_with(session, found, repair=repair)


def _dealt_with(session: Session, found: Sequence[Leak], *, repair: bool) -> ExitCode:
    """Tells the leaks, or repairs those that may be and tells what became of all."""
    screen = session.screen
    repairable = [leak for leak in found if leak.repairable]
    if not (repair and repairable):
        screen.rows(found, COLUMNS, name=lambda each: each.resource, as_data=as_dict, none="No leaks: all sides agree.")
        for leak in [] if screen.structured or screen.format == "name" else found:
            screen.note("  ".join((leak.resource, leak.remedy, *leak.commands)))
        return ExitCode.REFUSED if found else ExitCode.OK
    session.confirm(f"Repair {len(repairable)} of {len(found)} leaks?")
    outcomes = _repair(session, found)
    screen.rows(
        outcomes,
        (
            Column("KIND", lambda each: _kind(each[0])),
            Column("RESOURCE", lambda each: each[0].resource),
            Column("OUTCOME", lambda each: each[1] or "left"),
            Column("WHAT", lambda each: each[2] or each[0].remedy),
        ),
        name=lambda each: each[0].resource,
        as_data=lambda each: {**as_dict(each[0]), "outcome": each[1] or "left", "what": each[2]},
    )
    left = [leak for leak, outcome, _ in outcomes if outcome != _DONE]
    return ExitCode.REFUSED if left or session.options.validate_only else ExitCode.OK


def _found(session: Session, settle: timedelta | None, book: str) -> Iterator[Leak]:
    """Every leak, part by part."""
    from bms.lifecycle.v1.audit_service_pb2 import AuditLeaksRequest

    request = AuditLeaksRequest(page_size=PAGE, book=book)
    if settle is not None:
        request.settle.FromTimedelta(settle)
    with Counter() as counter:
        while True:
            part = session.audits.AuditLeaks(request)
            counter.add(part.examined_count, part.book)
            yield from part.leaks
            if not part.next_page_token:
                return
            request.page_token = part.next_page_token


def _repair(session: Session, found: Sequence[Leak]) -> list[tuple[Leak, str, str]]:
    """Each leak, its outcome in a word ("" if it may not be repaired), and what was done or spoke against it."""
    outcomes, touched = [], set[str]()
    for leak in found:
        if not leak.repairable:
            outcomes.append((leak, "", ""))
            continue
        # A repair is itself an event of the server, after which the etags of its other leaks are old.
        outcomes.append((leak, *_repaired(session, leak, "" if leak.server in touched else leak.etag)))
        touched.add(leak.server)
    return outcomes


def _repaired(session: Session, leak: Leak, etag: str) -> tuple[str, str]:
    """What became of a repair: its outcome in a word, and what was done or spoke against it."""
    import grpc

    from bms.lifecycle.v1.audit_service_pb2 import RepairLeakRequest

    request = RepairLeakRequest(kind=leak.kind, resource=leak.resource, etag=etag)
    try:
        done = session.audits.RepairLeak(session.fill(request, leak.resource)).done
    except grpc.RpcError as error:
        if not is_of_one(error):
            raise
        return _REFUSED, error.details() or ""
    return ("would be repaired" if session.options.validate_only else _DONE), done
