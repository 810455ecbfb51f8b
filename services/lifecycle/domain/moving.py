# SPDX-License-Identifier: Apache-2.0
"""A server that is migrated to other switch ports: which, and what its ports are once inventory has them there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from services.kernel.errors import InvalidField, WrongState
from services.lifecycle.domain.kinds import MOVES
from services.lifecycle.domain.server import Move, Port, Server
from services.lifecycle.domain.step import StepName

AIMED_ANEW = frozenset({StepName.SETTLE_LINKS, StepName.RECABLE})
"""Steps at which another link may be named: the ports were cut where they were, and are on nothing where they are."""


@dataclass(frozen=True, slots=True)
class NewLink:
    """Where a port shall be plugged in; ``switch_id`` "" for that of before, if the switch is the same."""

    port: str
    switch_name: str
    switch_port: str
    switch_id: str = ""

    @property
    def where(self) -> tuple[str, str]:
        """Switch and port."""
        return self.switch_name, self.switch_port


def is_aimed_anew(server: Server) -> bool:
    """Whether *server* is being moved, and may be given other links than it was."""
    intent = server.intent
    return intent is not None and intent.kind in MOVES and intent.step.name in AIMED_ANEW


def moves_to(server: Server, links: Iterable[NewLink]) -> tuple[Move, ...]:
    """What *links* change of *server*, with every place that has to be read empty in the end.

    Raises:
        InvalidField: a port is none of the server's.
        WrongState: a port has that link already, or another port of the server has it.
    """
    ports = {port.name: port for port in server.ports}
    wanted = {link.port: link for link in links}
    before = {move.port: move for move in server.intent.moves} if is_aimed_anew(server) and server.intent else {}
    for at, link in enumerate(wanted.values()):
        port = ports.get(link.port)
        if port is None:
            raise InvalidField(
                f"ports[{at}].port",
                f"is no port of {server.name}",
                remedy=f"See its ports: bms server port list {server.uuid}.",
            )
        if (port.switch_name, port.switch_port) == link.where:
            msg = f"{port.name} is plugged into {link.switch_name} {link.switch_port} already"
            raise WrongState(msg, remedy="Name another switch port, or leave this port out.", subject=port.name)
        holder = next((one for one in server.ports if _where(one) == link.where and one.name not in wanted), None)
        if holder is not None:
            raise link_taken(holder.name, link)
    made = []
    for link in wanted.values():
        port = ports[link.port]
        same = port.switch_name == link.switch_name
        left = before[port.name].left if port.name in before else ()
        # Nothing but quarantine was ever asked of a link that was named before and never read: nothing is left there.
        if port.linked and (port.name not in before or port.read_time is not None):
            left = (*left, _where(port))
        made.append(
            Move(port.name, *link.where, link.switch_id or (port.switch_id if same else ""), tuple(dict.fromkeys(left)))
        )
    # What was moved before, and is not named now, stays where it is by now; its places are still to be read.
    return (*made, *(move for name, move in before.items() if name not in wanted))


def link_taken(port: str, link: NewLink) -> WrongState:
    """The refusal of a link that another port has."""
    return WrongState(
        f"{link.switch_name} {link.switch_port} is where {port} is plugged in",
        remedy="Name another switch port, or move that port away first.",
        subject=port,
        switch_name=link.switch_name,
        switch_port=link.switch_port,
    )


def plugged(ports: tuple[Port, ...], moves: Iterable[Move]) -> tuple[Port, ...]:
    """*ports* with the new links of *moves*; one that is plugged in elsewhere counts as never read."""
    wanted = {move.port: move for move in moves}
    return tuple(_plugged(port, wanted[port.name]) if port.name in wanted else port for port in ports)


def told(server: Server, moves: Iterable[Move]) -> dict[str, str]:
    """Port -> from where to where, for people."""
    before = {port.name: port for port in server.ports}
    return {
        move.port.rpartition("/")[2]: f"{_words(before[move.port])} -> {move.switch_name} {move.switch_port}"
        for move in moves
        if move.port in before
    }


def cables(moves: Iterable[Move]) -> str:
    """Which cables have to be moved, for whoever does it."""
    return "; ".join(
        f"{move.port.rpartition('/')[2]}: {' '.join(move.left[-1]) if move.left else 'nowhere'}"
        f" -> {move.switch_name} {move.switch_port}"
        for move in moves
    )


def left_places(server: Server) -> tuple[Port, ...]:
    """Where ports of *server* were plugged in and none of it is now, each as the port that was there."""
    here = {_where(port) for port in server.ports}
    known = {port.name: port for port in server.ports}
    return tuple(
        replace(known[move.port], switch_name=switch, switch_port=port, switch_id="")
        for move in server.task.moves
        if move.port in known
        for switch, port in move.left
        if (switch, port) not in here
    )


def _plugged(port: Port, move: Move) -> Port:
    if _where(port) == (move.switch_name, move.switch_port):
        return replace(port, switch_id=move.switch_id)
    return Port(
        port.name, port.mac_address, move.switch_name, move.switch_port, port.pxe_enabled, port.port_group,
        switch_id=move.switch_id,
    )  # fmt: skip


def _where(port: Port) -> tuple[str, str]:
    return port.switch_name, port.switch_port


def _words(port: Port) -> str:
    return f"{port.switch_name} {port.switch_port}" if port.linked else "nowhere"
