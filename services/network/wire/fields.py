# SPDX-License-Identifier: Apache-2.0
"""Fields that messages of several kinds have, and the filters of listings."""

from __future__ import annotations

from collections.abc import Callable

from bms.network.v1 import network_pb2
from services.kernel.errors import InvalidField
from services.network.domain.networks import PortClass
from services.network.operations.store import Condition
from services.runtime.filters import parse

MAX_TEXT = 255

CLASSES: dict[int, PortClass] = {
    network_pb2.PORT_CLASS_QUARANTINE: PortClass.QUARANTINE,
    network_pb2.PORT_CLASS_PROVISIONING: PortClass.PROVISIONING,
    network_pb2.PORT_CLASS_CLEANING: PortClass.CLEANING,
    network_pb2.PORT_CLASS_RESCUE: PortClass.RESCUE,
    network_pb2.PORT_CLASS_TENANT: PortClass.TENANT,
    network_pb2.PORT_CLASS_UNKNOWN: PortClass.UNKNOWN,
}
CLASS_NUMBERS: dict[PortClass, network_pb2.PortClass.ValueType] = {
    port_class: network_pb2.PortClass.Value(f"PORT_CLASS_{port_class.name}") for port_class in PortClass
}


def printable(text: str, where: str, longest: int) -> str:
    """*text*, if it has at most *longest* characters, all of which can be printed; *where* is its path in the request.

    Raises:
        InvalidField: it is longer, or has others.
    """
    if len(text) > longest:
        raise InvalidField(field=where, description=f"has {len(text)} characters", remedy=f"Give at most {longest}.")
    if not text.isprintable():
        raise InvalidField(field=where, description="has characters that cannot be printed", remedy="Leave them out.")
    return text


def conditions(text: str, fields: dict[str, Callable[[str], str | int]]) -> list[Condition]:
    """The filter *text* of a listing; *fields* are what may be compared, and how its values are read.

    Raises:
        InvalidField: it is none.
    """
    return [Condition(term.field, term.op == "=", fields[term.field](term.value)) for term in parse(text, fields)]
