# SPDX-License-Identifier: Apache-2.0
"""What a generator must be told."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from telemetry.sandesh.framing import DEFAULT_LIMIT
from telemetry.sandesh.header import Identity
from telemetry.sandesh.messages import OBJECT_CONFIG_NODE

DEFAULT_PORT: Final = 8086
"""Where collectors listen."""

_ADDRESS = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.%]+)\]|(?P<host>[^:\s\[\]]+))(?::(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a collector listens."""

    host: str
    port: int = DEFAULT_PORT

    @classmethod
    def parse(cls, text: str) -> Address:
        """``host``, ``host:port`` or ``[IPv6]:port``.

        Raises:
            ValueError: *text* is none of these.
        """
        found = _ADDRESS.fullmatch(text.strip())
        port = int(found["port"] or DEFAULT_PORT) if found else 0
        if found is None or not 0 < port < 65536:
            msg = f"{text!r} is no address of a collector"
            raise ValueError(msg)
        return cls(found["six"] or found["host"], port)

    def __str__(self) -> str:
        """As collectors are written in ``collector_ip`` and ``server_addrs``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class GeneratorSettings:
    """Who we are, whom we tell, and how patient we are. Times are seconds.

    Attributes:
        identity: unique among all generators of a collector, replicas included.
        collectors: tried in this order, round and round. Give each replica another order.
        node_table: the object table of our node's status; by the node type.
        pid: of this process.
        http_port: of our introspection pages; 0 for none.
        start_time: of this process, microseconds since 1970.
        connect_timeout: for the connection, TLS included.
        init_timeout: for the collector's answer.
        first_hold: the pause after the first failure; doubles with each, up to *longest_hold*.
        settle: a session that ends sooner counts as a failure, so that two generators with one
            identity do not chase each other.
        tick: our own state is told again this often.
        frame_limit: largest message taken from a collector, bytes.
    """

    identity: Identity
    collectors: tuple[Address, ...] = field(default_factory=tuple)
    node_table: str = OBJECT_CONFIG_NODE
    pid: int = 0
    http_port: int = 0
    start_time: int = 0
    connect_timeout: float = 5.0
    init_timeout: float = 30.0
    first_hold: float = 1.0
    longest_hold: float = 30.0
    settle: float = 5.0
    tick: float = 30.0
    frame_limit: int = DEFAULT_LIMIT
