# SPDX-License-Identifier: Apache-2.0
"""The file that evidence travels in: one JSON object a line, what is hashed in it as base64 of its very bytes.

    {"format": "bms.evidence", "version": 1}
    {"log": "lifecycle", "stream": ""}             a log begins; with a stream, only that one is given
    {"state": "…"}                                 what an earlier part of the log came to (see cut.py); optional
    {"key": "…"}                                   a bms.event.v1.SigningKey; all keys of a log come first
    {"proof": "…"}                                 a StreamProof, where only one stream is given
    {"event": "…"}                                 a StoredEvent, by rising position
    {"checkpoint": "…"}                            a SignedCheckpoint, after the last event that it covers, or earlier

A file may hold several logs, one after the other.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO

from google.protobuf.message import DecodeError, Message

from bms.event.v1 import event_pb2
from services.verifier.cut import NoState, resume
from services.verifier.judge import Judge

FORMAT = "bms.evidence"
VERSION = 1

_KINDS: dict[str, type[Message]] = {
    "key": event_pb2.SigningKey,
    "proof": event_pb2.StreamProof,
    "event": event_pb2.StoredEvent,
    "checkpoint": event_pb2.SignedCheckpoint,
}


class NoEvidence(ValueError):
    """The file is not what it should be; the message names the line and the reason."""


class Writer:
    """Writes evidence, line by line."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._line({"format": FORMAT, "version": VERSION})

    def log(self, service: str, stream: str = "") -> None:
        """What follows is of this log."""
        self._line({"log": service, "stream": stream})

    def state(self, state: bytes) -> None:
        """What an earlier part of the log came to."""
        self._line({"state": base64.b64encode(state).decode()})

    def put(self, message: Message) -> None:
        """A key, proof, event or checkpoint."""
        kind = next(name for name, type_ in _KINDS.items() if isinstance(message, type_))
        self._line({kind: base64.b64encode(message.SerializeToString()).decode()})

    def _line(self, content: dict[str, object]) -> None:
        self._out.write(json.dumps(content, separators=(",", ":")) + "\n")


def judge_file(
    lines: Iterable[str],
    *,
    trusted: frozenset[bytes] | None = None,
    progress: Callable[[int], None] = lambda _events: None,
) -> list[Judge]:
    """Judges every log in a file.

    Args:
        trusted: see `services.verifier.judge.Judge`.
        progress: called with how many events were read, now and then.

    Raises:
        NoEvidence: a line is not what it should be.
    """
    judges: list[Judge] = []
    events = 0
    for number, content in _contents(lines):
        if "log" in content:
            judges.append(Judge(str(content["log"]), trusted=trusted, stream=str(content.get("stream", ""))))
            continue
        if not judges:
            raise NoEvidence(f"line {number}: before it must stand the log that it is of")
        if "state" in content:
            judges[-1] = _resumed(judges[-1], content["state"], trusted, number)
            continue
        message = _message(content, number)
        match message:
            case event_pb2.StoredEvent():
                judges[-1].event(message)
                events += 1
                if events % 1000 == 0:
                    progress(events)
            case event_pb2.SignedCheckpoint():
                judges[-1].checkpoint(message)
            case event_pb2.SigningKey():
                judges[-1].key(message)
            case event_pb2.StreamProof():
                judges[-1].proof(message)
    progress(events)
    if not judges:
        raise NoEvidence("it holds no log")
    return judges


def _contents(lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    first = True
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except ValueError:
            raise NoEvidence(f"line {number}: it is no JSON; was the file cut off?") from None
        if not isinstance(content, dict):
            raise NoEvidence(f"line {number}: it is no JSON object")
        if first:
            if content.get("format") != FORMAT or content.get("version") != VERSION:
                raise NoEvidence(
                    f'line {number}: it does not begin with {{"format": "{FORMAT}", "version": {VERSION}}}'
                )
            first = False
            continue
        yield number, content


def _message(content: dict[str, Any], number: int) -> Message:
    for kind, type_ in _KINDS.items():
        if kind in content:
            try:
                return type_.FromString(base64.b64decode(content[kind], validate=True))
            except (DecodeError, TypeError, binascii.Error):
                raise NoEvidence(f"line {number}: its {kind} cannot be read") from None
    raise NoEvidence(f"line {number}: it is neither of log, state, key, proof, event, checkpoint")


def _resumed(judge: Judge, state: object, trusted: frozenset[bytes] | None, number: int) -> Judge:
    try:
        resumed = resume(base64.b64decode(str(state), validate=True), trusted)
    except (NoState, binascii.Error) as error:
        raise NoEvidence(f"line {number}: {error}") from None
    if resumed.service != judge.service or judge.position or judge.stream:
        raise NoEvidence(f"line {number}: a state stands right after the whole log that it is of")
    return resumed
