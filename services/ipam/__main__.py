# SPDX-License-Identifier: Apache-2.0
"""ipam as a process: ``python -m services.ipam``.

Its settings: services/runtime/settings.py, and settings.py here.
"""

from __future__ import annotations

import os
import sys
import threading

import structlog

from services.access import RULES
from services.ipam.compose import compose
from services.ipam.settings import PlaneSettings
from services.kernel.errors import BmsError
from services.runtime.foundation import lay
from services.runtime.interceptors import interceptors
from services.runtime.notary import Notary
from services.runtime.server import build_server, serve
from services.runtime.settings import Settings

_log = structlog.get_logger("bms.ipam")


def run(settings: Settings, plane: PlaneSettings) -> None:
    """Serves until told to stop."""
    base = lay(settings)
    try:
        parts = compose(base, plane)
        notary = Notary(base, parts.log)
        bound = build_server(
            settings.server,
            [*parts.servicers, notary.served],
            interceptors(base.tokens, RULES, clock=base.clock, ids=base.ids, metrics=base.metrics),
            metrics=base.metrics,
        )
        parts.log.start_sealer()
        stop = threading.Event()
        sweeping = threading.Thread(target=parts.sweep, args=(stop,), name="sweeper")
        sweeping.start()
        notary.start()
        for loop in parts.loops:
            loop.start()
        try:
            serve(bound, drain=(stop.set, *parts.drain))
        finally:
            stop.set()
            sweeping.join()
            for loop in parts.loops:
                loop.stop()
            notary.stop()
    finally:
        base.database.close()


def main() -> None:
    """The process's beginning: says in one line why it cannot begin."""
    try:
        run(Settings.read("ipam", os.environ), PlaneSettings.read(os.environ))
    except BmsError as error:
        _log.critical("ipam.failed", reason=error.reason, error=str(error), remedy=error.remedy)
        sys.exit(1)


if __name__ == "__main__":
    main()
