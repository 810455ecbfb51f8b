# SPDX-License-Identifier: Apache-2.0
"""`bms instance`: a tenant's hold on a server."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import IO, TYPE_CHECKING, Any

import click

from services.cli.failures import BadUsage, CliError, ExitCode
from services.cli.fleet import complete
from services.cli.nouns import Noun, Span, full_name, parse_pairs
from services.cli.screen import Column, age, as_dict, pairs, short, when, word
from services.cli.selector import quote
from services.cli.session import Session, changes, one_by_one, reads
from services.cli.waiting import conclude, follow, operation_data, report, show_plan

if TYPE_CHECKING:
    from google.longrunning.operations_pb2 import Operation

    from bms.lifecycle.v1.instance_pb2 import Instance, InstanceNetwork


def _complete(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    return complete("instance", incomplete)


NAME = click.argument("name", shell_complete=_complete)
NAMES = click.argument("names", nargs=-1, required=True, shell_complete=_complete)
WAIT = click.option("--wait", "-w", is_flag=True, help="Follow it to its end.")
TIMEOUT = click.option("--timeout", type=Span(), metavar="TIME", help="With --wait: how long, such as 30m.")


@click.group("instance", cls=Noun)
def instance() -> None:
    """Instances: a tenant's hold on a server."""


def _state(each: Instance) -> str:
    from bms.lifecycle.v1.instance_pb2 import Instance

    return word(Instance.State, each.state, "STATE_")


def _addresses(each: Instance) -> str:
    return ", ".join(interface.address for interface in each.interfaces if interface.address)


def _interfaces(each: Instance) -> str:
    lines = []
    for found in each.interfaces:
        tag = f" vlan {found.vlan_tag}" if found.vlan_tag else ""
        state = "connected" if found.connected else "not connected"
        address = f"{found.address}/{found.prefix_length}" if found.address else "no address"
        lines.append(f"{short(found.network)}{tag}  {address}  {found.mac_address or '-'}  {state}")
    return "\n".join(lines)


def _card(each: Instance) -> list[tuple[str, str]]:
    return [
        ("Name", each.name),
        ("State", _state(each)),
        ("Error", each.error),
        ("Log in to", each.login_address),
        ("Server", short(each.server)),
        ("Flavor", short(each.flavor)),
        ("Image", short(each.image)),
        ("Host name", each.hostname),
        ("Interfaces", _interfaces(each)),
        ("Labels", pairs(each.labels)),
        ("Protected", (each.protected_reason or "yes") if each.protected else ""),
        ("Operation", each.operation),
        ("Note", each.site_note),
        ("Asked for", when(each.create_time)),
        ("Etag", each.etag),
    ]


def named(session: Session, name: str) -> str:
    """The resource name of the instance called *name*, of the session's project where it names none."""
    return full_name(name, "instances", "" if "/" in name else session.parent)


@instance.command("list")
@click.option("--all", "-A", "everywhere", is_flag=True, help="Of all projects; for administrators.")
@click.option("--state", default="", help="Only in this state.")
@click.option("--flavor", default="", help="Only of this flavor.")
@click.option("--server", default="", help="Only the one on this server (its UUID).")
@reads
def list_(session: Session, everywhere: bool, state: str, flavor: str, server: str) -> None:
    """List the instances of the project."""
    from bms.lifecycle.v1.instance_pb2 import ListInstancesRequest

    terms = {
        "state": state,
        "flavor": full_name(flavor, "flavors") if flavor else "",
        "server": full_name(server, "servers") if server else "",
    }
    request = ListInstancesRequest(
        parent="projects/-" if everywhere else session.parent,
        filter=" AND ".join(f"{field} = {quote(value)}" for field, value in terms.items() if value),
    )
    session.screen.rows(
        session.pages(session.lifecycle.ListInstances, request, "instances"),
        (
            Column("NAME", lambda each: each.name.removeprefix("projects/").replace("/instances/", "/")),
            Column("STATE", _state),
            Column("LOG IN TO", lambda each: each.login_address),
            Column("FLAVOR", lambda each: short(each.flavor)),
            Column("IMAGE", lambda each: short(each.image)),
            Column("AGE", lambda each: age(each.create_time)),
            Column("ADDRESSES", _addresses, wide=True),
            Column("SERVER", lambda each: short(each.server), wide=True),
        ),
        name=lambda each: each.name,
        as_data=as_dict,
        none="No instances. Make one: bms instance create NAME --flavor F --image I --network N.",
    )


@instance.command("show")
@NAME
@reads
def show(session: Session, name: str) -> None:
    """Show an instance: where to log in, its networks and addresses."""
    from bms.lifecycle.v1.instance_pb2 import GetInstanceRequest

    found = session.lifecycle.GetInstance(GetInstanceRequest(name=named(session, name)))
    session.screen.one(found, _card(found))


