# SPDX-License-Identifier: Apache-2.0
"""Where the ports of a server that lifecycle moves are plugged in: the one change of ports that a hold allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.inventory.domain import server as domain
from services.inventory.domain.checks import Checks
from services.inventory.domain.keys import Key, keyed
from services.inventory.domain.server import Port, Server, port_name
from services.inventory.operations.events import event
from services.inventory.operations.ports import Fresh, Servers
from services.inventory.operations.servers import get
from services.kernel.calls import Call
from services.kernel.errors import InvalidField, NotFound, WrongState

MAX_LINKS = domain.MAX_PORTS


@dataclass(frozen=True, slots=True)
class NewLink:
    """Where the port called ``port`` (a resource name) is plugged in."""

    port: str
    switch_name: str
    switch_port: str
    switch_id: str = ""


def relink(rows: Servers, call: Call, uuid: str, fresh: Fresh, links: Sequence[NewLink]) -> Server:
    """The server with its ports plugged in as *links* say; lifecycle has cut them before.

    Raises:
        NotFound: there is no such server.
        Stale: it is not the version that the caller saw.
        InvalidFields: a link is malformed, or of no port of the server.
        WrongState: it is being deleted, or another port has a link.
    """
    server = rows.get_for_change(uuid)
    if server is None:
        get(rows, uuid)  # says so
        raise NotFound(f"servers/{uuid} does not exist")
    fresh(server.sequence, server.name)
    if server.delete_time is not None:
        msg, holder = f"{server.name} is being deleted", server.pool.reserved_by
        raise WrongState(msg, remedy=f"Follow {holder}.", subject=server.name, operation=holder)
    wanted = {link.port: link for link in links}
    named = {port_name(uuid, port.mac_address): port for port in server.spec.ports}
    for at, link in enumerate(links):
        if link.port not in named:
            raise InvalidField(f"links[{at}].port", f"is no port of {server.name}", remedy="Name one of its ports.")
    ports = tuple(_plugged(port, wanted.get(name)) for name, port in named.items())
    _free(rows, server, ports, links)
    checks = Checks()
    spec = domain.checked(replace(server.spec, ports=ports), checks)
    checks.raise_for("server.")
    if spec.ports == server.spec.ports:
        return server
    facts = {
        link.port: f"{_where(named[link.port])} -> {link.switch_name} {link.switch_port}"
        for link in links
        if named[link.port] != _plugged(named[link.port], link)
    }
    told = event(call, server.name, "server.updated", reason="MOVED", facts={**facts, "fields": "ports"})
    after = replace(server, spec=spec, update_time=call.now, sequence=rows.record(told, server.sequence))
    rows.save(server, after)
    return after


def _plugged(port: Port, link: NewLink | None) -> Port:
    if link is None:
        return port
    return replace(port, switch_name=link.switch_name, switch_port=link.switch_port, switch_id=link.switch_id)


def _free(rows: Servers, server: Server, ports: Sequence[Port], links: Sequence[NewLink]) -> None:
    """Refuses a link that another port has, of this server or another.

    Raises:
        WrongState: the port is named.
    """
    asked = {_key(link.switch_name, link.switch_port): link for link in links}
    own: dict[tuple[str, str], str] = {}
    for port in ports:
        name, where = port_name(server.uuid, port.mac_address), (port.switch_name, port.switch_port)
        if all(where) and own.setdefault(where, name) != name:
            raise _held(own[where] if name in {link.port for link in links} else name, *where)
    for key, owner in sorted(rows.owners(asked).items()):
        other = rows.get(owner.uuid)
        if owner.uuid == server.uuid or other is None:
            continue
        path = next((path for path, one in keyed(other.spec) if one == key), "ports[0].")
        holder = other.spec.ports[int(path.partition("[")[2].partition("]")[0])]
        link = asked[key]
        raise _held(port_name(other.uuid, holder.mac_address), link.switch_name, link.switch_port, owner.display_name)


def _held(port: str, switch_name: str, switch_port: str, display_name: str = "") -> WrongState:
    whose = f", of server {display_name}" if display_name else ""
    return WrongState(
        f"{switch_name} {switch_port} is where {port}{whose} is plugged in",
        remedy="Name another switch port, or move that port away first.",
        subject=port,
        switch_name=switch_name,
        switch_port=switch_port,
    )


def _key(switch_name: str, switch_port: str) -> Key:
    return next(
        key
        for path, key in keyed(domain.ServerSpec(ports=(Port("", "", switch_name, switch_port),)))
        if "switch" in path
    )


def _where(port: Port) -> str:
    return f"{port.switch_name} {port.switch_port}" if port.switch_name else "nowhere"
