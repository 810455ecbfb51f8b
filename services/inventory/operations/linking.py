# SPDX-License-Identifier: Apache-2.0
"""Where the ports of a server that lifecycle moves are plugged in: the one change of ports that a hold allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.inventory.domain import server as domain
from services.inventory.domain.checks import Checks
from services.inventory.domain.keys import link_key
from services.inventory.domain.server import Port, Server, port_name
from services.inventory.operations.events import event
from services.inventory.operations.ports import Fresh, Servers
from services.inventory.operations.servers import get_for_change, require_kept
from services.kernel.calls import Call
from services.kernel.errors import InvalidField, WrongState

MAX_LINKS = domain.MAX_PORTS


@dataclass(frozen=True, slots=True)
class NewLink:
    """Where the port called ``port`` (a resource name) is plugged in."""

    port: str
    switch_name: str
    switch_port: str
    switch_id: str = ""

    @property
    def where(self) -> tuple[str, str]:
        """Switch and port."""
        return self.switch_name, self.switch_port


def relink(rows: Servers, call: Call, uuid: str, fresh: Fresh, links: Sequence[NewLink]) -> Server:
    """The server with its ports plugged in as *links* say; lifecycle has cut them before.

    Raises:
        NotFound: there is no such server.
        Stale: it is not the version that the caller saw.
        InvalidFields: a link is malformed, or of no port of the server.
        WrongState: it is being deleted, or another port has a link.
    """
    server = get_for_change(rows, uuid, fresh)
    require_kept(server)
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
    own: dict[tuple[str, str], str] = {}
    for port in ports:
        name = port_name(server.uuid, port.mac_address)
        if all(_link(port)) and own.setdefault(_link(port), name) != name:
            raise _held(own[_link(port)] if name in {link.port for link in links} else name, *_link(port))
    for key, owner in sorted(rows.owners(link_key(*link.where) for link in links).items()):
        other = rows.get(owner.uuid) if owner.uuid != server.uuid else None
        for port in other.spec.ports if other is not None else ():
            if link_key(*_link(port)) == key:
                raise _held(port_name(owner.uuid, port.mac_address), *_link(port), owner.display_name)


def _held(port: str, switch_name: str, switch_port: str, display_name: str = "") -> WrongState:
    whose = f", of server {display_name}," if display_name else ""
    return WrongState(
        f"{switch_name} {switch_port} is where {port}{whose} is plugged in",
        remedy="Name another switch port, or move that port away first.",
        subject=port,
        switch_name=switch_name,
        switch_port=switch_port,
    )


def _link(port: Port) -> tuple[str, str]:
    return port.switch_name, port.switch_port


def _where(port: Port) -> str:
    return f"{port.switch_name} {port.switch_port}" if port.switch_name else "nowhere"
