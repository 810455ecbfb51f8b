# SPDX-License-Identifier: Apache-2.0
"""`bms telemetry`: the bridge, and whether analytics has what happened."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from services.cli.commands.telemetry_audit import audit
from services.cli.failures import BadUsage
from services.cli.nouns import Noun


@click.group("telemetry", cls=Noun, invoke_without_command=True)
@click.option(
    "--ironic-notifications",
    is_flag=True,
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
@click.pass_context
def telemetry(context: click.Context, ironic_notifications: bool, files: tuple[Path, ...]) -> None:
    """Read back what analytics was sent; or, with --ironic-notifications and without a verb, bridge Ironic to it.

    The bridge stands in for ironic-notification-manager: it reads that daemon's own files (docs/bridge.md), needs none
    of our services, logs to standard error or where the files say, and ends on SIGTERM.
    """
    if context.invoked_subcommand is not None:
        return
    if not ironic_notifications:
        raise BadUsage(
            "what shall telemetry do?", remedy="Say --ironic-notifications for the bridge, or audit to read back."
        )
    given = [part for file in files for part in ("-c", str(file))]
    # In its place: whoever started us sees its exit code and reaches it by our process id.
    os.execv(sys.executable, [sys.executable, "-m", "telemetry.bridge", *given])  # noqa: S606 -- there is no shell


telemetry.add_command(audit)
