# SPDX-License-Identifier: Apache-2.0
"""`bms server import`: many servers from one file."""

from __future__ import annotations

import re
import sys
from typing import IO, TYPE_CHECKING

import click

from services.cli.commands.server_noun import TIMEOUT, WAIT, server
from services.cli.commands.server_verbs import provide_servers
from services.cli.failures import BadUsage, CliError, ExitCode
from services.cli.screen import Column, as_dict, word
from services.cli.session import Session, changes

if TYPE_CHECKING:
    from datetime import timedelta

    from bms.inventory.v1.server_pb2 import ImportedServer, ImportServersResponse

_LIMIT = 16 * 1024 * 1024
# The place is shown in columns of its own.
_PLACE = re.compile(r"^row \d+(?:, column [^:]+)?: ")


@server.command("import")
@click.argument("file", type=click.File("rb"), required=False)
@click.option(
    "--from-ironic",
    "cloud",
    metavar="CLOUD",
    help="Instead of FILE: the nodes of a running Ironic, by its name in clouds.yaml or its URL.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["yaml", "json", "csv"]),
    help="The file's form.  [default: by its name, or its content]",
)
@click.option("--provide", is_flag=True, help="Then make the new servers available, after a plan of what is erased.")
@WAIT
@TIMEOUT
@changes
def import_(
    session: Session,
    file: IO[bytes] | None,
    cloud: str | None,
    form: str | None,
    provide: bool,
    wait: bool,
    timeout: timedelta | None,
) -> ExitCode:
    """Register all servers of FILE, or none. This touches no hardware.

    FILE is Contrail Command's import file (YAML or JSON), or CSV with a line for each port. All faults are told at
    once, each with its row and column. The same file twice changes nothing.

    From Ironic, each server has its node's UUID, and the node keeps the login of its BMC. Nodes in use are put on
    record alone, with the label adopt=yes: nothing is ever done to them before somebody marks them as managed.
    """
    if (file is None) is (cloud is None):
        raise BadUsage("what to import is not given", remedy="Name a FILE, or --from-ironic CLOUD; not both.")
    answer = _from_ironic(session, cloud or "") if file is None else _from_file(session, file, form)
    if answer.fault_count:
        _show_faults(session, answer)
        return ExitCode.REFUSED
    _show(session, answer)
    if not provide:
        return ExitCode.OK
    return _provide(session, answer, wait=wait, limit=timeout)


def _from_ironic(session: Session, cloud: str) -> ImportServersResponse:
    import json

    from bms.inventory.v1.server_pb2 import ImportFormat, ImportServersRequest
    from services.cli.ironic_nodes import read, rows_of

    found = rows_of(read(cloud))
    content = json.dumps({"nodes": found.rows}).encode()
    kind = ImportFormat.Value("IMPORT_FORMAT_JSON")
    answer = session.inventory.ImportServers(
        session.fill(ImportServersRequest(content=content, format=kind, report_faults=True))
    )
    if not session.screen.structured:
        for name, why in found.skipped.items():
            session.screen.print(f"Left out: {name}, {why}.")
        for name in found.in_use:
            session.screen.print(
                f"In use, on record only: {name}. To take it over: bms server set {name} --managed;"
                f" bms server adopt {name} ..."
            )
    return answer


def _from_file(session: Session, file: IO[bytes], form: str | None) -> ImportServersResponse:
    from bms.inventory.v1.server_pb2 import ImportFormat, ImportServersRequest

    content = file.read(_LIMIT + 1)
    if len(content) > _LIMIT:
        raise CliError(
            f"{file.name} is larger than 16 MiB",
            reason="TOO_LARGE",
            remedy="Split it: servers of one file need not be together.",
        )
    known = form or _by_name(file.name)
    kind = ImportFormat.Value(f"IMPORT_FORMAT_{known.upper() if known else 'UNSPECIFIED'}")
    request = session.fill(ImportServersRequest(content=content, format=kind, report_faults=True))
    return session.inventory.ImportServers(request)


