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
class Judged:
    """What was found of one log, and the keys that signed it; none where a service was asked for its own verdict."""

    report: Report
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One interval of one stream, as the table shows it."""

    label: str
    service: str
    stream: str
    interval: Interval


@audit.command("isolation", short_help="Judge the evidence on this machine.")
@click.option("--server", default="", shell_complete=complete_server, help="Only this server.")
@click.option("--since", type=Since(), metavar="WHEN", help="Only what reaches into this time: 2h, 2026-11-22.")
@click.option("--from-file", type=_FILE, help="Judge what `bms audit export` wrote, without asking any service.")
@KEY_FILE
@click.option(
    "--ask-service", is_flag=True, help="Believe lifecycle's own verifier instead: quick, and proves nothing."
)
@reads
def isolation(
    session: Session,
    server: str,
    since: datetime | None,
    from_file: Path | None,
    key_file: Path | None,
    ask_service: bool,
) -> ExitCode:
    """Judge the evidence on this machine: PASS, FAIL, TAINTED or UNKNOWN for each server, and why.

    A service is asked for the bytes of its log and believed nothing: signatures, chains and order are verified here.
    """
    from services.verifier.verdict import worst

    if ask_service and (from_file or key_file):
        raise BadUsage("a file, or the service?", remedy="Leave out --ask-service to judge on this machine.")
    if from_file is not None and server and "/" not in server:
        raise BadUsage("which server of the file?", remedy="Name it as servers/UUID: no service is asked for names.")
    names = dict[str, str]()
    if from_file is None and not server.startswith("servers/"):
        names = _names(session, server)
        server = next(iter(names)) if server else ""
    judged_logs = _judged(session, server, since, from_file, key_file, ask_service=ask_service)
    rows = [row for each in judged_logs for row in _rows(each.report, names, server, since)]
    screen = session.screen
    if screen.structured:
        screen.data([_report_data(each, server, since) for each in judged_logs])
    elif screen.format == "name":
        for row in rows:
            click.echo(row.stream)
    else:
        _show(screen, judged_logs, rows)
        if ask_service:
            screen.note("The service says so of itself. Leave out --ask-service to judge its log on this machine.")
        elif key_file is None:
            screen.note("The keys are the log's own. Hold them against keys you got from elsewhere: --key-file.")
    sound = not any(each.report.empty or each.report.problems for each in judged_logs)
    return _exit(worst(*(row.interval.verdict for row in rows)), whole=sound and bool(rows))


def _names(session: Session, server: str) -> dict[str, str]:
    """The names people use, of *server* or of all; none for a caller who may see no more than the logs."""
    import grpc

    if server:
        record = find(session, server)
        return {record.name: record.display_name}
    try:
        return {each.name: each.label for each in load(session, Selector(), with_status=False)}
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.PERMISSION_DENIED:
            return {}
        raise


def _judged(
    session: Session,
    server: str,
    since: datetime | None,
    from_file: Path | None,
    key_file: Path | None,
    *,
    ask_service: bool,
) -> list[Judged]:
    """What is known of each log: judged here, or as lifecycle's own verifier says."""
    if ask_service:
        from services.cli.asking import asked

        return [Judged(report) for report in asked(session, server, since)]
    trusted = trusted_keys(key_file)
    with Counter() as counter:
        if from_file is not None:
            judges = _of_file(from_file, trusted, counter)
        else:
            services = ("lifecycle",) if server else LOGS
            judges = [
                judged(session, service, server, trusted, lambda count: counter.add(count, "events"))
                for service in services
            ]
    return [Judged(judge.report(), tuple(key.key_id for key in judge.keys.known)) for judge in judges]


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


def _show(screen: Screen, logs: Sequence[Judged], rows: Sequence[Row]) -> None:
    """The table of servers; of addresses those alone that do not pass; each log in a line; findings with witnesses."""
    from services.verifier.verdict import Verdict

    rows = sorted(rows, key=lambda row: (row.service != "lifecycle", row.label, row.interval.first))
    shown = [row for row in rows if row.stream.startswith("servers/") or row.interval.verdict is not Verdict.PASS]
    if shown:
        titles = ("SERVER", "FROM", "TO", "EVENTS", "VERDICT", "WHY")
        screen.table(titles, [_cells(row) for row in shown])
    for row in shown:
        for finding in row.interval.findings:
            _tell(screen, row.label, finding)
    for each in logs:
        report = each.report
        for problem in report.problems:
            _tell(screen, report.service, problem)
        keys = f", keys {', '.join(each.keys)}" if each.keys else ""
        mark, one, several = _TOLD_OF.get(report.service, ("", "stream", "streams"))
        many = sum(mark in stream for stream in report.streams)
        streams = f"{many} {one if many == 1 else several}"
        screen.print(
            f"{report.service}: {screen.styled(report.verdict.value, _COLORS[report.verdict.value])}, {streams},"
            f" {report.events} events, judged up to position {report.judged_to}{keys}"
            + ("" if not report.empty else ": no event is covered by a checkpoint, so nothing is known")
        )


_TOLD_OF = {
    "lifecycle": ("servers/", "server", "servers"),
    "ipam": ("/addresses/", "address", "addresses"),
}
"""By service: what is in the names of the streams that are judged, and what they tell of, one and several."""
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


def _report_data(each: Judged, server: str, since: datetime | None) -> dict[str, Any]:
    report = each.report
    return {
        "service": report.service,
        "verdict": report.verdict.value,
        "events": report.events,
        "judged_to": report.judged_to,
        "keys": list(each.keys),
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