def network_of(session: Session, text: str) -> InstanceNetwork:
    """``NAME[,address=..][,vlan=..]``; an address of each IP version may be given."""
    from bms.lifecycle.v1.instance_pb2 import InstanceNetwork

    name, *rest = text.split(",")
    wanted = InstanceNetwork(network=full_name(name, "networks", "" if "/" in name else session.parent))
    for part in rest:
        key, _, value = part.partition("=")
        if key == "address" and value:
            wanted.fixed_addresses.append(value)
        elif key == "vlan" and value.isdigit():
            wanted.vlan_tag = int(value)
        else:
            raise BadUsage(
                f"network {text!r}: {part!r} is not understood",
                remedy="Write NETWORK[,address=10.1.0.7][,vlan=100].",
            )
    return wanted


def _keys(files: tuple[IO[str], ...], texts: tuple[str, ...]) -> list[str]:
    found = list(texts)
    for file in files:
        found += [line.strip() for line in file if line.strip() and not line.startswith("#")]
    return found


@instance.command("create")
@click.argument("name")
@click.option("--flavor", required=True, help="What the server shall be.")
@click.option("--image", required=True, help="What is written to its disk.")
@click.option(
    "--network",
    "-n",
    "networks",
    multiple=True,
    required=True,
    metavar="NAME[,address=A][,vlan=V]",
    help="A network; may be repeated. The first has the address to log in to.",
)
@click.option("--hostname", default="", help="The host name.  [default: NAME]")
@click.option("--ssh-key", "keys", multiple=True, help="A public key that may log in; may be repeated.")
@click.option("--ssh-key-file", "key_files", multiple=True, type=click.File(), help="A file with public keys.")
@click.option("--user-data", type=click.File("rb"), help="A file with cloud-init user data.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label; may be repeated.")
@WAIT
@TIMEOUT
@changes
def create(
    session: Session,
    name: str,
    flavor: str,
    image: str,
    networks: tuple[str, ...],
    hostname: str,
    keys: tuple[str, ...],
    key_files: tuple[IO[str], ...],
    user_data: IO[bytes] | None,
    labels: tuple[str, ...],
    wait: bool,
    timeout: timedelta | None,
) -> ExitCode:
    """Get a whole server, with an image on its disk, on your networks. Says at once which address to log in to."""
    from bms.lifecycle.v1.instance_pb2 import CreateInstanceRequest, Instance

    wanted = Instance(
        flavor=full_name(flavor, "flavors"),
        image=full_name(image, "images"),
        networks=[network_of(session, text) for text in networks],
        hostname=hostname,
        ssh_public_keys=_keys(key_files, keys),
        user_data=user_data.read() if user_data else b"",
        labels=parse_pairs(labels, "label"),
    )
    request = CreateInstanceRequest(parent=session.parent, instance_id=name, instance=wanted)
    operation = session.lifecycle.CreateInstance(session.fill(request))
    if session.options.validate_only:
        show_plan(session.screen, {name: operation})
        return ExitCode.OK
    if not wait:
        code = conclude(session, {name: operation}, wait=False, limit=None)
        _tell_address(session, f"{session.parent}/instances/{name}")
        return code
    ended = follow(session, {name: operation}, timeout)
    code = report(session, ended)
    if code is ExitCode.OK:
        _show_made(session, ended[name])
    elif session.screen.structured:
        session.screen.data(operation_data(ended[name]))
    return code


def _tell_address(session: Session, name: str) -> None:
    from bms.lifecycle.v1.instance_pb2 import GetInstanceRequest

    address = session.lifecycle.GetInstance(GetInstanceRequest(name=name)).login_address
    session.screen.print(
        f"Log in to {address} when it is active." if address else "The address follows shortly: bms instance show."
    )


def _show_made(session: Session, operation: Operation) -> None:
    from bms.lifecycle.v1.instance_pb2 import Instance

    made = Instance()
    if operation.response.Unpack(made):
        session.screen.one(made, _card(made))


def _simple(verb: str, method: str, request_type: str, text: str) -> None:
    """Adds a verb that takes names alone."""

    @instance.command(verb, help=text)
    @NAMES
    @WAIT
    @TIMEOUT
    @changes
    def run(session: Session, names: tuple[str, ...], wait: bool, timeout: timedelta | None) -> ExitCode:
        from bms.lifecycle.v1 import instance_pb2

        kind = getattr(instance_pb2, request_type)
        return _for_each(session, names, lambda name: kind(name=name), method, wait=wait, limit=timeout)


