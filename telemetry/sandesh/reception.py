# SPDX-License-Identifier: Apache-2.0
"""The collector's side of one session, without a socket: what to do with each frame."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum

from telemetry.sandesh.decode import Decoded, decode
from telemetry.sandesh.encode import body_text
from telemetry.sandesh.errors import DecodeError, IdentityError
from telemetry.sandesh.framing import frame
from telemetry.sandesh.header import CONTROL_CONTEXT, Identity, header_of, header_text
from telemetry.sandesh.messages import SANDESH_CTRL_CLIENT_TO_SERVER, SANDESH_CTRL_SERVER_TO_CLIENT
from telemetry.sandesh.schema import Hint
from telemetry.sandesh.tree import Plain, fields


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a generator says when it connects.

    Attributes:
        identity: its name.
        connections: how often it has connected, this time included.
        types: its UVE types, in whatever names it uses.
        pid: of its process.
        http_port: of its introspection pages; 0 for none or untold.
    """

    identity: Identity
    connections: int
    types: tuple[str, ...]
    pid: int
    http_port: int


@dataclass(frozen=True, slots=True)
class Received:
    """A message of a generator that has introduced itself.

    Attributes:
        generator: who sent it, by its introduction: headers of control messages may be empty.
        message: header and body.
        frame: the bytes as they came, envelope included.
        time: of arrival, microseconds since 1970.
    """

    generator: Identity
    message: Decoded
    frame: bytes
    time: int

    @property
    def xml(self) -> str:
        """The message's own element as it came, without header and envelope; bytes that are no UTF-8 replaced."""
        start = self.frame.find(b"</SandeshHeader>") + len(b"</SandeshHeader>")
        return self.frame[start : -len(b"</sandesh>")].decode("utf-8", "replace")


class Outcome(Enum):
    """What a frame came to."""

    INTRODUCED = "introduced"
    MESSAGE = "message"
    TOO_EARLY = "too_early"
    """Data before the introduction: dropped, the session goes on."""
    REPEATED = "repeated"
    """A second introduction: ignored, the session goes on."""


class Reception:
    """One session. A frame that raises ends it."""

    def __init__(self, *, repair: bool = True) -> None:
        self.announcement: Announcement | None = None
        self.outcomes: Counter[Outcome] = Counter()
        self.repaired = 0
        self._repair = repair

    def take(self, data: bytes) -> tuple[Outcome, Decoded]:
        """Reads one frame.

        Raises:
            DecodeError: it is no message, or an introduction that introduces nobody.
        """
        message = decode(data, repair=self._repair)
        self.repaired += message.repaired
        outcome = self._judge(message)
        self.outcomes[outcome] += 1
        return outcome, message

    def _judge(self, message: Decoded) -> Outcome:
        if not message.header.hints & Hint.CONTROL and message.header.context != CONTROL_CONTEXT:
            return Outcome.TOO_EARLY if self.announcement is None else Outcome.MESSAGE
        if self.announcement is not None:
            return Outcome.REPEATED
        self.announcement = announcement(message)
        return Outcome.INTRODUCED


def announcement(message: Decoded) -> Announcement:
    """What a control message of a generator says.

    Raises:
        DecodeError: it is another message, lacks a field, or holds what cannot be a name. (The
            reference library crashes on some of these.)
    """
    if message.body.name != SANDESH_CTRL_CLIENT_TO_SERVER.name:
        msg = f"{message.body.name} is no introduction of a generator"
        raise DecodeError(msg)
    given = fields(message.body)
    try:
        identity = Identity(
            source=_text(given, "source"),
            module=_text(given, "module_name"),
            node_type=_text(given, "node_type_name"),
            instance=_text(given, "instance_id_name"),
        )
    except IdentityError as error:
        raise DecodeError(str(error)) from None
    types = given.get("uve_types")
    return Announcement(
        identity=identity,
        connections=_number(given, "sucessful_connections"),
        types=tuple(name for name in types if isinstance(name, str)) if isinstance(types, list) else (),
        pid=_number(given, "pid"),
        http_port=_number(given, "http_port"),
    )


def answer(collector: Identity, time: int, number: int, *, success: bool = True) -> bytes:
    """The frame that answers an introduction.

    It names no types: the generator then sends all its UVEs, which is what the reference asks for too.
    """
    message = SANDESH_CTRL_SERVER_TO_CLIENT
    header = header_of(message, collector, time, number)
    return frame((header_text(header) + body_text(message, {"type_info": [], "success": success})).encode())


def _text(given: dict[str, Plain], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str):
        msg = f"the introduction lacks {name}"
        raise DecodeError(msg)
    return value


def _number(given: dict[str, Plain], name: str) -> int:
    value = given.get(name, 0)
    if not isinstance(value, int):
        msg = f"the introduction's {name} is no number"
        raise DecodeError(msg)
    return value
