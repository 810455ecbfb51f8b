# SPDX-License-Identifier: Apache-2.0
"""`bms audit export`: evidence to keep, or to give to somebody who trusts nobody here."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import click

from services.cli.commands.audit_noun import audit
from services.cli.counting import Counter
from services.cli.evidence import LOGS, Tell, evidence
from services.cli.fleet import complete_server, find
from services.cli.session import Session, reads


@audit.command("export")
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
@reads
def export(session: Session, server: str, path: Path | None, form: str) -> None:
    """Write the logs, with what proves them, up to the newest checkpoint; everything if you may see everything."""
    record = find(session, server) if server else None
    with Counter() as counter, _opened(path) as out:
        tell = lambda count: counter.add(count, "events")  # noqa: E731 -- one word for it is enough
        if form == "ncv":
            from services.cli.transitions import transitions

            out.write(json.dumps(transitions(session, record, tell), indent=2) + "\n")
        else:
            _write(session, out, record.name if record else "", tell)
    if path is not None:
        session.screen.note(f"Written: {path}")


def _write(session: Session, out: TextIO, stream: str, tell: Tell) -> None:
    from services.verifier.files import Writer

    writer = Writer(out)
    for service in ("lifecycle",) if stream else LOGS:
        writer.log(service, stream)
        for message in evidence(session, service, stream, tell):
            writer.put(message)


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