def _for_each(
    session: Session,
    names: tuple[str, ...],
    build: Callable[[str], Any],
    method: str,
    *,
    wait: bool,
    limit: timedelta | None,
    question: str = "",
) -> ExitCode:
    """Calls *method* for each instance; with a *question*, checks all first and asks it.

    The requests' types are lifecycle's, one for each verb, all with name, request_id and validate_only.
    """
    call = getattr(session.lifecycle, method)
    full = {name: named(session, name) for name in dict.fromkeys(names)}
    if session.options.validate_only or (question and len(full) > 1):
        plans = {}
        for name, resource in full.items():
            request = session.fill(build(resource))
            request.validate_only = True
            plans[name] = call(request)
        if session.options.validate_only:
            show_plan(session.screen, plans)
            return ExitCode.OK
    if question:
        session.confirm(question.format(names=", ".join(full)))
    operations = {name: call(session.fill(build(full[name]), target)) for name, target in one_by_one(list(full))}
    return conclude(session, operations, wait=wait, limit=limit)


_simple("start", "StartInstance", "StartInstanceRequest", "Power stopped instances on, back on their networks.")
_simple(
    "stop",
    "StopInstance",
    "StopInstanceRequest",
    "Power instances off. Ports go to quarantine; addresses and disks stay.",
)
_simple("reboot", "RebootInstance", "RebootInstanceRequest", "Power-cycle instances. Their ports stay where they are.")
_simple(
    "rescue", "RescueInstance", "RescueInstanceRequest", "Boot a rescue system that the instance's keys may log in to."
)
_simple("unrescue", "UnrescueInstance", "UnrescueInstanceRequest", "End rescue: boot what is on the disk.")


@instance.command("delete")
@NAMES
@click.option("--etag", default="", help="Refuse if it changed since this etag was read.")
@WAIT
@TIMEOUT
@changes
def delete(session: Session, names: tuple[str, ...], etag: str, wait: bool, timeout: timedelta | None) -> ExitCode:
    """Give servers back: off the networks, addresses into cool-down, disks erased."""
    from bms.lifecycle.v1.instance_pb2 import DeleteInstanceRequest

    if etag and len(names) > 1:
        raise BadUsage("an etag is of one instance", remedy="Name one, or leave --etag out.")
    question = "Give back {names}, with all data on their disks?"
    return _for_each(
        session,
        names,
        lambda name: DeleteInstanceRequest(name=name, etag=etag),
        "DeleteInstance",
        wait=wait,
        limit=timeout,
        question=question,
    )


@instance.command("rebuild")
@NAME
@click.option("--image", default="", help="Another image.  [default: the same]")
@click.option("--user-data", type=click.File("rb"), help="New cloud-init user data.")
@WAIT
@TIMEOUT
@changes
def rebuild(
    session: Session, name: str, image: str, user_data: IO[bytes] | None, wait: bool, timeout: timedelta | None
) -> ExitCode:
    """Write an image anew on the same server; addresses stay, data does not."""
    from bms.lifecycle.v1.instance_pb2 import RebuildInstanceRequest

    data = user_data.read() if user_data else b""
    wanted = full_name(image, "images") if image else ""
    return _for_each(
        session,
        (name,),
        lambda full: RebuildInstanceRequest(name=full, image=wanted, user_data=data),
        "RebuildInstance",
        wait=wait,
        limit=timeout,
        question="Overwrite the disk of {names}?",
    )


@instance.command("attach")
@NAME
@click.argument("network", metavar="NETWORK[,address=A][,vlan=V]")
@WAIT
@TIMEOUT
@changes
def attach(session: Session, name: str, network: str, wait: bool, timeout: timedelta | None) -> ExitCode:
    """Put an instance on one more network."""
    from bms.lifecycle.v1.instance_pb2 import AttachNetworkRequest

    wanted = network_of(session, network)
    return _for_each(
        session, (name,), lambda full: AttachNetworkRequest(name=full, network=wanted), "AttachNetwork",
        wait=wait, limit=timeout,
    )  # fmt: skip


@instance.command("detach")
@NAME
@click.argument("network")
@WAIT
@TIMEOUT
@changes
def detach(session: Session, name: str, network: str, wait: bool, timeout: timedelta | None) -> ExitCode:
    """Take an instance off a network, its only one too."""
    from bms.lifecycle.v1.instance_pb2 import DetachNetworkRequest

    if "," in network:
        raise CliError(f"{network!r} is not a network's name", reason="INVALID_FIELD", remedy="Give the name alone.")
    full_network = full_name(network, "networks", "" if "/" in network else session.parent)
    return _for_each(
        session, (name,), lambda full: DetachNetworkRequest(name=full, network=full_network), "DetachNetwork",
        wait=wait, limit=timeout,
    )  # fmt: skip
