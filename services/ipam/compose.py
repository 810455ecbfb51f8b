# SPDX-License-Identifier: Apache-2.0
"""ipam, put together over whatever it stands on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import structlog

from bms.ipam.v1 import ipam_service_pb2_grpc
from services.ipam.backends.contrail import ContrailPlane
from services.ipam.backends.neutron import NeutronPlane
from services.ipam.backends.opening import Opening
from services.ipam.granting import Controller
from services.ipam.operations.ports import AddressPlane
from services.ipam.servicer import IpamServicer
from services.ipam.settings import CLOUD, CONTRAIL_CLOUD, PlaneSettings
from services.ipam.worker import Sweeper
from services.kernel.clock import Clock
from services.kernel.errors import BmsError
from services.runtime.compose import Ground, Served
from services.runtime.contrail_http import open_contrail
from services.runtime.eventlog import EventLog
from services.runtime.loop import Loop
from services.runtime.neutron import open_neutron

_log = structlog.get_logger("bms.ipam")


class Stop(Protocol):
    """As much of a threading.Event as whoever sweeps needs."""

    def wait(self, timeout: float) -> bool:
        """Waits for *timeout* seconds; True at once when it is time to end."""
        ...


@dataclass(frozen=True, slots=True)
class Ipam:
    """What was built.

    Attributes:
        drain: what ends the calls that wait.
        controller: what is done at the controller beside us; None without one.
        loops: what does it; none has begun.
    """

    log: EventLog
    servicers: tuple[Served, ...]
    drain: tuple[Callable[[], None], ...]
    sweeper: Sweeper
    clock: Clock
    controller: Controller | None = None
    loops: tuple[Loop, ...] = ()

    def sweep(self, stop: Stop) -> None:
        """Frees what has rested, again and again until *stop*; a thread's whole work."""
        pause = 0.0
        while not stop.wait(pause):
            now = self.clock.now()
            try:
                pause = (self.sweeper.tick(now) - now).total_seconds()
            except BmsError as error:
                # The database is away. What has rested stays so; the next look finds it.
                _log.warning("sweep.failed", reason=error.reason, error=str(error))
                pause = 1.0


def compose(base: Ground, settings: PlaneSettings | None = None) -> Ipam:
    """Builds it; nothing runs yet.

    Args:
        settings: who gives addresses beside us; None for nobody.
    """
    log = EventLog(base.database, base.ids, chained=True)
    settings = settings or PlaneSettings()
    servicer = IpamServicer(
        base.database, log, base.writer, base.page_tokens, base.ids,
        plane=_plane(settings), clock=base.clock, period=settings.period,
    )  # fmt: skip
    controller = servicer.controller
    return Ipam(
        log,
        ((ipam_service_pb2_grpc.add_IpamServiceServicer_to_server, servicer),),
        (log.drain,),
        Sweeper(base.database, servicer.store),
        base.clock,
        controller,
        ()
        if controller is None
        else (
            Loop("settling", controller.settling.tick, base.clock),
            Loop("rounds", controller.rounds.tick, base.clock, most=timedelta.max),
        ),
    )


def _plane(settings: PlaneSettings) -> AddressPlane | None:
    if settings.neutron:
        neutron = Opening("neutron", lambda: open_neutron(settings.neutron, setting=CLOUD))
        return NeutronPlane(neutron.api, dhcp=settings.dhcp)
    access = settings.contrail
    if access is None:
        return None
    contrail = Opening("contrail", lambda: open_contrail(access, setting=CONTRAIL_CLOUD))
    return ContrailPlane(contrail.api, dhcp=settings.dhcp)
