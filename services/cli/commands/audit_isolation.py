# SPDX-License-Identifier: Apache-2.0
"""`bms audit isolation`: whether the logs prove that no tenant ever met another's server, network, data or address."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from services.cli.commands.audit_noun import audit
from services.cli.counting import Counter
from services.cli.evidence import LOGS, judged, trusted_keys
from services.cli.failures import BadUsage, CliError, ExitCode
from services.cli.fleet import complete_server, find, load
from services.cli.nouns import Since
from services.cli.screen import Screen
from services.cli.selector import Selector
from services.cli.session import Session, reads

if TYPE_CHECKING:
    from services.verifier.judge import Judge
    from services.verifier.verdict import Finding, Interval, Report, StreamReport, Verdict, Witness

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
KEY_FILE = click.option(
    "--key-file",
    type=_FILE,
    help="Public keys you trust, from elsewhere: PEM, or hexadecimal lines.  [default: believe those of the log]",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One interval of one stream, as the table shows it."""

    label: str
    service: str
    stream: str
    interval: Interval


@audit.command("isolation")
@click.option("--server", default="", shell_complete=complete_server, help="Only this server.")
@click.option("--since", type=Since(), metavar="WHEN", help="Only what reaches into this time: 2h, 2026-11-22.")
@click.option("--from-file", type=_FILE, help="Judge what `bms audit export` wrote, without asking any service.")
@KEY_FILE
@reads
def isolation(
    session: Session, server: str, since: datetime | None, from_file: Path | None, key_file: Path | None
) -> ExitCode:
    """Judge the evidence on this machine: PASS, FAIL, TAINTED or UNKNOWN for each server, and why.

    A service is asked for the bytes of its log and believed nothing: signatures, chains and order are verified here.
    """
    from services.verifier.verdict import worst

    if from_file is not None and server and "/" not in server:
        raise BadUsage("which server of the file?", remedy="Name it as servers/UUID: no service is asked for names.")
    trusted = trusted_keys(key_file)
    with Counter() as counter:
        tell = lambda count: counter.add(count, "events")  # noqa: E731 -- one word for it is enough
        if from_file is not None:
            judges, names = _of_file(from_file, trusted, counter), dict[str, str]()
        elif server:
            record = find(session, server)
            names = {record.name: record.display_name}
            server = record.name
            judges = [judged(session, "lifecycle", record.name, trusted, tell)]
        else:
            judges = [judged(session, service, "", trusted, tell) for service in LOGS]
            names = {each.name: each.label for each in load(session, Selector(), with_status=False)}
    reports = [judge.report() for judge in judges]
    rows = [row for report in reports for row in _rows(report, names, server, since)]
    screen = session.screen
    if screen.structured:
        screen.data([_report_data(judge, report, server, since) for judge, report in zip(judges, reports, strict=True)])
    elif screen.format == "name":
        for row in rows:
            click.echo(row.stream)
    else:
        _show(screen, judges, reports, rows)
        if trusted is None:
            screen.note("The keys are the log's own. Hold them against keys you got from elsewhere: --key-file.")
    sound = [report for report in reports if report.events and not report.problems]
    verdict = worst(*(row.interval.verdict for row in rows))
    return _exit(verdict, whole=len(sound) == len(reports) and bool(rows))


def _exit(verdict: Verdict, *, whole: bool) -> ExitCode:
    from services.verifier.verdict import Verdict

    if verdict is Verdict.FAIL:
        return ExitCode.REFUSED
    return ExitCode.OK if verdict is Verdict.PASS and whole else ExitCode.UNPROVEN


def _of_file(path: Path, trusted: frozenset[bytes] | None, counter: Counter) -> list[Judge]:
    from services.verifier.files import NoEvidence, judge_file

    told = 0

    def progress(events: int) -> None:
        nonlocal told
        counter.add(events - told, "events")
        told = events

    try:
        with path.open(encoding="utf-8") as lines:
            return judge_file(lines, trusted=trusted, progress=progress)
    except (OSError, UnicodeDecodeError, NoEvidence) as error:
        raise CliError(
            f"{path}: {error}", reason="NO_EVIDENCE", remedy="Give a file that `bms audit export` wrote, uncut."
        ) from None


