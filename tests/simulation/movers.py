# SPDX-License-Identifier: Apache-2.0
"""An administrator who migrates servers to other switch ports, and moves their cables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bms.inventory.v1 import server_pb2
from bms.lifecycle.v1 import server_move_pb2
from services.kernel.errors import BmsError
from services.simulated import control
from tests.simulation.admins import statuses
from tests.simulation.people import Person, Refused

CLASS = "migrations"
_PASSING = ("WRONG_STATE", "BUSY", "STALE")

Place = tuple[str, str]
"""A switch and its port."""


class Mover:
    """Moves servers until the weather clears; then he only says of the cables that are left that they are there."""

    def __init__(self, person: Person, servers: Sequence[str]) -> None:
        self._me = person
        self._servers = servers
        self._places = 0
        self._left: list[Place] = []

    def work(self, every: float) -> None:
        """Moves one every now and then, seconds apart on average."""
        me = self._me
        while me.site.weather.has(CLASS):
            me.sim.sleep(me.chance.expovariate(1 / every))
            self._move(me.chance.choice(self._servers))
            self._see_to_cables()
        while True:
            self._see_to_cables()
            me.sim.sleep(60)

    def _move(self, server: str) -> None:
        me = self._me
        record = me.call("inventory", "GetServer", server_pb2.GetServerRequest(name=server))
        ports = me.chance.sample(list(record.ports), me.chance.randint(1, len(record.ports)))
        links = {port.name: ((port.switch_name, port.switch_port), self._place()) for port in ports}
        cabled = me.chance.random() < 0.3
        request = server_move_pb2.MoveServerRequest(
            name=server,
            ports=[
                server_move_pb2.PortMove(port=port, switch_name=there[0], switch_port=there[1])
                for port, (_, there) in links.items()
            ],
            reason="rehearsal",
            cabled=cabled,
        )
        if not self._ask("MoveServer", request):
            return
        self._left += [here for here, _ in links.values()]
        # Some pull the cables too early, under a running system; some forget to.
        if cabled or me.chance.random() < 0.2:
            self._recable(links.values())

    def _see_to_cables(self) -> None:
        """Whatever waits for its cables gets them where inventory has them, and is told of; some wait for long."""
        me = self._me
        for status in statuses(me, "wait_code = RECABLE"):
            if me.site.weather.has(CLASS) and me.chance.random() < 0.3:
                continue
            if me.site.weather.has(CLASS) and me.chance.random() < 0.2:
                # He has plugged them in elsewhere than he said.
                self._move(status.server)
                continue
            self._ask("ConfirmServerMove", server_move_pb2.ConfirmServerMoveRequest(name=status.server))

    def _place(self) -> Place:
        """Where nobody ever was, or where somebody was before."""
        if self._left and self._me.chance.random() < 0.4:
            return self._left.pop(self._me.chance.randrange(len(self._left)))
        self._places += 1
        return "spare", f"xe-{self._places}/0/0"

    def _recable(self, links: Any) -> None:
        for here, there in links:
            try:
                control.recable(self._me.site.rack, here, there, self._me.sim.now())
            except BmsError:
                return  # somebody else's cable is there, or none is here

    def _ask(self, method: str, request: Any) -> bool:
        try:
            self._me.call("lifecycle", method, request)
        except Refused as refused:
            if refused.reason not in _PASSING:
                raise
            return False
        self._me.site.weather.count(CLASS)
        return True
