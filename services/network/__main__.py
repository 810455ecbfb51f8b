# SPDX-License-Identifier: Apache-2.0
"""network as a process: ``python -m services.network``. Its settings are those of `services.runtime.settings`.

Its fabric is that of the simulated rack, ``rack.sqlite`` in the data directory.
"""

from __future__ import annotations

import os
import sys

import structlog

from bms.network.v1 import network_service_pb2_grpc
from services.access import RULES
from services.kernel.errors import BmsError
from services.network.backends.simulated import SimulatedFabric
from services.network.servicer import NetworkServicer
from services.runtime.eventlog import EventLog
from services.runtime.foundation import lay
from services.runtime.interceptors import interceptors
from services.runtime.notary import Notary
from services.runtime.server import build_server, serve
from services.runtime.settings import Settings
from services.simulated.rack import Rack

_log = structlog.get_logger("bms.network")


def run(settings: Settings) -> None:
    """Serves until told to stop."""
    base = lay(settings)
    try:
        rack = Rack(settings.data.data_dir / "rack.sqlite")
        try:
            log = EventLog(base.database, base.ids, chained=False)
            notary = Notary(base, log)
            fabric = SimulatedFabric(rack, base.clock)
            servicer = NetworkServicer(base.database, log, base.writer, base.page_tokens, base.ids, fabric)
            bound = build_server(
                settings.server,
                [(network_service_pb2_grpc.add_NetworkServiceServicer_to_server, servicer), notary.served],
                interceptors(base.tokens, RULES, clock=base.clock, ids=base.ids, metrics=base.metrics),
                metrics=base.metrics,
            )
            log.start_sealer()
            notary.start()
            try:
                serve(bound, drain=(log.drain,))
            finally:
                notary.stop()
        finally:
            rack.close()
    finally:
        base.database.close()


def main() -> None:
    """The process's beginning: says in one line why it cannot begin."""
    try:
        run(Settings.read("network", os.environ))
    except BmsError as error:
        _log.critical("network.failed", reason=error.reason, error=str(error), remedy=error.remedy)
        sys.exit(1)


if __name__ == "__main__":
    main()
