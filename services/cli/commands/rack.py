# SPDX-License-Identifier: Apache-2.0
"""`bms rack`: the simulated rack, for people who rehearse."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from services.cli.failures import BadUsage, CliError
from services.cli.fleet import complete_server
from services.cli.nouns import Noun, Span
from services.cli.session import Session, changes, reads

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from services.simulated.rack import Rack


@click.group("rack", cls=Noun)
def rack() -> None:
    """The simulated rack of the data directory: break things, press buttons, swap disks, set how fast time passes."""


def _open(session: Session) -> AbstractContextManager[Rack]:
    from services.cli import rack as model

    if not (session.data.path / model.FILE).exists():
        raise CliError(
            f"there is no simulated rack in {session.data.path}",
            remedy="`bms up` makes one; name its directory with --data.",
        )
    return model.open_rack(session.data.path)


def _target(session: Session, name: str) -> str:
    """The rack's word for a server: its UUID. The rack knows BMC addresses and UUIDs; people know names."""
    from services.cli.fleet import find

    if all(part.isdigit() for part in name.split(".")) or ":" in name:
        return name
    return find(session, name).name.removeprefix("servers/")


@rack.command("list")
@reads
def list_(session: Session) -> None:
    """List the servers of the rack as they truly are, whatever anybody was told."""
    from services.cli import rack as model

    with _open(session) as opened:
        rows = model.server_rows(opened, datetime.now(UTC))
    if session.screen.structured:
        session.screen.data([dict(zip(model.SERVER_TITLES, row, strict=True)) for row in rows])
    else:
        session.screen.table(model.SERVER_TITLES, rows)


@rack.command("ports")
@reads
def ports(session: Session) -> None:
    """List the switch ports as they truly are configured."""
    from services.cli import rack as model

    with _open(session) as opened:
        rows = model.port_rows(opened, datetime.now(UTC))
    if session.screen.structured:
        session.screen.data([dict(zip(model.PORT_TITLES, row, strict=True)) for row in rows])
    else:
        session.screen.table(model.PORT_TITLES, rows)


@rack.group("fault", cls=Noun)
def fault() -> None:
    """Faults in place."""


@fault.command("list")
@reads
def fault_list(session: Session) -> None:
    """List the faults in place."""
    from services.cli import rack as model

    with _open(session) as opened:
        rows = model.fault_rows(opened, datetime.now(UTC))
    if session.screen.structured:
        session.screen.data([dict(zip(model.FAULT_TITLES, row, strict=True)) for row in rows])
    elif rows:
        session.screen.table(model.FAULT_TITLES, rows)
    else:
        session.screen.note("Nothing is broken.")


@fault.command("kinds")
@reads
def fault_kinds(session: Session) -> None:
    """List what can be broken."""
    from services.cli import rack as model

    session.screen.table(("KIND", "BEFALLS"), model.kind_rows())


def _complete_kind(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from services.cli import rack as model

    return [kind for kind, _ in model.kind_rows() if kind.startswith(incomplete)]


@fault.command("inject")
@click.argument("kind", shell_complete=_complete_kind)
@click.argument("target", required=False, shell_complete=complete_server)
@click.option("--switch", default="", help="The switch, for its faults,")
@click.option("--port", default="", help="and which port of it.")
@click.option("--disk", default="", help="For disk-erase-fails: the serial number.")
@click.option("--seconds", type=float, help="How long, for lag and the like.")
@click.option("--count", type=click.IntRange(min=1), help="How often it strikes.  [default: always]")
@click.option("--for", "lasting", type=Span(), help="After how long it is over.  [default: never]")
@changes
def fault_inject(
    session: Session,
    kind: str,
    target: str | None,
    switch: str,
    port: str,
    disk: str,
    seconds: float | None,
    count: int | None,
    lasting: timedelta | None,
) -> None:
    """Break something: KIND (see `bms rack fault kinds`) at the server TARGET, or at a --switch."""
    from services.cli import rack as model

    with _open(session) as opened:
        server = _target(session, target) if target else ""
        lasts = lasting.total_seconds() if lasting else None
        told = model.break_(
            opened, kind, datetime.now(UTC), server=server, switch=switch, port=port, part=disk, seconds=seconds,
            count=count, lasting=lasts,
        )  # fmt: skip
    session.screen.print(told)


@fault.command("clear")
@click.argument("target", required=False, shell_complete=complete_server)
@click.option("--kind", default="", help="Only faults of this kind.")
@click.option("--switch", default="", help="Only of this switch.")
@click.option("--id", "number", type=int, help="Only this one.")
@changes
def fault_clear(session: Session, target: str | None, kind: str, switch: str, number: int | None) -> None:
    """Mend what is broken: of the server TARGET, or everything."""
    from services.cli import rack as model

    with _open(session) as opened:
        gone = model.mend(
            opened, server=_target(session, target) if target else "", kind=kind, switch=switch, number=number
        )
    session.screen.print(f"{gone} fault{'' if gone == 1 else 's'} mended")


@fault.command("load")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@changes
def fault_load(session: Session, file: Path) -> None:
    """Put the faults of a YAML file in place."""
    from services.cli import rack as model

    with _open(session) as opened:
        for line in model.plant(opened, file, datetime.now(UTC)):
            session.screen.print(line)


@rack.command("set-profile")
@click.argument("profile", required=False, type=click.Choice(["demo", "genuine", "instant"]))
@click.option("--speed", type=click.FloatRange(1, 10_000), help="How much faster than real its clock runs.")
@changes
def set_profile(session: Session, profile: str | None, speed: float | None) -> None:
    """Choose how long things take; what is under way ends when it would have."""
    from services.cli import rack as model

    with _open(session) as opened:
        session.screen.print(model.set_pace(opened, profile or "", speed))


@rack.command("swap-disk")
@click.argument("server", shell_complete=complete_server)
@click.argument("serial")
@changes
def swap_disk(session: Session, server: str, serial: str) -> None:
    """Replace a disk by a blank one with another serial number."""
    from services.cli import rack as model

    with _open(session) as opened:
        session.screen.print(model.swap(opened, _target(session, server), serial, datetime.now(UTC)))


def _plug(text: str) -> tuple[str, str]:
    switch, _, port = text.partition("/")
    if not switch or not port:
        raise BadUsage(f"{text!r} is no switch port", remedy="Write SWITCH/PORT, as bms rack ports shows them.")
    return switch, port


@rack.command("recable")
@click.argument("source", metavar="SWITCH/PORT")
@click.argument("target", metavar="SWITCH/PORT")
@changes
def recable(session: Session, source: str, target: str) -> None:
    """Pull a cable out of the first switch port and plug it into the second, whatever anybody thinks of it."""
    from services.cli import rack as model

    with _open(session) as opened:
        session.screen.print(model.recable(opened, _plug(source), _plug(target), datetime.now(UTC)))


@rack.command("power")
@click.argument("server", shell_complete=complete_server)
@click.argument("state", type=click.Choice(["on", "off"]))
@changes
def power(session: Session, server: str, state: str) -> None:
    """Press a server's power button, whatever anybody thinks of it."""
    from services.cli import rack as model

    with _open(session) as opened:
        session.screen.print(model.press(opened, _target(session, server), datetime.now(UTC), on=state == "on"))
