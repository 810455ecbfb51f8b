# SPDX-License-Identifier: Apache-2.0
"""The tables that can be asked, and their columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from services.kernel.errors import InvalidField
from telemetry.uves import TYPES

MESSAGE_TABLE: Final = "MessageTable"
OBJECT_TABLES: Final = frozenset(kind.table for kind in TYPES.values())


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        stored: the column of our store that holds it; empty where it is made of a message's XML.
        number: it holds whole numbers, others text.
        indexed: so the schema says: queries by it are quick.
    """

    name: str
    stored: str = ""
    number: bool = False
    indexed: bool = False


_COMMON: Final = (
    Column("MessageTS", "time", number=True),
    Column("Source", "source", indexed=True),
    Column("ModuleId", "module", indexed=True),
    Column("Messagetype", "message_type", indexed=True),
)
_MESSAGE: Final = (
    *_COMMON,
    Column("Category", "category"),
    Column("Level", "level", number=True),
    Column("NodeType", "node_type"),
    Column("InstanceId", "instance"),
    Column("SequenceNum", "sequence", number=True),
    Column("Type", "kind", number=True),
    Column("Xmlmessage"),
)
_OBJECT: Final = (
    _COMMON[0],
    Column("ObjectId", "object_key", indexed=True),
    *_COMMON[1:],
    Column("ObjectLog"),
    Column("SystemLog"),
)

Columns = Mapping[str, Column]


def _by_name(columns: tuple[Column, ...]) -> Columns:
    return MappingProxyType({column.name: column for column in columns})


MESSAGE_COLUMNS: Final = _by_name(_MESSAGE)
OBJECT_COLUMNS: Final = _by_name(_OBJECT)


def columns_of(table: str) -> Columns:
    """The columns of *table*, by name.

    Raises:
        InvalidField: it cannot be asked.
    """
    if table == MESSAGE_TABLE:
        return MESSAGE_COLUMNS
    if table in OBJECT_TABLES:
        return OBJECT_COLUMNS
    known = ", ".join((MESSAGE_TABLE, *sorted(OBJECT_TABLES)))
    raise InvalidField("table", f"{table[:60]!r} cannot be asked", remedy=f"Ask one of {known}.")
