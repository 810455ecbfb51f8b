# SPDX-License-Identifier: Apache-2.0
"""`bms telemetry`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

import click


@click.command("telemetry")
@click.option(
    "--ironic-notifications",
    is_flag=True,
    required=True,
    help="Tell Contrail's analytics of Ironic's nodes, in place of ironic-notification-manager.",
)
@click.option(
    "-c",
    "--conf_file",
    "--conf-file",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A configuration file of ironic-notification-manager; may be repeated.  [default: those in /etc/contrail]",
)
def telemetry(ironic_notifications: bool, files: tuple[Path, ...]) -> NoReturn:
    """Bridge Ironic to Contrail's analytics, in place of ironic-notification-manager.

    It reads that daemon's own files (docs/bridge.md), needs none of our services, logs to standard error or where the
    files say, and ends on SIGTERM.
    """
    assert ironic_notifications  # required, so that what telemetry does besides may have a flag of its own one day
    given = [part for file in files for part in ("-c", str(file))]
    # In its place: whoever started us sees its exit code and reaches it by our process id.
    os.execv(sys.executable, [sys.executable, "-m", "telemetry.bridge", *given])  # noqa: S606 -- there is no shell