def _streams(report: Report, server: str, since: datetime | None) -> Iterator[StreamReport]:
    for stream in report.streams.values():
        if server and stream.stream != server:
            continue
        yield stream.since(_micros(since)) if since else stream


def _rows(report: Report, names: dict[str, str], server: str, since: datetime | None) -> Iterator[Row]:
    for stream in _streams(report, server, since):
        label = names.get(stream.stream) or stream.stream.removeprefix("servers/")
        for interval in stream.intervals:
            yield Row(label, report.service, stream.stream, interval)


def _show(screen: Screen, judges: Sequence[Judge], reports: Sequence[Report], rows: Sequence[Row]) -> None:
    """The table of servers; of addresses those alone that do not pass; each log in a line; findings with witnesses."""
    from services.verifier.verdict import Verdict

    shown = [row for row in rows if row.stream.startswith("servers/") or row.interval.verdict is not Verdict.PASS]
    if shown:
        titles = ("SERVER", "FROM", "TO", "EVENTS", "VERDICT", "WHY")
        screen.table(titles, [_cells(row) for row in shown])
    for row in shown:
        for finding in row.interval.findings:
            _tell(screen, row.label, finding)
    for judge, report in zip(judges, reports, strict=True):
        for problem in report.problems:
            _tell(screen, report.service, problem)
        keys = ", ".join(key.key_id for key in judge.keys.known) or "none"
        streams = f"{len(report.streams)} {'servers' if report.service == 'lifecycle' else 'addresses'}"
        screen.print(
            f"{report.service}: {screen.styled(report.verdict.value, _COLORS[report.verdict.value])}, {streams},"
            f" {report.events} events, proven up to position {report.judged_to}, keys {keys}"
        )


_COLORS = {"PASS": "green", "FAIL": "red", "TAINTED": "yellow", "UNKNOWN": "yellow"}


def _cells(row: Row) -> tuple[str, ...]:
    interval = row.interval
    span = f"{interval.first}-{interval.last}"
    return row.label, _when(interval.begin), _when(interval.end), span, interval.verdict.value, _why(interval)


def _why(interval: Interval) -> str:
    return interval.reason or "; ".join(f"{one.invariant}: {one.message}" for one in interval.findings)


def _tell(screen: Screen, label: str, finding: Finding) -> None:
    screen.print(f"{label}: {screen.styled(finding.invariant, 'bold')}: {finding.message}")
    for witness in dict.fromkeys(finding.witnesses):
        screen.print(f"  {_when(witness.time)}  {witness.type}  sequence {witness.sequence}  {witness.event}")


def _report_data(judge: Judge, report: Report, server: str, since: datetime | None) -> dict[str, Any]:
    return {
        "service": report.service,
        "verdict": report.verdict.value,
        "events": report.events,
        "judged_to": report.judged_to,
        "keys": [key.key_id for key in judge.keys.known],
        "problems": _findings(report.problems),
        "streams": [
            {
                "stream": stream.stream,
                "verdict": stream.verdict.value,
                "intervals": [
                    {
                        "verdict": one.verdict.value,
                        "first": one.first,
                        "last": one.last,
                        "begin": _iso(one.begin),
                        "end": _iso(one.end),
                        "reason": one.reason,
                        "findings": _findings(one.findings),
                    }
                    for one in stream.intervals
                ],
            }
            for stream in _streams(report, server, since)
        ],
    }


def _findings(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    return [
        {"invariant": one.invariant, "message": one.message, "witnesses": [_witness(each) for each in one.witnesses]}
        for one in findings
    ]


def _witness(one: Witness) -> dict[str, Any]:
    return {
        "event": one.event,
        "position": one.position,
        "sequence": one.sequence,
        "type": one.type,
        "time": _iso(one.time),
    }


def _micros(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)


def _iso(micros: int) -> str:
    return datetime.fromtimestamp(micros / 1_000_000, UTC).isoformat(timespec="microseconds") if micros else ""


def _when(micros: int) -> str:
    found = datetime.fromtimestamp(micros / 1_000_000, UTC).astimezone() if micros else None
    return found.strftime("%Y-%m-%d %H:%M:%S") if found else "-"
