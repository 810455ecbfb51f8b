# SPDX-License-Identifier: Apache-2.0
"""`bms up`."""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from services.cli.datadir import DataDir, default_data_dir
from services.cli.options import common_options, given
from services.cli.supervise.plan import DEFAULT_PORT_BASE, SERVICES, Ports


@click.command("up")
@click.option(
    "--port-base",
    type=click.IntRange(1, 65000),
    default=DEFAULT_PORT_BASE,
    show_default=True,
    help="The first of the five ports. At another than this, telemetry's REST, collector and introspect follow behind.",
)
@click.option(
    "--profile",
    type=click.Choice(["demo", "genuine", "instant"]),
    help="How long things take on the simulated rack.  [default: demo]",
)
@click.option(
    "--speed", type=click.FloatRange(1, 10_000), help="How much faster than real the rack's clock runs.  [default: 1]"
)
@click.option(
    "--faults",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Faults of the rack to begin with (YAML).",
)
@click.option(
    "--only", multiple=True, type=click.Choice(list(SERVICES)), help="Run only this service; may be repeated."
)
@click.option("--logs", is_flag=True, help="Show the services' logs here too.")
@common_options
@click.pass_context
def up(
    ctx: click.Context,
    port_base: int,
    profile: str | None,
    speed: float | None,
    faults: Path | None,
    only: tuple[str, ...],
    logs: bool,
) -> int:
    """Start the five services on this machine, with SQLite files and a simulated rack, and keep them running.

    Ctrl-C stops them. A service that dies is started again. The data directory keeps everything between runs.
    """
    from services.cli.supervise import prepare
    from services.cli.supervise.plan import plan_children
    from services.cli.supervise.supervisor import Supervisor

    began = time.monotonic()
    data = DataDir((given(ctx).data or default_data_dir(os.environ)).expanduser().resolve())
    ports = Ports.from_base(port_base)
    with prepare.locked(data):
        prepare.require_free(ports)
        _say(f"data directory {data.path}")
        prepare.make_tokens(data)
        data.write_endpoints(ports.endpoints())
        _set_rack(data, profile, speed, faults)
        prepare.migrate(data, only)
        plans = plan_children(data, ports, os.environ, only)
        _say(f"starting {', '.join(plan.name for plan in plans)}")
        code = Supervisor(plans, _say, show_logs=logs).run(lambda: _greet(data, ports, time.monotonic() - began, only))
    _say("all stopped")
    return code


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _set_rack(data: DataDir, profile: str | None, speed: float | None, faults: Path | None) -> None:
    """Sets the rack's clock and faults; what is not given stays as it was in this directory."""
    from services.cli.rack import open_rack, plant, set_pace

    with open_rack(data.path) as rack:
        set_pace(rack, profile or "", speed)
        if faults is not None:
            for line in plant(rack, faults, datetime.now(UTC)):
                _say(f"fault: {line}")


def _greet(data: DataDir, ports: Ports, seconds: float, only: tuple[str, ...]) -> None:
    bold, off = ("\x1b[1m", "\x1b[0m") if sys.stdout.isatty() else ("", "")
    where = (
        ""
        if data.path == default_data_dir({**os.environ, "BMS_DATA_DIR": ""}).resolve()
        else f"export BMS_DATA_DIR={data.path}"
    )
    _say(f"\n{bold}{'SERVICE':<12}ADDRESS{off}")
    for name in SERVICES:
        if not only or name in only:
            _say(f"{name:<12}{ports.address(name)}")
    if not only or "telemetry" in only:
        _say(f"{'analytics':<12}http://{ports.address('rest')}/analytics")
        _say(f"{'collector':<12}{ports.address('collector')}")
        _say(f"{'introspect':<12}http://{ports.address('introspect')}")
    steps = [
        (where, "in every other terminal"),
        ("bms status", "do they answer?"),
        ("bms network create cleaning --class cleaning", "the private networks, once: cleaning,"),
        ("bms network create provisioning --class provisioning", "provisioning"),
        ("bms network create rescue --class rescue", "and rescue"),
        ("bms server import FILE --dry-run", "bring in servers: the plan"),
        ("bms server import FILE --provide", "bring them in, and make them available (asks first: it erases)"),
        ("bms server list", ""),
        ("bms top", "the fleet, live"),
    ]
    _say(f"\n{bold}Next{off}")
    for line, meaning in steps:
        if line:
            _say(f"  {line:<56}{'# ' if meaning else ''}{meaning}".rstrip())
    _say(f"\nLogs are in {data.logs}; tokens are *.token in {data.path} (choose with --as).")
    _say(f"{bold}Ready after {seconds:.1f} s. Ctrl-C stops everything.{off}")
