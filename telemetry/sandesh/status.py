# SPDX-License-Identifier: Apache-2.0
"""What a generator says of itself: the connections it needs, and so whether it is functional."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from telemetry.sandesh import counts
from telemetry.sandesh.header import Identity
from telemetry.sandesh.ledger import Ledger
from telemetry.sandesh.settings import Address, GeneratorSettings
from telemetry.sandesh.states import State


class ConnectionStatus(StrEnum):
    """How a connection is."""

    INIT = "Initializing"
    DOWN = "Down"
    UP = "Up"


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection that this process needs.

    Attributes:
        type: what is at its other end, in the words of contrail-status: "Collector", "Database",
            "ApiServer", "Generic Connection" for anything else.
        name: tells connections of one type apart.
        status: see `ConnectionStatus`.
        addresses: where it leads.
        description: what is wrong, for people.
    """

    type: str
    name: str
    status: ConnectionStatus
    addresses: tuple[str, ...] = ()
    description: str = ""


def node_status(identity: Identity, connections: Iterable[Connection]) -> dict[str, Any]:
    """The ``NodeStatus`` of a process: functional only if every connection is up, as in the reference."""
    ordered = tuple(connections)
    down = [connection for connection in ordered if connection.status is not ConnectionStatus.UP]
    complaint = ", ".join(map(_complaint, down))
    return {
        "name": identity.source,
        "process_status": [
            {
                "module_id": identity.module,
                "instance_id": identity.instance,
                "state": "Non-Functional" if down else "Functional",
                "connection_infos": [
                    {
                        "type": connection.type,
                        "name": connection.name,
                        "server_addrs": list(connection.addresses),
                        "status": connection.status.value,
                        "description": connection.description,
                    }
                    for connection in ordered
                ],
                "description": f"{complaint} connection down" if down else "",
            }
        ],
    }


def client_state(
    settings: GeneratorSettings,
    *,
    state: State,
    connects: int,
    collector_name: str,
    collector: Address | None,
    collectors: Sequence[Address],
    queued: int,
    longest: int,
    ledger: Ledger,
) -> dict[str, Any]:
    """The ``ModuleClientState`` of a generator: its session, as ``/analytics/uves/generator`` shows it.

    Args:
        settings: who we are.
        state: of the session; "Established" is what readers look for.
        connects: connections so far.
        collector_name: what the collector calls itself; empty without an answer.
        collector: the one in use or being tried.
        collectors: all that are tried.
        queued: objects still to be sent again.
        longest: the most that ever were.
        ledger: what was counted so far.
    """
    return {
        "name": str(settings.identity),
        "client_info": {
            "status": state.value,
            "successful_connections": connects,
            "pid": settings.pid,
            "http_port": settings.http_port,
            "start_time": settings.start_time,
            "collector_name": collector_name,
            "collector_ip": "" if collector is None else str(collector),
            "collector_list": [str(address) for address in collectors],
        },
        "sm_queue_count": queued,
        "max_sm_queue_count": longest,
        "sm_stats": counts.states(ledger, state),
        "tx_msg_agg": counts.all_messages(ledger),
        "msg_type_agg": counts.by_type(ledger),
    }


def _complaint(connection: Connection) -> str:
    name = f":{connection.name}" if connection.name else ""
    why = f"[{connection.description}]" if connection.description else ""
    return f"{connection.type}{name}{why}"
