# SPDX-License-Identifier: Apache-2.0
"""The verbs that migrate a server to other switch ports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.kernel.calls import Call
from services.kernel.errors import InvalidField, WrongState
from services.kernel.names import PORT
from services.lifecycle.domain import walk
from services.lifecycle.domain.instance import Instance, InstanceState
from services.lifecycle.domain.kinds import MOVES, IntentKind
from services.lifecycle.domain.moving import NewLink, is_aimed_anew, moves_to, told
from services.lifecycle.domain.notes import note
from services.lifecycle.domain.plans import plan_of
from services.lifecycle.domain.progress import Progress
from services.lifecycle.domain.server import Move, Power, Server
from services.lifecycle.domain.states import State
from services.lifecycle.domain.step import StepName
from services.lifecycle.domain.walk import Change
from services.lifecycle.operations.beginning import Beginnings, not_at_work, taken_over
from services.lifecycle.operations.books import Books
from services.lifecycle.operations.refusals import managed

MOST_PORTS = 64
_LONGEST, _LONGEST_ID = 255, 63
_ASIDE = (State.ENROLLED, State.QUARANTINED)


def check_links(links: Sequence[NewLink], uuid: str) -> None:
    """The form of the links that are asked for.

    Raises:
        InvalidField: one is malformed, or there are none, too many, or two of one port or switch port.
    """
    if not 0 < len(links) <= MOST_PORTS:
        raise InvalidField("ports", f"does not hold 1 to {MOST_PORTS} ports", remedy="Name each port and its new link.")
    for at, link in enumerate(links):
        if PORT.parse(link.port, f"ports[{at}].port")[0] != uuid:
            raise InvalidField(f"ports[{at}].port", f"is no port of servers/{uuid}", remedy="Name one of its ports.")
        for field, text in (("switch_name", link.switch_name), ("switch_port", link.switch_port)):
            if not 0 < len(text) <= _LONGEST or not text.isprintable():
                what = f"is not 1 to {_LONGEST} printable characters"
                raise InvalidField(f"ports[{at}].{field}", what, remedy="A link needs the switch and its port.")
        if len(link.switch_id) > _LONGEST_ID or not link.switch_id.isprintable():
            what = f"is not at most {_LONGEST_ID} printable characters"
            raise InvalidField(f"ports[{at}].switch_id", what, remedy="Give the switch's MAC address or datapath id.")
        before = links[:at]
        if any(one.port == link.port for one in before):
            raise InvalidField(f"ports[{at}].port", "is named twice", remedy="Name it once.")
        if any(one.where == link.where for one in before):
            raise InvalidField(f"ports[{at}].switch_port", "is that of two ports", remedy="Name another switch port.")


@dataclass(frozen=True, slots=True)
class Moving:
    """What an administrator asks of where servers are plugged in.

    Attributes:
        moves_ports: the controller of the hardware moves ports for its own jobs, by what it was told of their links.
    """

    beginnings: Beginnings
    moves_ports: bool = False

    def moves(self, server: Server, instance: Instance | None, links: Sequence[NewLink]) -> tuple[Move, ...]:
        """What *links* would change of *server*; refused as `move` refuses."""
        self._followed(server)
        _kind(server, instance)
        return moves_to(server, links)

    def move(
        self, books: Books, call: Call, uuid: str, links: Sequence[NewLink], reason: str, *, cabled: bool
    ) -> Progress:
        """active, available, enrolled or quarantined, and stays so; one that waits for its cables is aimed anew."""
        server = books.server(uuid)
        instance = books.find_instance(server.instance)
        self._followed(server)
        kind = _kind(server, instance)
        moves, index = moves_to(server, links), 0
        facts = told(server, moves)
        if is_aimed_anew(server):
            index = next(at for at, step in enumerate(plan_of(kind)) if step.name is StepName.CHANGE_LINKS)
            server = taken_over(books, call, server, instance, "other links were named")
        asked = self.beginnings.intent(call, kind, self.beginnings.operation(call, ""))
        intent = replace(asked, index=index, moves=moves, cabled=cabled)
        change = walk.begin(server, instance, intent, call.now)
        return self.beginnings.commit(books, call, change, "server.move_requested", message=reason, facts=facts)

    def _followed(self, server: Server) -> None:
        """Refuses where a controller would clean the server at its old links: it takes no others of one in use.

        Raises:
            WrongState: an instance holds it, and its controller moves ports.
        """
        if self.moves_ports and server.instance:
            msg = f"{server.name} is held by {server.instance}; its controller, which moves ports too, would not follow"
            raise WrongState(
                msg,
                remedy="Move it when it is free; or let network alone move ports (BMS_LIFECYCLE_NEUTRON_MODE).",
                subject=server.name,
                instance=server.instance,
            )

    @staticmethod
    def confirm(books: Books, call: Call, uuid: str) -> Server:
        """The cables of a server that is being moved are where they shall be; said twice, it is said."""
        server = books.server(uuid)
        if server.intent is None or server.intent.kind not in MOVES:
            msg = f"{server.name} is not being moved"
            remedy = f"See what it waits for: bms server diagnose {uuid}."
            raise WrongState(msg, remedy=remedy, subject=server.name, state=server.state.value)
        if server.intent.cabled:
            return server
        cabled = replace(server, intent=replace(server.intent, cabled=True))
        event = note(server, cabled, "server.cabled", call.now, actor=call.caller.subject, request_id=call.request_id)
        return books.write(Change(cabled, (event,)), call.now, due=call.now).server


def _kind(server: Server, instance: Instance | None) -> IntentKind:
    """Which plan moves *server*.

    Raises:
        Busy: something is being done to it.
        WrongState: it is nowhere that it could be moved from.
    """
    if is_aimed_anew(server):
        return server.task.kind
    not_at_work(server)
    managed(server)
    if server.taken_elsewhere:
        msg = f"{server.name} is somebody else's, as its controller tells"
        raise WrongState(msg, remedy=f"See whose: bms server diagnose {server.uuid}.", subject=server.name)
    if server.state in _ASIDE:
        return IntentKind.MOVE_ASIDE
    if server.state is State.AVAILABLE:
        return IntentKind.MOVE_FREE
    held = instance.state if instance is not None and server.state is State.ACTIVE else None
    if held is InstanceState.STOPPED:
        return IntentKind.MOVE_STOPPED
    if held is InstanceState.ACTIVE:
        # One that was shut down from within is not switched on for its tenant.
        return IntentKind.MOVE_QUIET if server.power is Power.OFF else IntentKind.MOVE
    msg = f"{server.name} is {server.state.value}; it is moved from active, available, enrolled or quarantined"
    remedy = f"Try again when it is at rest, or set it aside: bms server quarantine {server.uuid} --reason WHY."
    if server.state is State.RESCUED:
        remedy = "Have its project end the rescue first: bms instance unrescue."
    raise WrongState(msg, remedy=remedy, subject=server.name, state=server.state.value)
