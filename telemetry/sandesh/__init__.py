# SPDX-License-Identifier: Apache-2.0
"""Sandesh, the protocol of Contrail's analytics: XML messages in length-prefixed frames over TCP.

schema, messages     what can be said
fit                  values that came from elsewhere -> values that fit
text, header,
framing, encode      values -> bytes
decode, quick, tree  bytes -> values
publication          what a collector makes of a message
uve, watermarks,
states, session      a generator, without socket or clock; actions and settings are its in and out
ledger, sending      what became of messages, and the switches of sending
generator            its socket and clock
reception, collector our own collector, without and with its socket
flat, aggregate      the analytics API's rendering of what was collected
introspect*          a generator's own pages
"""

from __future__ import annotations

from telemetry.sandesh.actions import Fate
from telemetry.sandesh.collector import Collector, CollectorSettings, Sink
from telemetry.sandesh.decode import Decoded, decode
from telemetry.sandesh.encode import encode
from telemetry.sandesh.errors import (
    DecodeError,
    EncodeError,
    FrameError,
    IdentityError,
    SandeshError,
    SchemaError,
)
from telemetry.sandesh.flat import UveView
from telemetry.sandesh.framing import FrameReader
from telemetry.sandesh.generator import Generator
from telemetry.sandesh.header import Header, Identity, header_of
from telemetry.sandesh.publication import UveUpdate, object_names, uve_update
from telemetry.sandesh.reception import Announcement, Received
from telemetry.sandesh.settings import Address, GeneratorSettings
from telemetry.sandesh.status import Connection, ConnectionStatus

__all__ = [
    "Address",
    "Announcement",
    "Collector",
    "CollectorSettings",
    "Connection",
    "ConnectionStatus",
    "DecodeError",
    "Decoded",
    "EncodeError",
    "Fate",
    "FrameError",
    "FrameReader",
    "Generator",
    "GeneratorSettings",
    "Header",
    "Identity",
    "IdentityError",
    "Received",
    "SandeshError",
    "SchemaError",
    "Sink",
    "UveUpdate",
    "UveView",
    "decode",
    "encode",
    "header_of",
    "object_names",
    "uve_update",
]
