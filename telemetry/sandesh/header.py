# SPDX-License-Identifier: Apache-2.0
"""Who sends, and what stands in front of every message."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final, NamedTuple

from telemetry.sandesh.errors import EncodeError, IdentityError
from telemetry.sandesh.schema import Hint, Message, Scalar, signature
from telemetry.sandesh.text import WRITERS, UnencodableError

CONTROL_CONTEXT: Final = "ctrl"
"""The ``Context`` of the messages of the handshake."""
# Plain numbers: operators of enumerations cost a microsecond each.
_SYNC: Final = int(Hint.SYNC)
_ESCAPED = frozenset("&'<>")


@dataclass(frozen=True, slots=True)
class Identity:
    """The name of a generator. Two sessions with one identity throw each other out.

    A collector reads headers without un-escaping, parses control messages twice and compares, and
    joins the four parts with colons. So none may be blank or hold ``& ' < >``, a colon or an
    unprintable character.

    Attributes:
        source: the host.
        module: the program.
        node_type: the role of the host, such as ``Config``.
        instance: tells replicas on one host apart.

    Raises:
        IdentityError: a part breaks the rule above.
    """

    source: str
    module: str
    node_type: str
    instance: str

    def __post_init__(self) -> None:
        for part in ("source", "module", "node_type", "instance"):
            text = getattr(self, part)
            if not text.strip() or not text.isprintable() or ":" in text or not _ESCAPED.isdisjoint(text):
                msg = f"{text!r} cannot be the {part} of a generator"
                raise IdentityError(msg)

    def __str__(self) -> str:
        """The generator's name, as the analytics API writes it."""
        return f"{self.source}:{self.node_type}:{self.module}:{self.instance}"


class Header(NamedTuple):
    """What stands in front of a message.

    Attributes:
        timestamp: microseconds since 1970, UTC.
        sequence: counts the messages of one type from 1; a UVE sent again keeps its number.
        kind: see `Kind`; a number, since a reader must not choke on kinds to come.
        hints: see `Hint`.
        level: see `Level`.
        address: the sender's IP address; no writer sets it, readers accept it.
        pid: as *address*.
    """

    timestamp: int
    module: str
    source: str
    node_type: str
    instance: str
    sequence: int
    version_sig: int
    kind: int
    hints: int
    level: int
    category: str = ""
    context: str = ""
    namespace: str = ""
    address: str | None = None
    pid: int | None = None


def header_of(message: Message, sender: Identity, timestamp: int, sequence: int, *, sync: bool = False) -> Header:
    """The header of a *message* that *sender* sends at *timestamp*; *sync* marks a UVE that is sent again."""
    version_sig, kind, hints, level, context = _traits(message)
    return Header(
        timestamp,
        sender.module,
        sender.source,
        sender.node_type,
        sender.instance,
        sequence,
        version_sig,
        kind,
        hints | _SYNC if sync else hints,
        level,
        message.category,
        context,
    )


def header_text(header: Header) -> str:
    """*header* as it is written. The two optional fields are left out, as the reference writers do.

    Raises:
        EncodeError: a part cannot be written.
    """
    before, between, after = _constant(
        header.namespace,
        header.module,
        header.source,
        header.context,
        header.version_sig,
        header.kind,
        header.hints,
        header.level,
        header.category,
        header.node_type,
        header.instance,
    )
    timestamp = _number("Timestamp", Scalar.I64, header.timestamp)
    sequence = _number("SequenceNum", Scalar.I32, header.sequence)
    return f"{before}{timestamp}{between}{sequence}{after}"


@cache
def _traits(message: Message) -> tuple[int, int, int, int, str]:
    context = CONTROL_CONTEXT if Hint.CONTROL in message.hints else ""
    return signature(message), int(message.kind), int(message.hints), int(message.level), context


# All headers of one generator and message type are alike but for two numbers.
@lru_cache(maxsize=1024)
def _constant(
    namespace: str,
    module: str,
    source: str,
    context: str,
    version_sig: int,
    kind: int,
    hints: int,
    level: int,
    category: str,
    node_type: str,
    instance: str,
) -> tuple[str, str, str]:
    before = f'<SandeshHeader>{_string("Namespace", 1, namespace)}<Timestamp type="i64" identifier="2">'
    between = (
        "</Timestamp>"
        f"{_string('Module', 3, module)}{_string('Source', 4, source)}{_string('Context', 5, context)}"
        '<SequenceNum type="i32" identifier="6">'
    )
    after = (
        "</SequenceNum>"
        f"{_i32('VersionSig', 7, version_sig)}{_i32('Type', 8, kind)}{_i32('Hints', 9, hints)}"
        f"{_i32('Level', 10, level)}{_string('Category', 11, category)}"
        f"{_string('NodeType', 12, node_type)}{_string('InstanceId', 13, instance)}</SandeshHeader>"
    )
    return before, between, after


def _string(name: str, identifier: int, value: str) -> str:
    return f'<{name} type="string" identifier="{identifier}">{_text(name, Scalar.STRING, value)}</{name}>'


def _i32(name: str, identifier: int, value: int) -> str:
    return f'<{name} type="i32" identifier="{identifier}">{_text(name, Scalar.I32, value)}</{name}>'


def _number(name: str, scalar: Scalar, value: int) -> str:
    return _text(name, scalar, value)


def _text(name: str, scalar: Scalar, value: object) -> str:
    try:
        return WRITERS[scalar](value)
    except UnencodableError as error:
        field = f"SandeshHeader.{name}"
        raise EncodeError(field, str(error)) from None
