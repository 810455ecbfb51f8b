# SPDX-License-Identifier: Apache-2.0
"""Verifies a file of evidence: ``bms-verify log.jsonl``; it needs nothing but the file.

The exit code is 0 if every verdict is PASS, 1 if one is FAIL, 2 if none is but one is UNKNOWN, 3 if none of both is but
one is TAINTED, 4 if the file cannot be read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from services.verifier.chain import key_id
from services.verifier.files import NoEvidence, judge_file
from services.verifier.judge import Judge
from services.verifier.verdict import Finding, Verdict, Witness, worst

EXIT = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.UNKNOWN: 2, Verdict.TAINTED: 3}
"""What a verdict is as an exit code."""
_UNREADABLE = 4


def main(argv: Sequence[str] | None = None) -> int:
    """Verifies, prints, answers the exit code."""
    options = _options().parse_args(argv)
    trusted = None
    if options.key:
        try:
            trusted = frozenset(bytes.fromhex(one) for one in options.key)
        except ValueError:
            sys.stderr.write("--key: give a public key as 64 hexadecimal digits\n")
            return _UNREADABLE
    try:
        with Path(options.file).open(encoding="utf-8") as lines:
            judges = judge_file(lines, trusted=trusted, progress=_progress if sys.stderr.isatty() else lambda _: None)
    except (OSError, UnicodeDecodeError, NoEvidence) as error:
        sys.stderr.write(f"{options.file}: {error}\n")
        return _UNREADABLE
    verdicts = [_show(judge, all_streams=options.all) for judge in judges]
    if trusted is None:
        sys.stdout.write("The keys were taken from the file itself. Give --key to hold it against one you trust.\n")
    return EXIT[worst(*verdicts)]


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bms-verify", description="Verifies a file of evidence.")
    parser.add_argument("file", help="what `bms audit export` wrote")
    parser.add_argument("--key", action="append", help="a public key you trust, in hexadecimal; may be given again")
    parser.add_argument("--all", action="store_true", help="also show the streams that pass")
    return parser


def _progress(events: int) -> None:
    sys.stderr.write(f"\r{events:,} events")
    sys.stderr.flush()


def _show(judge: Judge, *, all_streams: bool) -> Verdict:
    report = judge.report()
    keys = ", ".join(key_id(key.public_key) for key in judge.keys.known) or "none"
    sys.stdout.write(
        f"{report.service}: {report.verdict}; {report.events} events, {len(report.streams)} streams,"
        f" judged up to position {report.judged_to}; keys: {keys}\n"
    )
    for problem in report.problems:
        _tell(problem)
    for stream in report.streams.values():
        if stream.verdict is Verdict.PASS and not all_streams:
            continue
        for interval in stream.intervals:
            why = f": {interval.reason}" if interval.reason else ""
            span = f"{interval.first}-{interval.last} ({_when(interval.begin)} to {_when(interval.end)})"
            sys.stdout.write(f"  {stream.stream} {span} {interval.verdict}{why}\n")
            for finding in interval.findings:
                _tell(finding)
    return report.verdict


def _tell(finding: Finding) -> None:
    sys.stdout.write(f"    {finding.invariant}: {finding.message}\n")
    for witness in dict.fromkeys(finding.witnesses):
        sys.stdout.write(f"      {_cite(witness)}\n")


def _cite(witness: Witness) -> str:
    return (
        f"{_when(witness.time)} {witness.type} sequence {witness.sequence} position {witness.position} {witness.event}"
    )


def _when(micros: int) -> str:
    return datetime.fromtimestamp(micros / 1_000_000, UTC).isoformat(timespec="milliseconds") if micros else "-"


if __name__ == "__main__":
    sys.exit(main())
