# SPDX-License-Identifier: Apache-2.0
"""An Ironic whose words are late, out of order and repeated, while listings are under way: we end with what is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.telemetry.bridge.notes import Site

UUIDS = [f"{number:08x}-1111-4111-8111-111111111111" for number in range(2)]
BEGIN = datetime(2026, 11, 22, 9, tzinfo=UTC)


@dataclass
class Truth:
    """A node as it is."""

    state: int
    updated: datetime | None
    created: datetime


class LateIronic(RuleBasedStateMachine):
    """Two nodes. A second has three ticks; what is saved says its second, what is sent says its tick."""

    def __init__(self) -> None:
        super().__init__()
        self.site = Site()
        self.nodes: dict[str, Truth] = {}
        self.tick = 0
        self.queue: list[tuple[str, dict[str, Any], str]] = []
        self.listing: tuple[int, list[dict[str, Any]]] | None = None
        self.owed = False

    @initialize()
    def begin(self) -> None:
        self.site.lists([], [])

    def now(self) -> datetime:
        """The time of what happens now."""
        self.tick += 1
        return BEGIN + timedelta(seconds=self.tick / 3)

    def row(self, uuid: str) -> dict[str, Any]:
        """A node as Ironic shows it."""
        node = self.nodes[uuid]
        return {
            "uuid": uuid,
            "provision_state": str(node.state),
            "created_at": _second(node.created),
            "updated_at": _second(node.updated) if node.updated else None,
        }

    def tell(self, event: str, uuid: str, row: dict[str, Any]) -> None:
        """Ironic sends."""
        said = (BEGIN + timedelta(seconds=self.tick / 3)).replace(tzinfo=None).isoformat(" ")
        self.queue.append((event, {**row, "uuid": uuid}, said))

    @rule(uuid=st.sampled_from(UUIDS))
    def create_or_save(self, uuid: str) -> None:
        if uuid not in self.nodes:
            # A node of the same name is not made anew within the second.
            self.tick += 3
            self.nodes[uuid] = Truth(self.tick, None, self.now())
            self.tell("node.create.end", uuid, self.row(uuid))
        else:
            now = self.now()
            self.nodes[uuid].state, self.nodes[uuid].updated = self.tick, now
            self.tell("node.provision_set.end", uuid, self.row(uuid))

    @rule(uuid=st.sampled_from(UUIDS))
    def delete(self, uuid: str) -> None:
        if uuid in self.nodes:
            row = self.row(uuid)
            del self.nodes[uuid]
            self.tick += 1
            self.tell("node.delete.end", uuid, row)

    @rule()
    def swap(self) -> None:
        """Two processes of Ironic's send at once."""
        if len(self.queue) > 1:
            self.queue[0], self.queue[1] = self.queue[1], self.queue[0]

    @rule()
    def repeat(self) -> None:
        """The broker gives once more what it gave."""
        if self.queue:
            self.queue.append(self.queue[0])

    @rule()
    def deliver(self) -> None:
        if self.queue:
            event, row, said = self.queue.pop(0)
            self.owed |= self.site.hear(event, row, said)

    @rule()
    def begin_listing(self) -> None:
        self.listing = (self.site.fleet.ask(), [self.row(uuid) for uuid in sorted(self.nodes)])

    @rule()
    def end_listing(self) -> None:
        if self.listing is not None:
            asked, rows = self.listing
            self.listing = None
            self.site.lists(rows, [], asked)

    @invariant()
    def nothing_is_made_up(self) -> None:
        """At rest, we show what there is: after what was asked for was answered."""
        if self.queue or self.listing is not None:
            return
        if self.owed:
            self.owed = False
            self.site.lists([self.row(uuid) for uuid in sorted(self.nodes)], [])
        shown = {uuid: self.site.uve(uuid)["provision_state"] for uuid in self.site.fleet.nodes}
        assert shown == {uuid: str(node.state) for uuid, node in self.nodes.items()}


def _second(time: datetime) -> str:
    return time.replace(microsecond=0).isoformat()


TestLateIronic = LateIronic.TestCase
TestLateIronic.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
