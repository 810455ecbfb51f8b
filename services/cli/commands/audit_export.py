# SPDX-License-Identifier: Apache-2.0
"""`bms audit export`: evidence to keep, or to give to somebody who trusts nobody here."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from services.cli.commands.audit_noun import audit
from services.cli.counting import Counter
from services.cli.evidence import LOGS, Tell, evidence
from services.cli.failures import CliError
from services.cli.fleet import complete_server, find
from services.cli.session import Session, reads

if TYPE_CHECKING:
    from services.verifier.judge import Judge


@audit.command("export", short_help="Write the logs, with what proves them.")
@click.option("--server", default="", shell_complete=complete_server, help="Only this server.")
@click.option(
    "--to",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write.  [default: standard output]",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "ncv"]),
    default="jsonl",
    show_default=True,
    help="jsonl: what `bms audit isolation --from-file` and bms-verify read. ncv: each server's transitions between "
    "tenancies, as NVIDIA's ai-cloud-validation suite takes them.",
)
@click.option(
    "--after",
    "archive",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="An earlier export of whole logs: it is judged, and only what follows is written, behind what it came to.",
)
@reads
def export(session: Session, server: str, path: Path | None, form: str, archive: Path | None) -> None:
    """Write the logs, with what proves them, up to the newest checkpoint; everything if you may see everything."""
    if archive is not None and (server or form != "jsonl"):
        msg = "--after goes with whole logs in form jsonl"
        raise click.UsageError(msg)
    record = find(session, server) if server else None
    with Counter() as counter, _opened(path) as out:
        tell = lambda count: counter.add(count, "events")  # noqa: E731 -- one word for it is enough
        if form == "ncv":
            from services.cli.transitions import transitions

            out.write(json.dumps(transitions(session, record, tell), indent=2) + "\n")
        else:
            _write(session, out, record.name if record else "", tell, _earlier(archive))
    if path is not None:
        session.screen.note(f"Written: {path}")


def _write(session: Session, out: TextIO, stream: str, tell: Tell, earlier: Mapping[str, Judge]) -> None:
    from services.verifier.cut import state_of
    from services.verifier.files import Writer

    writer = Writer(out)
    for service in ("lifecycle",) if stream else LOGS:
        writer.log(service, stream)
        before = earlier.get(service)
        if before is not None:
            writer.state(state_of(before))
        for message in evidence(session, service, stream, tell, before):
            writer.put(message)


def _earlier(archive: Path | None) -> dict[str, Judge]:
    """Who judged the logs in *archive*, by service.

    Raises:
        CliError: it is no evidence, or its logs are not whole up to their last checkpoints.
    """
    if archive is None:
        return {}
    from services.verifier.cut import NoState, state_of
    from services.verifier.files import NoEvidence, judge_file

    remedy = "Give a file that `bms audit export` wrote of whole logs, and that passes `bms-verify`."
    try:
        with archive.open(encoding="utf-8") as lines:
            judges = {judge.service: judge for judge in judge_file(lines) if judge.position}
        for judge in judges.values():
            state_of(judge)
    except (OSError, UnicodeDecodeError, NoEvidence, NoState) as error:
        raise CliError(f"{archive}: {error}", reason="NO_ARCHIVE", remedy=remedy) from None
    return judges


@contextmanager
def _opened(path: Path | None) -> Iterator[TextIO]:
    """Where to write; a file is there whole or not at all, and for its owner alone: it names projects and people."""
    if path is None:
        yield sys.stdout
        return
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            yield out
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
