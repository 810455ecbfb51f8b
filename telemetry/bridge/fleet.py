# SPDX-License-Identifier: Apache-2.0
"""Ironic's nodes with their ports, as told and as listed, and the `IronicNode` of each. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from telemetry.bridge.fields import Fields, Spoil, fitting, node_fields, port_fields, text
from telemetry.bridge.notifications import Meaning, Notification, moment, uuid_of
from telemetry.bridge.register import NEVER, Age, Register


@dataclass(slots=True)
class Fleet:
    """What is known of an Ironic.

    Attributes:
        spoil: is told of fields that were left out.
        heard: how many notifications there were, by what followed from them.
        listed: whether all was listed once: from then on, only a creation or a listing brings a node.
    """

    spoil: Spoil
    nodes: Register = field(default_factory=Register)
    ports: Register = field(default_factory=Register)
    heard: Counter[Meaning] = field(default_factory=Counter)
    listed: bool = False
    _turn: int = 0
    _of_node: dict[str, set[str]] = field(default_factory=dict)
    _changed: set[str] = field(default_factory=set)

    # --- notifications ---------------------------------------------------------------------------

    def hear(self, told: Notification) -> bool:
        """Takes a notification; answers whether Ironic should be asked how things are."""
        self._turn += 1
        self.heard[told.meaning] += 1
        match told.meaning:
            case Meaning.NOTHING:
                return False
            case Meaning.LOOK:
                return True
            case Meaning.GOES:
                return self._node_goes(told)
            case Meaning.PORT_GOES:
                return self._port_goes(told)
            case Meaning.PORT_STANDS:
                return self._port_stands(told)
            case Meaning.APPEARS | Meaning.STANDS:
                return self._node_stands(told)

    def _node_stands(self, told: Notification) -> bool:
        new = told.uuid not in self.nodes
        if new and self.listed and told.meaning is not Meaning.APPEARS:
            # A late word about a node that went while we were away, or one that we missed: Ironic knows.
            return True
        fields = node_fields(told.data, self.spoil)
        fields |= {"event_type": text(told.type), "publisher_id": text(told.publisher)}
        if self.nodes.hear(told.uuid, _age(told), self._turn, told.uuid, fields):
            self._changed.add(told.uuid)
        # Most notifications do not have all of a node.
        return new and told.meaning is not Meaning.APPEARS

    def _node_goes(self, told: Notification) -> bool:
        if self.nodes.bury(told.uuid, _age(told), self._turn):
            self._changed.add(told.uuid)
            # Ironic says nothing of the ports that go with it.
            for port in tuple(self._of_node.get(told.uuid, ())):
                known = self.ports.get(port)
                assert known is not None
                self.ports.bury(port, known.age, self._turn)
                self._belongs(port, told.uuid, "")
        return False

    def _port_stands(self, told: Notification) -> bool:
        if not told.node:
            return True
        owner = self._owner(told.uuid)
        fields = port_fields(told.data, self.spoil)
        if self.ports.hear(told.uuid, _age(told), self._turn, told.node, fields):
            self._belongs(told.uuid, owner, told.node)
        return told.node not in self.nodes

    def _port_goes(self, told: Notification) -> bool:
        owner = self._owner(told.uuid)
        if self.ports.bury(told.uuid, _age(told), self._turn):
            self._belongs(told.uuid, owner, "")
        return False

    # --- listings --------------------------------------------------------------------------------

    def ask(self) -> int:
        """The turn of a question that is put to Ironic now."""
        self._turn += 1
        return self._turn

    def read_nodes(self, rows: Iterable[object], asked: int) -> set[str]:
        """Takes a page of nodes, asked for at the turn *asked*; answers their UUIDs."""
        seen = set()
        for row, uuid in _named(rows):
            seen.add(uuid)
            if self.nodes.read(uuid, _age_of(row), asked, uuid, node_fields(row, self.spoil)):
                self._changed.add(uuid)
        return seen

    def read_ports(self, rows: Iterable[object], asked: int) -> set[str]:
        """As `read_nodes`, of ports."""
        seen = set()
        for row, uuid in _named(rows):
            node = uuid_of(row.get("node_uuid"))
            if not node:
                continue
            seen.add(uuid)
            owner = self._owner(uuid)
            if self.ports.read(uuid, _age_of(row), asked, node, port_fields(row, self.spoil)):
                self._belongs(uuid, owner, node)
        return seen

    def close_listing(self, nodes: set[str], ports: set[str], asked: int) -> list[str]:
        """Everything was listed, asked for from the turn *asked* on; answers the nodes that are gone."""
        self._turn += 1
        gone = self.nodes.missing(nodes, asked, self._turn)
        self._changed.update(gone)
        owners = {uuid: self._owner(uuid) for uuid in self.ports}
        for uuid in self.ports.missing(ports, asked, self._turn):
            self._belongs(uuid, owners[uuid], "")
        self.listed = True
        return gone

    # --- UVEs ------------------------------------------------------------------------------------

    def take_changed(self) -> list[str]:
        """The nodes whose UVE may have changed since the last call."""
        changed, self._changed = sorted(self._changed), set()
        return changed

    def all_changed(self) -> None:
        """Everything is to be told again."""
        self._changed.update(self.nodes)

    def uve(self, uuid: str) -> Fields | None:
        """The whole `IronicNode` of a node; None if there is none. What was cleared is absent, texts are empty."""
        known = self.nodes.get(uuid)
        if known is None:
            return None
        whole = {name: value for name, value in known.fields.items() if value is not None}
        return {"name": uuid, **whole, "port_info": fitting(self._ports(uuid), self.spoil)}

    def _ports(self, node: str) -> list[Fields]:
        found = []
        for uuid in sorted(self._of_node.get(node, ())):
            port = self.ports.get(uuid)
            assert port is not None
            values = {name: value for name, value in port.fields.items() if value is not None}
            found.append({"name": uuid, "port_uuid": uuid, **values})
        return found

    def _owner(self, port: str) -> str:
        known = self.ports.get(port)
        return known.owner if known is not None else ""

    def _belongs(self, port: str, before: str, now: str) -> None:
        if before and before != now:
            self._of_node[before].discard(port)
            if not self._of_node[before]:
                del self._of_node[before]
        if now:
            self._of_node.setdefault(now, set()).add(port)
        self._changed.update(filter(None, (before, now)))


def _age(told: Notification) -> Age:
    age = _age_of(told.data)
    said = told.said or NEVER
    return Age(age.updated if age.updated != NEVER else said, said, age.born)


def _age_of(data: Mapping[str, Any]) -> Age:
    born = moment(data.get("created_at")) or NEVER
    return Age(moment(data.get("updated_at")) or born, NEVER, born)


def _named(rows: Iterable[object]) -> Iterable[tuple[Mapping[str, Any], str]]:
    for row in rows:
        uuid = uuid_of(row.get("uuid")) if isinstance(row, Mapping) else ""
        if uuid:
            assert isinstance(row, Mapping)
            yield row, uuid
