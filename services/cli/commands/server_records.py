# SPDX-License-Identifier: Apache-2.0
"""What there is of servers: list, show, create, set, delete, and their ports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, TYPE_CHECKING

import click

from services.cli.commands.server_card import port_rows, server_card
from services.cli.commands.server_noun import NAME, NAMES, SELECTOR, TIMEOUT, WAIT, server
from services.cli.failures import BadUsage, ExitCode
from services.cli.fleet import Machine, find, join, load, targets
from services.cli.nouns import Noun, change_pairs, parse_pairs
from services.cli.screen import Column, age, pairs, short
from services.cli.selector import parse_selector
from services.cli.session import Session, changes, one_by_one, reads
from services.cli.waiting import conclude

if TYPE_CHECKING:
    from datetime import timedelta

    from bms.inventory.v1.server_pb2 import Port


def _instance(machine: Machine) -> str:
    held = (machine.status.instance if machine.status else "") or machine.server.pool.reserved_by
    return held.removeprefix("projects/").replace("/instances/", "/")


COLUMNS: Sequence[Column[Machine]] = (
    Column("NAME", lambda each: each.label),
    Column("STATE", lambda each: each.state or "-"),
    Column("POWER", lambda each: each.power or "-"),
    Column("INSTANCE", _instance),
    Column("WAITS FOR", lambda each: each.waits),
    Column("RACK", lambda each: each.server.location.rack),
    Column("CLASS", lambda each: each.server.resource_class),
    Column("MAINT", lambda each: "yes" if each.status and each.status.maintenance else ""),
    Column("FOR", lambda each: age(each.status.state_since) if each.status else "", wide=True),
    Column("ISOLATED", lambda each: "yes" if each.status and each.status.isolated else "no", wide=True),
    Column("BMC", lambda each: each.server.bmc.address, wide=True),
    Column("UNIT", lambda each: str(each.server.location.unit or ""), wide=True),
    Column("LABELS", lambda each: pairs(each.server.labels), wide=True),
    Column("UUID", lambda each: short(each.name), wide=True),
)


@server.command("list")
@SELECTOR
@reads
def list_(session: Session, selector: str) -> None:
    """List servers with their states."""
    machines = load(session, parse_selector(selector))
    session.screen.rows(
        machines,
        COLUMNS,
        name=lambda each: each.name,
        as_data=Machine.as_data,
        none="No servers. Bring some in: bms server import FILE --dry-run.",
    )


@server.command("show")
@NAME
@reads
def show(session: Session, name: str) -> None:
    """Show everything about a server; its BMC's login is never shown."""
    machine = join(session, [find(session, name)])[0]
    screen = session.screen
    if screen.structured:
        screen.data(machine.as_data())
        return
    screen.one(machine.server, server_card(machine))


@server.group("port", cls=Noun)
def port_group() -> None:
    """Ports of a server."""


@port_group.command("list")
@NAME
@reads
def port_list(session: Session, name: str) -> None:
    """List the ports of a server: where they are plugged in, and what was last read back from the fabric."""
    machine = join(session, [find(session, name)])[0]
    if session.screen.structured:
        states = {state.port: state for state in machine.status.ports} if machine.status else {}
        from services.cli.screen import as_dict

        session.screen.data(
            [
                {**as_dict(port), "state": as_dict(states[port.name]) if port.name in states else None}
                for port in machine.server.ports
            ]
        )
    elif session.screen.format == "name":
        for port in machine.server.ports:
            click.echo(port.name)
    else:
        session.screen.table(("MAC", "LABEL", "SWITCH PORT", "PXE", "GROUP", "CLASS", "NETWORKS"), port_rows(machine))


def _parse_port(text: str) -> Port:
    """``MAC[,switch=..][,port=..][,switch-id=..][,physnet=..][,pxe][,group=..][,label=..]``."""
    from bms.inventory.v1.server_pb2 import Port

    mac, *rest = text.split(",")
    fields = {
        "switch": "switch_name",
        "port": "switch_port",
        "group": "port_group",
        "label": "label",
        "switch-id": "switch_id",
        "physnet": "physical_network",
    }
    port = Port(mac_address=mac)
    for part in rest:
        key, separator, value = part.partition("=")
        if key == "pxe" and not separator:
            port.pxe_enabled = True
        elif key in fields and separator:
            setattr(port, fields[key], value)
        else:
            raise BadUsage(
                f"port {text!r}: {part!r} is not understood",
                remedy="Write MAC,switch=NAME,port=NAME,switch-id=ID,physnet=NAME,pxe,group=NAME,label=NAME; all but"
                " the MAC are optional.",
            )
    return port


