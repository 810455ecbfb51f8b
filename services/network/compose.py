# SPDX-License-Identifier: Apache-2.0
"""network, put together over whatever it stands on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bms.network.v1 import network_service_pb2_grpc
from services.network.ports import Controller, Fabric, Leftovers, Mirror
from services.network.servicer import NetworkServicer
from services.runtime.compose import Ground, Served
from services.runtime.eventlog import EventLog


@dataclass(frozen=True, slots=True)
class Network:
    """What was built.

    Attributes:
        drain: what ends the calls that wait.
    """

    log: EventLog
    servicer: NetworkServicer
    drain: tuple[Callable[[], None], ...]

    @property
    def servicers(self) -> tuple[Served, ...]:
        """What is served."""
        return ((network_service_pb2_grpc.add_NetworkServiceServicer_to_server, self.servicer),)


def compose(
    base: Ground,
    fabric: Fabric,
    controller: Controller | None = None,
    mirror: Mirror | None = None,
    leftovers: Leftovers | None = None,
) -> Network:
    """Builds it over the switches of *fabric*; nothing runs yet.

    Args:
        controller: makes the networks; None: they are VLANs that we choose.
        mirror: is told of the servers; None: nobody is.
        leftovers: what the controller has that bears our mark; None: it has none.
    """
    log = EventLog(base.database, base.ids, chained=False)
    servicer = NetworkServicer(
        base.database, log, base.writer, base.page_tokens, base.ids, fabric, controller, mirror, leftovers
    )
    return Network(log, servicer, (log.drain,))
