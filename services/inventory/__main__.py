# SPDX-License-Identifier: Apache-2.0
"""inventory as a process: ``python -m services.inventory``.

Its settings: services/runtime/settings.py, and settings.py here.
"""

from __future__ import annotations

import os
import sys

import structlog

from services.access import RULES
from services.inventory.compose import compose
from services.inventory.settings import MirrorSettings
from services.kernel.errors import BmsError
from services.runtime.foundation import lay
from services.runtime.interceptors import interceptors
from services.runtime.notary import Notary
from services.runtime.server import build_server, serve
from services.runtime.settings import Settings

_log = structlog.get_logger("bms.inventory")


def run(settings: Settings, mirror: MirrorSettings) -> None:
    """Serves until told to stop."""
    base = lay(settings)
    try:
        parts = compose(base, mirror)
        notary = Notary(base, parts.log)
        bound = build_server(
            settings.server,
            [*parts.servicers, notary.served],
            interceptors(base.tokens, RULES, clock=base.clock, ids=base.ids, metrics=base.metrics),
            metrics=base.metrics,
        )
        parts.log.start_sealer()
        notary.start()
        for loop in parts.mirrors:
            loop.start()
        try:
            serve(bound, drain=parts.drain)
        finally:
            for loop in parts.mirrors:
                loop.stop()
            notary.stop()
    finally:
        base.database.close()


def main() -> None:
    """The process's beginning: says in one line why it cannot begin."""
    try:
        run(Settings.read("inventory", os.environ), MirrorSettings.read(os.environ))
    except BmsError as error:
        _log.critical("inventory.failed", reason=error.reason, error=str(error), remedy=error.remedy)
        sys.exit(1)


if __name__ == "__main__":
    main()
