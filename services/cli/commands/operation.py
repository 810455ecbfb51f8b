# SPDX-License-Identifier: Apache-2.0
"""`bms operation`: long-running work, of whichever service."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from services.cli.failures import ExitCode
from services.cli.nouns import Noun, Span
from services.cli.screen import Column, short, when
from services.cli.session import PAGE, Session, changes, reads
from services.cli.waiting import follow, look, operation_data, plan_of, progress_of, report, service_of

if TYPE_CHECKING:
    from google.longrunning.operations_pb2 import Operation

_OWNERS = ("lifecycle", "inventory")


@click.group("operation", cls=Noun)
def operation() -> None:
    """Long-running operations: list, show, wait."""


def _status(each: Operation) -> str:
    if not each.done:
        return "running"
    return "failed" if each.HasField("error") else "done"


def _target(each: Operation) -> str:
    from bms.inventory.v1.server_pb2 import DeleteServerMetadata

    deletion = DeleteServerMetadata()
    if each.metadata.Unpack(deletion):
        return deletion.server
    return str(plan_of(each).target).removeprefix("projects/").replace("/instances/", "/")


def _verb(each: Operation) -> str:
    return str(plan_of(each).verb) or "delete server"


def _card(each: Operation) -> list[tuple[str, str]]:
    progress, metadata = progress_of(each), plan_of(each)
    steps = [f"{'x' if step.done else ' '} {step.step}  {step.description}" for step in metadata.plan]
    return [
        ("Name", each.name),
        ("Status", _status(each)),
        ("Verb", _verb(each)),
        ("About", str(metadata.target) or _target(each)),
        ("Server", short(metadata.server)),
        ("Asked by", str(metadata.actor)),
        ("Progress", f"{progress.percent}%"),
        ("Stage", f"{progress.stage}{f', {progress.since} of at most {progress.limit}' if progress.limit else ''}"),
        ("Waits for", progress.waits),
        ("Plan", "\n".join(steps)),
        ("Log in to", progress.address),
        ("Warnings", "\n".join(progress.warnings)),
        ("Error", each.error.message if each.HasField("error") else ""),
        ("Asked for", when(metadata.create_time)),
        ("Ended", when(metadata.end_time)),
    ]


@operation.command("list")
@click.option("--all", "-A", "everywhere", is_flag=True, help="Of all projects and the site; for administrators.")
@click.option("--running", is_flag=True, help="Only those that have not ended.")
@reads
def list_(session: Session, everywhere: bool, running: bool) -> None:
    """List operations of the project, or of all."""
    from google.longrunning import operations_pb2

    found: list[Operation] = []
    for service in _OWNERS if everywhere else ("lifecycle",):
        request = operations_pb2.ListOperationsRequest(
            name="" if everywhere else session.parent, filter="done = false" if running else "", page_size=PAGE
        )
        found += session.pages(session.operations(service).ListOperations, request, "operations")
    session.screen.rows(
        found,
        (
            Column("OPERATION", lambda each: each.name),
            Column("VERB", _verb),
            Column("ABOUT", _target),
            Column("STATUS", _status),
            Column("STAGE", lambda each: progress_of(each).stage),
            Column("%", lambda each: str(progress_of(each).percent)),
            Column("WAITS FOR", lambda each: progress_of(each).waits, wide=True),
        ),
        name=lambda each: each.name,
        as_data=operation_data,
        none="No operations.",
    )


@operation.command("show")
@click.argument("name")
@reads
def show(session: Session, name: str) -> None:
    """Show an operation: its plan, how far it is, what it waits for."""
    from google.longrunning import operations_pb2

    stub = session.operations(service_of(name))
    found = stub.GetOperation(operations_pb2.GetOperationRequest(name=name))
    if session.screen.structured:
        session.screen.data(operation_data(found))
    else:
        session.screen.one(found, _card(found))


@operation.command("wait")
@click.argument("names", nargs=-1, required=True)
@click.option("--timeout", type=Span(), metavar="TIME", help="How long, such as 30m.  [default: no limit]")
@reads
def wait(session: Session, names: tuple[str, ...], timeout: timedelta | None) -> ExitCode:
    """Follow operations to their end."""
    operations: dict[str, Operation] = {}
    for name in dict.fromkeys(names):
        found = look(session, name, 0.0)
        label = f"{_verb(found)} {short(_target(found))}".strip()
        operations[label if label not in operations else f"{label} {short(name)}"] = found
    ended = follow(session, operations, timeout)
    if session.screen.structured:
        session.screen.data([operation_data(each) for each in ended.values()])
    return report(session, ended)


@operation.command("cancel")
@click.argument("name")
@changes
def cancel(session: Session, name: str) -> None:
    """Ask for the end of an operation, where its service can."""
    from google.longrunning import operations_pb2

    session.confirm(f"Cancel {name}?")
    session.operations(service_of(name)).CancelOperation(operations_pb2.CancelOperationRequest(name=name))
    session.screen.print("asked for")
