# SPDX-License-Identifier: Apache-2.0
"""Messages that the reference encoder made from stated inputs, and types that only they use."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from telemetry.sandesh.header import Header, Identity, header_of
from telemetry.sandesh.messages import (
    IRONIC_NODE_INFO,
    NODE_STATUS_UVE,
    OBJECT_CONFIG_NODE,
    OBJECT_SERVER_TABLE,
    SANDESH_CTRL_CLIENT_TO_SERVER,
    SANDESH_CTRL_SERVER_TO_CLIENT,
    SANDESH_MODULE_CLIENT_TRACE,
)
from telemetry.sandesh.schema import (
    Enumeration,
    Field,
    Hint,
    Kind,
    ListOf,
    MapOf,
    Message,
    Scalar,
    SetOf,
    Struct,
    Type,
    in_table,
    uve,
)

GOLDEN: Final = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class Vector:
    """A message and what it was made from."""

    name: str
    frame: bytes
    told: dict[str, Any]

    @property
    def type(self) -> Message:
        return TYPES[self.told["class"]]

    @property
    def values(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(json.dumps(self.told["body"]))
        if self.told["class"] == "TruthAllUVE":
            # JSON has no numbers for keys.
            body["data"]["m_u16s"] = {int(key): value for key, value in body["data"]["m_u16s"].items()}
        return body

    @property
    def body(self) -> str:
        """The message's element, as written."""
        start = self.frame.index(b"</SandeshHeader>") + len(b"</SandeshHeader>")
        return self.frame[start : -len(b"</sandesh>")].decode()

    @property
    def sender(self) -> Identity:
        header = self.told["header"]
        return Identity(header["Source"], header["Module"], header["NodeType"], header["InstanceId"])

    @property
    def header(self) -> Header:
        told = self.told["header"]
        sync = bool(told["Hints"] & Hint.SYNC)
        return header_of(self.type, self.sender, told["Timestamp"], told["SequenceNum"], sync=sync)


def _key(name: str = "name") -> Field:
    return Field(name, Scalar.STRING, 1, (("key", OBJECT_SERVER_TABLE),))


def _rows(*rows: tuple[int, str, Type]) -> tuple[Field, ...]:
    return tuple(Field(name, type_, identifier) for identifier, name, type_ in rows)


_COLOR = Enumeration("Color")
_INNER = Struct("TruthInner", _rows((1, "a", Scalar.STRING), (2, "b", Scalar.U16), (3, "color", _COLOR)))
_ALL = Struct(
    "TruthAll",
    (
        _key(),
        *_rows(
            (2, "deleted", Scalar.BOOL),
            (3, "f_bool", Scalar.BOOL),
            (4, "f_byte", Scalar.BYTE),
            (5, "f_i16", Scalar.I16),
            (6, "f_i32", Scalar.I32),
            (7, "f_i64", Scalar.I64),
            (8, "f_u16", Scalar.U16),
            (9, "f_u32", Scalar.U32),
            (10, "f_u64", Scalar.U64),
            (11, "f_double", Scalar.DOUBLE),
            (12, "f_string", Scalar.STRING),
            (13, "f_xml", Scalar.XML),
            (14, "f_ipv4", Scalar.IPV4),
            (15, "f_ipaddr", Scalar.IPADDR),
            (16, "f_uuid", Scalar.UUID),
            (17, "f_enum", _COLOR),
            (18, "f_struct", _INNER),
            (19, "l_string", ListOf(Scalar.STRING)),
            (20, "l_u32", ListOf(Scalar.U32)),
            (21, "l_bool", ListOf(Scalar.BOOL)),
        ),
        Field("l_struct", ListOf(_INNER), 22, (("aggtype", "union"),)),
        *_rows((23, "m_ss", MapOf(Scalar.STRING, Scalar.STRING))),
        Field("m_su64", MapOf(Scalar.STRING, Scalar.U64), 24, (("tags", ".__key"), ("metric", "agg"))),
        Field("m_sstruct", MapOf(Scalar.STRING, _INNER), 25, (("tags", ".__key,.b"),)),
        *_rows(
            (26, "m_u16s", MapOf(Scalar.U16, Scalar.STRING)),
            (27, "s_string", SetOf(Scalar.STRING)),
            (28, "l_l", ListOf(ListOf(Scalar.U16))),
            (29, "l_double", ListOf(Scalar.DOUBLE)),
            (30, "l_enum", ListOf(_COLOR)),
        ),
        Field("counted", Scalar.U64, 31, (("aggtype", "counter"),)),
        *_rows((32, "m_slist", MapOf(Scalar.STRING, ListOf(Scalar.STRING)))),
    ),
)
TRUTH_ALL_UVE: Final = uve("TruthAllUVE", _ALL, version_sig=-1839337395)
"""Every type there is."""

_EVENT = Struct(
    "TruthServerEvent",
    (
        _key(),
        *_rows(
            (2, "event", Scalar.STRING),
            (3, "severity", Scalar.U32),
            (4, "details", MapOf(Scalar.STRING, Scalar.STRING)),
            (5, "labels", ListOf(Scalar.STRING)),
        ),
    ),
)
_LOG = Message(
    "TruthServerObjectLog",
    Kind.OBJECT,
    _rows((1, "data", _EVENT), (2, "note", Scalar.STRING)),
    category="BMS",
    version_sig=951987404,
)
_FLAT_LOG = Message(
    "TruthServerObjectLogFlat",
    Kind.OBJECT,
    (_key(), *_rows((2, "event", Scalar.STRING))),
    category="__default__",
    version_sig=1249134962,
)

TYPES: Final = {
    message.name: message
    for message in (
        IRONIC_NODE_INFO,
        in_table(NODE_STATUS_UVE, OBJECT_CONFIG_NODE),
        SANDESH_MODULE_CLIENT_TRACE,
        SANDESH_CTRL_CLIENT_TO_SERVER,
        SANDESH_CTRL_SERVER_TO_CLIENT,
        TRUTH_ALL_UVE,
        _LOG,
        _FLAT_LOG,
    )
}

VECTORS: Final = tuple(
    Vector(path.stem, path.with_suffix(".xml").read_bytes(), json.loads(path.read_text()))
    for path in sorted(GOLDEN.glob("*.json"))
)
BY_NAME: Final = {vector.name: vector for vector in VECTORS}
FULL: Final = BY_NAME["01-ironic-full"]


def rest(name: str) -> Any:
    """What the reference's API showed for a vector."""
    return json.loads((GOLDEN / "rest" / f"{name}.json").read_text())
