# SPDX-License-Identifier: Apache-2.0
"""ipam as a process: ``python -m services.ipam``. Its settings are those of `services.runtime.settings`."""

from __future__ import annotations

import os
import sys
import threading

import structlog

from bms.ipam.v1 import ipam_service_pb2_grpc
from services.access import RULES
from services.ipam.servicer import IpamServicer
from services.ipam.worker import Sweeper
from services.kernel.clock import Clock
from services.kernel.errors import BmsError
from services.runtime.eventlog import EventLog
from services.runtime.foundation import lay
from services.runtime.interceptors import interceptors
from services.runtime.notary import Notary
from services.runtime.server import build_server, serve
from services.runtime.settings import Settings

_log = structlog.get_logger("bms.ipam")


def run(settings: Settings) -> None:
    """Serves until told to stop."""
    base = lay(settings)
    try:
        log = EventLog(base.database, base.ids, chained=True)
        notary = Notary(base, log)
        servicer = IpamServicer(base.database, log, base.writer, base.page_tokens, base.ids)
        bound = build_server(
            settings.server,
            [(ipam_service_pb2_grpc.add_IpamServiceServicer_to_server, servicer), notary.served],
            interceptors(base.tokens, RULES, clock=base.clock, ids=base.ids, metrics=base.metrics),
            metrics=base.metrics,
        )
        log.start_sealer()
        stop = threading.Event()
        sweeping = threading.Thread(
            target=_sweep, args=(Sweeper(base.database, servicer.store), base.clock, stop), name="sweeper"
        )
        sweeping.start()
        notary.start()
        try:
            serve(bound, drain=(stop.set, log.drain))
        finally:
            stop.set()
            sweeping.join()
            notary.stop()
    finally:
        base.database.close()


def _sweep(sweeper: Sweeper, clock: Clock, stop: threading.Event) -> None:
    pause = 0.0
    while not stop.wait(pause):
        now = clock.now()
        try:
            pause = (sweeper.tick(now) - now).total_seconds()
        except BmsError as error:
            # The database is away. What has rested stays so; the next look finds it.
            _log.warning("sweep.failed", reason=error.reason, error=str(error))
            pause = 1.0


def main() -> None:
    """The process's beginning: says in one line why it cannot begin."""
    try:
        run(Settings.read("ipam", os.environ))
    except BmsError as error:
        _log.critical("ipam.failed", reason=error.reason, error=str(error), remedy=error.remedy)
        sys.exit(1)


if __name__ == "__main__":
    main()
