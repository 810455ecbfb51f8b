# SPDX-License-Identifier: Apache-2.0
"""Evidence travels in a file, and is judged from it, whole or in parts."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bms.event.v1 import event_pb2
from services.verifier.__main__ import main
from services.verifier.cut import NoState, resume, state_of
from services.verifier.files import NoEvidence, Writer, judge_file
from services.verifier.judge import Judge
from services.verifier.verdict import Verdict
from tests.verifier.evidence import Evidence

RELEASED = Path(__file__).with_name("released")


def test_a_file_says_what_the_log_says(life: Evidence) -> None:
    """
    Written and read again, the same verdicts over the same intervals.
    """
    (judge,) = judge_file(io.StringIO(life.write()))

    assert judge.report() == life.judge()
    assert judge.report().verdict is Verdict.PASS


def test_a_log_is_judged_in_parts(life: Evidence) -> None:
    """
    Cut at any checkpoint, the state of the first part and the second part come to what the whole comes to.
    """
    cuts = [event_pb2.Checkpoint.FromString(one.checkpoint).position for one in life.checkpoints]
    whole = life.judge()
    for number, cut in enumerate(cuts[:-1], 1):
        first = Judge("lifecycle")
        for key in life.keys:
            first.key(key)
        for checkpoint in life.checkpoints[:number]:
            first.checkpoint(checkpoint)
        for event in life.events[:cut]:
            first.event(event)
        archive = io.StringIO()
        writer = Writer(archive)
        writer.log("lifecycle")
        writer.state(state_of(first))
        for event in life.events[cut:]:
            writer.put(event)
            for position, checkpoint in zip(cuts, life.checkpoints, strict=True):
                if position == event.position:
                    writer.put(checkpoint)

        (second,) = judge_file(io.StringIO(archive.getvalue()))

        report = second.report()
        assert report.problems == ()
        assert (report.judged_to, report.verdict) == (whole.judged_to, Verdict.PASS)
        assert state_of(second) == state_of(_all(life))


def _all(life: Evidence) -> Judge:
    (judge,) = judge_file(io.StringIO(life.write()))
    return judge


def test_a_state_is_taken_at_a_checkpoint_alone(life: Evidence) -> None:
    """
    Elsewhere nothing proves where the streams ended; and what is no state is not taken for one.
    """
    judge = Judge("lifecycle")
    judge.event(life.events[0])

    with pytest.raises(NoState, match="is not a checkpoint"):
        state_of(judge)
    for wrong in (b"", b"{}", b"[]", b'{"version": 2}', state_of(_all(life))[:-9]):
        with pytest.raises(NoState):
            resume(wrong)


def test_a_missing_part_is_seen(life: Evidence) -> None:
    """
    A later part that does not begin where the state ends is UNKNOWN.
    """
    judge = resume(state_of(_all(life)))
    judge.event(life.events[5])

    assert judge.report().verdict is Verdict.UNKNOWN


def lines(life: Evidence) -> list[str]:
    return life.write().splitlines(keepends=True)


def broken(life: Evidence) -> Iterator[tuple[str, list[str]]]:
    """What a file can be instead of evidence, and what it is then told."""
    whole = lines(life)
    yield "it does not begin with", whole[1:]
    yield "it does not begin with", ['{"format": "bms.evidence", "version": 9}\n', *whole[1:]]
    yield "before it must stand the log", [whole[0], *whole[2:]]
    yield "was the file cut off", [*whole[:9], whole[9][:40]]
    yield "its event cannot be read", [*whole[:4], '{"event": "%%%"}\n']
    yield "its event cannot be read", [*whole[:4], json.dumps({"event": base64.b64encode(b"\xff\xff").decode()})]
    yield "it is neither of", [*whole[:4], '{"remark": "hello"}\n']
    yield "it is no JSON object", [*whole[:4], "[]\n"]
    yield "it holds no log", whole[:1]
    yield "it holds no log", []
    yield (
        "a state stands right after",
        [*whole[:6], json.dumps({"state": base64.b64encode(state_of(_all(life))).decode()})],
    )


def test_what_is_no_evidence_is_refused_with_its_line(
    life: Evidence, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Each broken file is named with its line and reason, and the command's exit code is that of a file it cannot read.
    """
    for reason, content in broken(life):
        with pytest.raises(NoEvidence, match=reason):
            judge_file(content)
        file = tmp_path / "log.jsonl"
        file.write_text("".join(content))
        assert main([str(file)]) == 4
        assert reason in capsys.readouterr().err
    assert main([str(tmp_path / "none.jsonl")]) == 4
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    assert main([str(tmp_path / "binary")]) == 4


def test_the_command_says_what_it_found(life: Evidence, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Exit codes by verdict; the keys are held against one that is trusted; a tampered server is named with its events.
    """
    file = tmp_path / "log.jsonl"
    file.write_text(life.write())
    key = life.keys[0].public_key.hex()

    assert main([str(file)]) == 0
    assert "taken from the file itself" in capsys.readouterr().out
    assert main([str(file), "--key", key, "--all"]) == 0
    shown = capsys.readouterr().out
    assert "taken from the file itself" not in shown
    assert "servers/00000001-0000-4000-8000-000000000000 1-" in shown
    assert main([str(file), "--key", "00" * 32]) == 2
    assert "nothing that is trusted vouches for key" in capsys.readouterr().out
    assert main([str(file), "--key", "xyz"]) == 4
    file.write_text("".join(line for number, line in enumerate(lines(life)) if number != 30))
    assert main([str(file)]) == 2
    assert "LOG: after position" in capsys.readouterr().out


@pytest.mark.parametrize("file", sorted(RELEASED.glob("*.jsonl")), ids=lambda path: path.stem)
def test_every_released_form_verifies_for_ever(file: Path) -> None:
    """
    What a release wrote is verified by every later one; files are only ever added to this folder.
    """
    with file.open() as content:
        reports = [judge.report() for judge in judge_file(content)]

    assert reports
    assert all(report.verdict is Verdict.PASS for report in reports), [report.problems for report in reports]
    assert sum(report.events for report in reports) > 100


def test_there_is_a_released_form() -> None:
    """
    The folder is not empty, so that the test above tests something.
    """
    assert [file.name for file in sorted(RELEASED.glob("*.jsonl"))] == ["0.1.0-lifecycle.jsonl"]
