# SPDX-License-Identifier: Apache-2.0
"""Values of any Sandesh type, and what becomes of them on the way."""

from __future__ import annotations

import ipaddress
from typing import Any

from hypothesis import strategies as st

from telemetry.sandesh.schema import RANGES, Enumeration, ListOf, MapOf, Scalar, SetOf, Struct, Type

LEGAL = st.characters(
    blacklist_categories=["Cs"],
    blacklist_characters=[*(chr(number) for number in range(32) if number not in {9, 10, 13}), "\ufffe", "\uffff"],
)
TEXT = st.text(st.one_of(LEGAL, st.sampled_from("&'<>\"\r\n\t ;")), max_size=20)


def values_of(type_: Type) -> st.SearchStrategy[Any]:
    """Any value of *type_*; any of a struct's fields may be absent, but for one called name."""
    match type_:
        case Struct():
            fields = {field.name: values_of(field.type) for field in type_.fields}
            required = {"name": fields.pop("name")} if "name" in fields else {}
            return st.fixed_dictionaries(required, optional=fields)
        case ListOf():
            return st.lists(values_of(type_.element), max_size=3)
        case SetOf():
            return st.lists(values_of(type_.element), max_size=3, unique=True)
        case MapOf():
            return st.dictionaries(_keys(type_.key), values_of(type_.value), max_size=3)
        case Enumeration():
            return values_of(Scalar.I32)
        case Scalar.BOOL:
            return st.booleans()
        case Scalar.DOUBLE:
            return st.floats(allow_nan=False, allow_infinity=False)
        case Scalar.XML:
            return TEXT.filter(lambda text: "]]>" not in text)
        case Scalar.IPADDR:
            return st.ip_addresses().map(str)
        case Scalar.UUID:
            return st.uuids().map(str)
        case Scalar.STRING:
            return TEXT
        case _:
            low, high = RANGES[type_]
            return st.integers(low, high)


def _keys(type_: Scalar) -> st.SearchStrategy[Any]:
    # Keys that XML makes equal would be one key on arrival.
    return st.text("abc&'<>", max_size=3) if type_ is Scalar.STRING else values_of(type_)


def arrived(type_: Type, value: Any) -> Any:
    """What a reader gets of *value*."""
    match type_:
        case Struct():
            types = {field.name: field.type for field in type_.fields}
            # In the order of the fields, whatever the order given.
            return {name: arrived(part, value[name]) for name, part in types.items() if name in value}
        case ListOf() | SetOf():
            return [arrived(type_.element, item) for item in value]
        case MapOf():
            return {str(key): arrived(type_.value, item) for key, item in value.items()}
        case Scalar.STRING | Scalar.XML:
            text = value.replace("\r\n", "\n").replace("\r", "\n")
            return "" if text.isspace() else text
        case Scalar.IPADDR:
            return str(ipaddress.ip_address(value))
        case _:
            return value
