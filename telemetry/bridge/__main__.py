# SPDX-License-Identifier: Apache-2.0
"""``python -m telemetry.bridge -c FILE -c FILE``: in place of ``ironic-notification-manager``."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import structlog
import uvloop

from services.kernel.errors import BmsError, InvalidField
from services.runtime.logs import configure, register_secret
from services.runtime.settings import LogSettings
from telemetry.bridge.app import run
from telemetry.bridge.conf import FILES, BridgeSettings, read
from telemetry.bridge.login import KeystoneLogin

_log = structlog.get_logger("bms.bridge")


def main(arguments: list[str] | None = None) -> None:
    """The process's beginning: says in one line why it cannot begin."""
    parser = argparse.ArgumentParser(prog="python -m telemetry.bridge", description=__doc__)
    usual = ", ".join(map(str, FILES))
    help_ = f"read this configuration file, too; may be repeated (default: those that exist of {usual})"
    parser.add_argument("-c", "--conf_file", "--conf-file", action="append", type=Path, metavar="FILE", help=help_)
    given = parser.parse_args(arguments)
    configure(LogSettings(), "bridge")
    try:
        settings = read(given.conf_file or [path for path in FILES if path.is_file()], os.environ)
        _log_as(settings)
        uvloop.run(_serve(settings))
    except BmsError as error:
        _log.critical("bridge.failed", reason=error.reason, error=str(error), remedy=error.remedy)
        sys.exit(1)


async def _serve(settings: BridgeSettings) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if settings.unfollowed:
        _log.warning("options.not_followed", options=list(settings.unfollowed))
    await run(settings, stop, clock=lambda: time.time_ns() // 1000)
    _log.info("stopped")


def _log_as(settings: BridgeSettings) -> None:
    for host in settings.rabbit.hosts:
        register_secret(host.password)
    if isinstance(settings.login, KeystoneLogin):
        register_secret(settings.login.password)
    if settings.log_file is not None:
        try:
            # Append: what rotates logs may cut the file short under us.
            descriptor = os.open(settings.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        except OSError as error:
            why = f"{settings.log_file} cannot be written: {type(error).__name__}"
            raise InvalidField("DEFAULTS.log_file", why) from None
        os.dup2(descriptor, 2)
        os.close(descriptor)
    configure(LogSettings(level=settings.log_level), "bridge")


if __name__ == "__main__":
    main()