def _by_name(name: str) -> str:
    ending = name.lower().rpartition(".")[2]
    return {"yml": "yaml", "yaml": "yaml", "json": "json", "csv": "csv"}.get(ending, "")


def _action(each: ImportedServer) -> str:
    from bms.inventory.v1.server_pb2 import ImportedServer

    return word(ImportedServer.Action, each.action, "ACTION_")


def _show(session: Session, answer: ImportServersResponse) -> None:
    if session.screen.structured:
        session.screen.data(as_dict(answer))
        return
    session.screen.rows(
        list(answer.servers),
        (
            Column("ROW", lambda each: str(each.row)),
            Column("NAME", lambda each: each.display_name),
            Column("ACTION", _action),
            Column("CHANGES", lambda each: ", ".join(each.changed_fields)),
            Column("MAY BE PROVIDED", lambda each: "yes" if each.can_be_provided else "no"),
            Column("UUID", lambda each: each.server.removeprefix("servers/"), wide=True),
        ),
        name=lambda each: each.server,
        as_data=as_dict,
    )
    did = "Would be: " if session.options.validate_only else ""
    session.screen.print(
        f"{did}{answer.created_count} created, {answer.updated_count} updated, {answer.unchanged_count} unchanged."
    )


def _show_faults(session: Session, answer: ImportServersResponse) -> None:
    """Prints what is wrong with a file, by row and column."""
    screen = session.screen
    if screen.structured:
        screen.data(as_dict(answer))
        return
    cells = [(str(each.row or "-"), each.column or "-", _PLACE.sub("", each.description)) for each in answer.faults]
    widths = [max(len(row[column]) for row in [("ROW", "COLUMN", ""), *cells]) for column in range(2)]
    count = answer.fault_count
    head = f"{count} fault{'' if count == 1 else 's'} in the file; nothing was imported"
    lines = [f"{screen.styled('Error INVALID_FIELDS:', 'red')} {head}"]
    lines += [
        f"  {row:<{widths[0]}}  {column:<{widths[1]}}  {text}"
        for row, column, text in [("ROW", "COLUMN", "FAULT"), *cells]
    ]
    if count > len(cells):
        lines.append(f"  ... and {count - len(cells)} more")
    lines.append(f"{screen.styled('Remedy:', 'bold')} Correct the file and import it again.")
    sys.stdout.flush()
    sys.stderr.write("\n".join(lines) + "\n")


def _provide(session: Session, answer: ImportServersResponse, *, wait: bool, limit: timedelta | None) -> ExitCode:
    from services.cli.fleet import find, join

    if session.options.validate_only:
        wanted = [each.display_name for each in answer.servers if each.can_be_provided]
        session.screen.print(f"Then every disk of these would be erased: {', '.join(wanted) or 'none'}.")
        return ExitCode.OK
    records = [find(session, each.server) for each in answer.servers if each.can_be_provided]
    _heard_of(session, [record.name for record in records])
    fresh = [each.server for each in join(session, records) if each.state == "enrolled"]
    if not fresh:
        session.screen.print("None of them is enrolled: nothing to provide.")
        return ExitCode.OK
    return provide_servers(session, fresh, wait=wait, limit=limit)


def _heard_of(session: Session, names: list[str]) -> None:
    """Waits until lifecycle, which follows inventory's log, has heard of the servers called *names*."""
    import time

    from bms.event.v1.event_pb2 import ListEventsRequest
    from bms.lifecycle.v1.server_status_pb2 import ListServerStatusesRequest

    position, deadline = 0, time.monotonic() + 30
    missing = set(names)
    while True:
        statuses = session.pages(session.lifecycle.ListServerStatuses, ListServerStatusesRequest(), "statuses")
        missing -= {status.server for status in statuses}
        if not missing or time.monotonic() > deadline:
            return
        # Its own log tells when it has: waiting there is better than asking again and again.
        position = session.lifecycle.ListEvents(
            ListEventsRequest(after=position, page_size=1000, wait_seconds=1)
        ).next_after


__all__ = ["import_"]