@server.command("create")
@click.argument("name")
@click.option("--bmc-address", default="", help="Address or host name of the management controller.")
@click.option("--bmc-port", type=int, default=0, help="Its port.  [default: the driver's]")
@click.option("--bmc-driver", default="", help="ipmi, redfish or a vendor's.  [default: redfish]")
@click.option("--bmc-user", "--bmc-username", "bmc_user", default="", help="The login.")
@click.option("--bmc-password-file", type=click.File(), help="A file with the password; - for standard input.")
@click.option("--bmc-in-controller", is_flag=True, help="Ironic has driver, address and login, and is told none.")
@click.option("--root-device", "hints", multiple=True, metavar="KEY=VALUE", help="Which disk is the root disk.")
@click.option(
    "--port",
    "ports",
    multiple=True,
    metavar="MAC,..",
    help="A port: MAC[,switch=S,port=P,switch-id=I,physnet=N,pxe,group=G,label=L]; may be repeated.",
)
@click.option(
    "--bond", "bonds", multiple=True, metavar="GROUP=MODE", help="The mode of a port group, such as bond0=802.3ad."
)
@click.option("--class", "resource_class", default="", help="The class that flavors choose by.")
@click.option("--site", default="", help="Where it stands: the site,")
@click.option("--rack", default="", help="the rack,")
@click.option("--unit", type=int, default=0, help="and its lowest unit.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label; may be repeated.")
@click.option("--description", default="", help="Free text.")
@click.option("--unmanaged", is_flag=True, help="Only on record: never provided, cleaned or taken.")
@click.option("--uuid", default="", help="The UUID to use, such as Ironic's.")
@changes
def create(
    session: Session,
    name: str,
    bmc_address: str,
    bmc_port: int,
    bmc_driver: str,
    bmc_user: str,
    bmc_password_file: IO[str] | None,
    bmc_in_controller: bool,
    hints: tuple[str, ...],
    ports: tuple[str, ...],
    bonds: tuple[str, ...],
    resource_class: str,
    site: str,
    rack: str,
    unit: int,
    labels: tuple[str, ...],
    description: str,
    unmanaged: bool,
    uuid: str,
) -> None:
    """Register one server. This touches no hardware: it starts as enrolled."""
    from bms.inventory.v1.server_pb2 import Bmc, CreateServerRequest, Location, PortGroup, Server

    plugged = [_parse_port(text) for text in ports]
    modes = parse_pairs(bonds, "bond")
    groups = sorted({port.port_group for port in plugged if port.port_group} | set(modes))
    password = bmc_password_file.read().rstrip("\n") if bmc_password_file else ""
    record = Server(
        display_name=name,
        bmc=Bmc(
            address=bmc_address,
            port=bmc_port,
            driver=bmc_driver,
            username=bmc_user,
            password=password,
            kept_by_controller=bmc_in_controller,
        ),
        root_device_hints=parse_pairs(hints, "root-device"),
        ports=plugged,
        port_groups=[PortGroup(label=group, mode=modes.get(group, "")) for group in groups],
        resource_class=resource_class,
        location=Location(site=site, rack=rack, unit=unit),
        labels=parse_pairs(labels, "label"),
        description=description,
        unmanaged=unmanaged,
    )
    made = session.inventory.CreateServer(session.fill(CreateServerRequest(server=record, server_id=uuid)))
    did = "would be registered" if session.options.validate_only else "registered"
    session.screen.one(
        made,
        [("Name", made.display_name), ("UUID", short(made.name)), ("State", f"{did}, enrolled"), ("Etag", made.etag)],
    )


