# SPDX-License-Identifier: Apache-2.0
"""The checkpoints of a process: their parts put together, their RPCs, and the thread that makes one every second."""

from __future__ import annotations

import threading

import structlog

from bms.event.v1 import event_log_service_pb2_grpc
from services.kernel.clock import Clock
from services.kernel.errors import BmsError, PeerUnavailable
from services.runtime.checkpoint_servicer import EventLogServicer
from services.runtime.checkpoints import Checkpointer
from services.runtime.eventlog import EventLog
from services.runtime.foundation import Foundation
from services.runtime.server import Add
from services.runtime.settings import Settings
from services.runtime.signing import KeyFiles
from services.runtime.witness import Witness

PACE = 1.0
"""Seconds between two looks for something new."""
REFUSED_PACE = 5.0
"""The same while it cannot sign: a look may then go over all heads."""

_log = structlog.get_logger("bms.checkpoints")


def witness_of(settings: Settings) -> Witness:
    """The witness of a service with *settings*."""
    return Witness(settings.data.data_dir / f"{settings.service}.checkpoint")


class Notary:
    """Makes checkpoints from `start` to `stop`.

    Attributes:
        served: the servicer of bms.event.v1.EventLogService, for `services.runtime.server.build_server`.
    """

    def __init__(self, base: Foundation, log: EventLog) -> None:
        settings = base.settings
        keys = KeyFiles(settings.data.signing_key_file)
        self._checkpointer = Checkpointer(settings.service, base.database, base.ids, keys, witness_of(settings))
        self._log = log
        self._clock: Clock = base.clock
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        self._complaint = ""
        servicer = EventLogServicer(settings.service, base.database, self._checkpointer)
        self.served: tuple[Add, object] = (
            event_log_service_pb2_grpc.add_EventLogServiceServicer_to_server,
            servicer,
        )

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Makes a last checkpoint, of everything that was committed. Call it when nobody writes any more."""
        self._stopping.set()
        if self._thread.ident is None:
            return
        self._thread.join(timeout=30)
        try:
            self._log.seal_all()
            while self._checkpointer.tick(self._clock.now(), ending=True):
                pass
        except BmsError as error:
            self._complain(error)

    def _run(self) -> None:
        while not self._stopping.is_set():
            pause = PACE
            try:
                if self._checkpointer.tick(self._clock.now()):
                    pause = 0.0
                self._complaint = ""
            except BmsError as error:
                self._complain(error)
                pause = REFUSED_PACE
            except Exception:  # noqa: BLE001 -- a defect must not end the thread for good and unseen
                _log.exception("checkpoint.defect")
                pause = REFUSED_PACE
            self._stopping.wait(pause)

    def _complain(self, error: BmsError) -> None:
        # Every second the same: said once, until it has changed.
        if str(error) != self._complaint:
            self._complaint = str(error)
            # A database that is away for a moment is waited for; whatever else keeps it from signing does not pass.
            late = isinstance(error, PeerUnavailable)
            say, event = (_log.warning, "checkpoint.postponed") if late else (_log.error, "checkpoint.refused")
            say(event, reason=error.reason, error=str(error), remedy=error.remedy)
