# SPDX-License-Identifier: Apache-2.0
"""A controller's nodes with state, as far as observing asks for them; and an observer over a rig's database."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from services.kernel.clock import Clock
from services.kernel.errors import PeerUnavailable
from services.lifecycle.domain.nodes import NodeSeen
from services.lifecycle.observing.lister import Lister
from services.lifecycle.observing.observer import Observer
from tests.lifecycle.rig import Rig
from tests.support.clocks import START


@dataclass
class FakeNodes:
    """What people do to nodes is done by `lead`; every question is counted.

    Attributes:
        nodes: as they are; `read_time` means nothing here.
        changed: when they last were.
        reads, pages: how many questions there were.
        most: the most that a page holds, whatever was asked for.
        silent: it does not answer.
        blind: it shows nothing, as to a login without a role.
    """

    clock: Clock
    nodes: dict[str, NodeSeen] = field(default_factory=dict)
    changed: dict[str, datetime] = field(default_factory=dict)
    reads: int = 0
    pages: int = 0
    most: int = 1000
    silent: bool = False
    blind: bool = False

    def lead(self, uuid: str, state: str = "", **more: Any) -> None:
        """Changes a node; a new provision state is a new time of it."""
        now = self.clock.now()
        known = self.nodes.get(uuid, NodeSeen(uuid, START))
        moved = {"state": state, "moved": now.isoformat()} if state else {}
        self.nodes[uuid] = replace(known, **{**moved, **more})
        self.changed[uuid] = now

    def node(self, uuid: str) -> NodeSeen:
        self._answer()
        self.reads += 1
        if uuid not in self.nodes or self.blind:
            return NodeSeen(uuid, self.clock.now(), gone=True)
        return replace(self.nodes[uuid], read_time=self.clock.now())

    def page(self, *, after: str, size: int, latest: bool) -> tuple[list[NodeSeen], bool]:
        self._answer()
        self.pages += 1
        there = sorted(() if self.blind else self.nodes.values(), key=lambda one: one.uuid)
        if latest:
            there.sort(key=lambda one: self.changed.get(one.uuid, START), reverse=True)
        at = [one.uuid for one in there].index(after) + 1 if after else 0
        found = there[at : at + min(size, self.most)]
        return [replace(one, read_time=self.clock.now()) for one in found], at + len(found) < len(there)

    def _answer(self) -> None:
        if self.silent:
            msg = "Ironic does not answer"
            raise PeerUnavailable(msg)


@dataclass
class Watched:
    """A rig with a controller that others use too."""

    rig: Rig
    nodes: FakeNodes
    observer: Observer
    lister: Lister

    def see(self) -> None:
        """A listing, what it means, and whatever that leads to."""
        self.rig.clock.advance(31)
        self.lister.tick(self.rig.clock.now())
        for _ in range(2):
            self.rig.settle()
            self.observer.judge()
        self.rig.settle()

    def told(self, uuid: str) -> list[tuple[str, str]]:
        """The reason and the message of every event that says what others did."""
        events = self.rig.events(f"servers/{uuid}")
        return [(one.body.reason, one.body.message) for one in events if one.header.type == "controller.observed"]


def watched(rig: Rig) -> Watched:
    """A fresh process's observer over *rig*."""
    nodes = FakeNodes(rig.clock)
    observer = Observer(rig.database, rig.store, nodes, rig.clock)
    return Watched(rig, nodes, observer, Lister(observer, nodes, whole=timedelta(minutes=10)))