@server.command("set")
@NAMES
@SELECTOR
@click.option("--name", "new_name", help="Another name.")
@click.option("--class", "resource_class", help="The class that flavors choose by.")
@click.option("--site", help="Where it stands: the site,")
@click.option("--rack", help="the rack,")
@click.option("--unit", type=int, help="and its lowest unit.")
@click.option(
    "--label", "labels", multiple=True, metavar="KEY=VALUE|KEY-", help="Set a label, or take it away; may be repeated."
)
@click.option("--description", help="Free text.")
@click.option("--unmanaged/--managed", default=None, help="Whether it is only on record.")
@click.option("--bmc-address", help="Address or host name of the management controller.")
@click.option("--bmc-user", "--bmc-username", "bmc_user", help="The login.")
@click.option("--bmc-password-file", type=click.File(), help="A file with the password; - for standard input.")
@click.option("--bmc-in-controller/--bmc-here", default=None, help="Whether Ironic alone has the BMC's login.")
@click.option("--root-device", "hints", multiple=True, metavar="KEY=VALUE|KEY-", help="Which disk is the root disk.")
@click.option("--etag", default="", help="Refuse if somebody changed it since this etag was read.")
@changes
def set_(
    session: Session,
    names: tuple[str, ...],
    selector: str,
    new_name: str | None,
    resource_class: str | None,
    site: str | None,
    rack: str | None,
    unit: int | None,
    labels: tuple[str, ...],
    description: str | None,
    unmanaged: bool | None,
    bmc_address: str | None,
    bmc_user: str | None,
    bmc_password_file: IO[str] | None,
    bmc_in_controller: bool | None,
    hints: tuple[str, ...],
    etag: str,
) -> None:
    """Change servers; what is not given stays."""
    from google.protobuf.field_mask_pb2 import FieldMask

    from bms.inventory.v1.server_pb2 import Server, UpdateServerRequest

    plain = {
        "display_name": new_name,
        "resource_class": resource_class,
        "description": description,
        "unmanaged": unmanaged,
    }
    place = {"site": site, "rack": rack, "unit": unit}
    login: dict[str, str | bool | None] = {
        "address": bmc_address, "username": bmc_user, "kept_by_controller": bmc_in_controller
    }  # fmt: skip
    if bmc_password_file is not None:
        login["password"] = bmc_password_file.read().rstrip("\n")
    given: list[object] = [*plain.values(), *place.values(), *login.values()]
    if not labels and not hints and all(value is None for value in given):
        raise BadUsage("nothing to change", remedy="Give at least one option; see `bms server set --help`.")
    several = len(names) > 1 or bool(selector)
    for record in targets(session, names, selector):
        changed = Server(name=record.name, etag=etag or record.etag)
        mask = []
        for field, text_or_flag in plain.items():
            if text_or_flag is not None:
                setattr(changed, field, text_or_flag)
                mask.append(field)
        if any(value is not None for value in place.values()):
            changed.location.CopyFrom(record.location)
            for field, spot in place.items():
                if spot is not None:
                    setattr(changed.location, field, spot)
            mask.append("location")
        if any(value is not None for value in login.values()):
            changed.bmc.CopyFrom(record.bmc)
            for field, text in login.items():
                if text is not None:
                    setattr(changed.bmc, field, text)
            mask.append("bmc")
        if labels:
            changed.labels.update(change_pairs(dict(record.labels), labels, "label"))
            mask.append("labels")
        if hints:
            changed.root_device_hints.update(change_pairs(dict(record.root_device_hints), hints, "root-device"))
            mask.append("root_device_hints")
        request = UpdateServerRequest(server=changed, update_mask=FieldMask(paths=mask))
        made = session.inventory.UpdateServer(session.fill(request, record.name if several else ""))
        session.screen.one(made, [("Name", made.display_name), ("Changed", ", ".join(mask)), ("Etag", made.etag)])


@server.command("delete")
@NAMES
@SELECTOR
@click.option("--etag", default="", help="Refuse if somebody changed it since this etag was read.")
@WAIT
@TIMEOUT
@changes
def delete(
    session: Session, names: tuple[str, ...], selector: str, etag: str, wait: bool, timeout: timedelta | None
) -> ExitCode:
    """Remove servers from inventory. Refused while an instance holds one."""
    from bms.inventory.v1.server_pb2 import DeleteServerRequest

    records = targets(session, names, selector)
    by_name = {record.name: record for record in records}
    # All are checked before one is touched.
    for record in records:
        request = DeleteServerRequest(name=record.name, etag=etag)
        request.validate_only = True
        session.inventory.DeleteServer(request)
    if session.options.validate_only:
        session.screen.print(f"Would be removed: {', '.join(record.display_name for record in records)}.")
        return ExitCode.OK
    session.confirm(f"Remove {', '.join(record.display_name for record in records)} from inventory?")
    operations = {}
    for name, target in one_by_one(list(by_name)):
        request = session.fill(DeleteServerRequest(name=name, etag=etag), target)
        operations[by_name[name].display_name] = session.inventory.DeleteServer(request)
    return conclude(session, operations, wait=wait, limit=timeout)
