# SPDX-License-Identifier: Apache-2.0
"""How fast messages are written and read, per core: run as ``python -m tests.benchmarks.bench_sandesh``.

The message is the full IronicNodeInfo of the reference's vectors, 5.6 KB. The yardsticks are run beside it: for
writing, the same message built as an lxml tree; for reading, the same frame parsed by ElementTree (expat, in C) without
anything made of it. Contenders take turns in short slices, counted in CPU time of this process; the median says what
one gets, the best slice what an undisturbed core would give.

On machines of this class the reference generator (pysandesh) writes 5,350 such messages per second of CPU, and reads
1,900.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from xml.etree import ElementTree as ET

from lxml import etree

from telemetry.sandesh.decode import decode, parse_fragment
from telemetry.sandesh.encode import encode
from telemetry.sandesh.fit import exposes
from telemetry.sandesh.framing import FrameReader, frame
from telemetry.sandesh.header import Header, header_of
from telemetry.sandesh.messages import IRONIC_NODE_INFO
from telemetry.sandesh.schema import Field, ListOf, Scalar, Struct, Type, label
from telemetry.sandesh.session import ClientSession
from telemetry.sandesh.settings import Address, GeneratorSettings
from telemetry.sandesh.uve import UveCache
from tests.telemetry.sandesh.vectors import BY_NAME, FULL

SLICE = 0.15
ROUNDS = 15
WRITES, READS = 25_000, 6_000
"""What an undisturbed core must do, messages a second."""

HEADER_FIELDS = (
    ("Namespace", "string", "namespace"),
    ("Timestamp", "i64", "timestamp"),
    ("Module", "string", "module"),
    ("Source", "string", "source"),
    ("Context", "string", "context"),
    ("SequenceNum", "i32", "sequence"),
    ("VersionSig", "i32", "version_sig"),
    ("Type", "i32", "kind"),
    ("Hints", "i32", "hints"),
    ("Level", "i32", "level"),
    ("Category", "string", "category"),
    ("NodeType", "string", "node_type"),
    ("InstanceId", "string", "instance"),
)


@dataclass
class Contender:
    """Something that handles one message at a time."""

    name: str
    once: Callable[[], object]
    rates: list[float] = field(default_factory=list)

    def slice(self) -> None:
        """Runs for a while and notes messages per second of CPU."""
        done = 0
        start = time.process_time()
        while (spent := time.process_time() - start) < SLICE:
            for _ in range(50):
                self.once()
            done += 50
        self.rates.append(done / spent)

    @property
    def median(self) -> float:
        """What one gets."""
        return statistics.median(self.rates)

    @property
    def best(self) -> float:
        """What an undisturbed core would give."""
        return max(self.rates)


Row = tuple[str, dict[str, str], Any, str]
"""A field, worked out before the race: name, attributes, what it is made of, and which kind that is."""


def rows(fields: tuple[Field, ...]) -> tuple[Row, ...]:
    """*fields*, so that the tree's builder need not look at the schema any more."""
    return tuple(
        (
            one.name,
            {"type": label(one.type), "identifier": str(one.identifier), **dict(one.annotations)},
            *part(one.type),
        )
        for one in fields
    )


def part(type_: Type) -> tuple[Any, str]:
    """What a value of *type_* is made of."""
    match type_:
        case Struct():
            return (type_.name, rows(type_.fields)), "struct"
        case ListOf():
            struct, _ = part(type_.element)
            return struct, "list"
        case Scalar.BOOL:
            return None, "bool"
        case _:
            return None, "text"


ROWS = rows(IRONIC_NODE_INFO.fields)
SubElement = etree.SubElement


def built_as_a_tree(header: Header, values: Mapping[str, Any]) -> bytes:
    """The same frame by way of an lxml tree; equal but for apostrophes, of which there are none."""
    root = etree.Element("SandeshHeader")
    for identifier, (name, type_, attribute) in enumerate(HEADER_FIELDS, 1):
        SubElement(root, name, type=type_, identifier=str(identifier)).text = str(getattr(header, attribute))
    body = etree.Element(IRONIC_NODE_INFO.name, type="sandesh")
    _add(body, ROWS, values)
    return frame(etree.tostring(root, encoding="utf-8") + etree.tostring(body, encoding="utf-8"))


def _add(parent: etree._Element, fields: tuple[Row, ...], values: Mapping[str, Any]) -> None:
    for name, attributes, inner, kind in fields:
        value = values.get(name)
        if value is None:
            continue
        element = SubElement(parent, name, attributes)
        if kind == "text":
            element.text = value if value.__class__ is str else str(value)
        elif kind == "bool":
            element.text = "true" if value else "false"
        elif kind == "struct":
            _add(SubElement(element, inner[0]), inner[1], value)
        else:
            items = SubElement(element, "list", type="struct", size=str(len(value)))
            for item in value:
                _add(SubElement(items, inner[0]), inner[1], item)


def main() -> int:
    """Prints the figures; 1 if the best slice is below `WRITES` or `READS`, whatever disturbs it."""
    values, sender, numbers = FULL.values, FULL.sender, count(1)
    cache = UveCache()

    def write() -> bytes:
        number = next(numbers)
        return encode(
            header_of(IRONIC_NODE_INFO, sender, 1_700_000_000_000_000 + number, number), IRONIC_NODE_INFO, values
        )

    def tree() -> bytes:
        number = next(numbers)
        return built_as_a_tree(header_of(IRONIC_NODE_INFO, sender, 1_700_000_000_000_000 + number, number), values)

    if encode(FULL.header, IRONIC_NODE_INFO, values) != built_as_a_tree(FULL.header, values):
        print("the two ways of writing differ", file=sys.stderr)  # noqa: T201
        return 1
    whole, text = values["data"], FULL.frame.decode()
    session = ClientSession(GeneratorSettings(identity=sender, collectors=(Address("127.0.0.1"),)), (IRONIC_NODE_INFO,))
    session.start(0)
    session.connected(session.attempt, 0)
    session.received(session.attempt, BY_NAME["24-ctrl-s2c-empty"].frame, 0)

    def tell() -> None:
        number = next(numbers)
        changed = {**whole, "host_name": f"r{number}"}
        exposes(IRONIC_NODE_INFO, changed)
        session.uve(IRONIC_NODE_INFO, changed, number, 0)

    contenders = [
        Contender("encode", write),
        Contender("lxml tree build", tree),
        Contender("cache update", lambda: cache.update(IRONIC_NODE_INFO, whole)),
        Contender("told by session", tell),
        Contender("expat parse", lambda: ET.fromstring(FULL.frame)),
        Contender("parse to nodes", lambda: parse_fragment(text)),
        Contender("frame + decode", lambda: [decode(one) for one in FrameReader().feed(FULL.frame)]),
        Contender("frame only", lambda: list(FrameReader().feed(FULL.frame))),
    ]
    for _ in range(ROUNDS):
        for contender in contenders:
            contender.slice()
    print(f"{len(FULL.frame)} bytes a message; messages per second of CPU of a core, and the ratio to the yardstick")  # noqa: T201
    for yardstick, group in ((contenders[1], contenders[:4]), (contenders[4], contenders[4:])):
        for contender in group:
            ratio = f"{contender.median / yardstick.median:6.2f} x {yardstick.name}"
            print(f"{contender.name:16} median {contender.median:9,.0f}  best {contender.best:9,.0f}  {ratio}")  # noqa: T201
    return 0 if contenders[0].best >= WRITES and contenders[6].best >= READS else 1


if __name__ == "__main__":
    sys.exit(main())
