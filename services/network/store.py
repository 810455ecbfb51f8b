# SPDX-License-Identifier: Apache-2.0
"""Tables of network: row to value and back. What the methods promise is said by `services.network.operations.store`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import orjson

from services.kernel.events import Event, Head
from services.kernel.pages import Page, PageRequest
from services.network.domain.attachments import Attachment, Link, Reading
from services.network.domain.networks import Network, PortClass, Segment
from services.network.domain.switch_ports import NO_SETUP, PortSetup, SwitchPort
from services.network.domain.wishes import Purpose, Tag, Wish
from services.network.operations.store import Condition
from services.runtime.database import Row, Transaction
from services.runtime.eventlog import EventLog
from services.runtime.times import from_micros, to_micros

_NETWORK = (
    "SELECT name, display_name, network_class, fabric_id, vlan, vni, create_time, update_time, version,"
    " sequence,"
    " (SELECT count(*) FROM network_ports p WHERE p.network = networks.name) AS ports FROM networks"
)
_NETWORK_ALONE = (
    "SELECT name, display_name, network_class, fabric_id, vlan, vni, create_time, update_time, version,"
    " sequence FROM networks"
)
_PORT_COLUMNS = (
    "port, server, mac_address, switch, switch_port, port_group, switch_id, wish_class, wish_tags, project,"
    " request_time, asked, seen_class, seen_tags, seen_time, seen_digest, seen_detail, seen_asked,"
    " seen_setup, seen_breach, wish_purpose"
)
_PORT = f"SELECT {_PORT_COLUMNS} FROM ports"
_SAME = (
    "UPDATE ports SET seen_time = ?, seen_digest = ?, seen_detail = ?, seen_setup = ? WHERE port = ?"
    " AND switch = ? AND switch_port = ? AND asked = ? AND seen_asked = ? AND seen_class = ? AND seen_tags = ?"
    " AND seen_time <= ?"
)
_READ = (
    "UPDATE ports SET seen_class = ?, seen_tags = ?, seen_time = ?, seen_digest = ?, seen_detail = ?,"
    " seen_asked = ?, seen_setup = ?, seen_breach = ?, settled = ? WHERE port = ?"
)
_NO_FENCE = 2**63 - 1
_SAVED = (
    "ON CONFLICT (port) DO UPDATE SET server = excluded.server, mac_address = excluded.mac_address,"
    " switch = excluded.switch,"
    " switch_port = excluded.switch_port, port_group = excluded.port_group, switch_id = excluded.switch_id,"
    " wish_class = excluded.wish_class,"
    " wish_tags = excluded.wish_tags, project = excluded.project, request_time = excluded.request_time,"
    " asked = excluded.asked, seen_class = excluded.seen_class, seen_tags = excluded.seen_tags,"
    " seen_time = excluded.seen_time, seen_digest = excluded.seen_digest, seen_detail = excluded.seen_detail,"
    " seen_asked = excluded.seen_asked, seen_setup = excluded.seen_setup,"
    " seen_breach = excluded.seen_breach,"
    " wish_purpose = excluded.wish_purpose, settled = excluded.settled"
)


class SqlStore:
    """`services.network.operations.store.Store` over one transaction."""

    def __init__(self, tx: Transaction, log: EventLog) -> None:
        self._tx = tx
        self._log = log
        # SQLite's writers follow one another: a transaction there has everything locked.
        postgresql = tx.dialect == "postgresql"
        self._for_update = " FOR UPDATE" if postgresql else ""
        self._for_share = " FOR SHARE" if postgresql else ""

    # -- networks ------------------------------------------------------------------------------------------------------

    def network(self, name: str) -> tuple[Network, int] | None:
        row = self._tx.one(f"{_NETWORK} WHERE name = ?", (name,))
        return None if row is None else (_network(row), row["ports"])

    def lock_network(self, name: str) -> tuple[Network, int] | None:
        # First the lock, then the count: a snapshot taken before would not show who attached while we waited.
        self._tx.one(f"SELECT name FROM networks WHERE name = ?{self._for_update}", (name,))
        return self.network(name)

    def networks_named(self, names: Collection[str]) -> dict[str, Network]:
        return {row["name"]: _network(row) for row in self._those("name", sorted(names))}

    def hold_networks(self, names: Collection[str]) -> dict[str, Network]:
        rows = self._those("name", sorted(names), self._for_share)
        return {row["name"]: _network(row) for row in rows}

    def networks_on(self, fabric_ids: Collection[str]) -> dict[str, Network]:
        return {row["fabric_id"]: _network(row) for row in self._those("fabric_id", sorted(fabric_ids))}

    def network_of_class(self, port_class: str) -> Network | None:
        row = self._tx.one(f"{_NETWORK_ALONE} WHERE private_class = ?", (port_class,))
        return None if row is None else _network(row)

    def insert_network(self, network: Network) -> bool:
        return (
            self._tx.execute(
                "INSERT INTO networks (name, project, display_name, network_class, private_class, fabric_id, vlan,"
                " vni, create_time, update_time, version, sequence) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (
                    network.name,
                    network.project,
                    network.display_name,
                    network.network_class.value,
                    network.network_class.value if network.network_class.private else None,
                    network.segment.fabric_id,
                    network.segment.vlan,
                    network.segment.vni,
                    to_micros(network.create_time),
                    to_micros(network.update_time),
                    network.version,
                    network.head.sequence,
                ),
            )
            == 1
        )

    def save_head(self, network: Network, head: Head) -> None:
        self._tx.execute("UPDATE networks SET sequence = ? WHERE name = ?", (head.sequence, network.name))

    def delete_network(self, network: Network) -> None:
        self._tx.execute("DELETE FROM networks WHERE name = ?", (network.name,))

    def list_networks(self, project: str, page: PageRequest, where: Sequence[Condition]) -> Page[tuple[Network, int]]:
        terms, params = ["name > ?"], [page.after]
        if project:
            terms.append("project = ?")
            params.append(project)
        rows = self._page(_NETWORK, "name", terms, params, page, where)
        found = [(_network(row), int(row["ports"])) for row in rows[: page.size]]
        return Page(found, found[-1][0].name if len(rows) > page.size else "")

    def free_vlan(self, first: int, last: int) -> int:
        row = self._tx.one(
            "SELECT min(vlan) + 1 AS free FROM (SELECT ? AS vlan UNION SELECT vlan FROM networks WHERE vlan BETWEEN ?"
            " AND ?) AS taken WHERE NOT EXISTS (SELECT 1 FROM networks n WHERE n.vlan = taken.vlan + 1)",
            (first - 1, first, last),
        )
        free = int(row["free"]) if row is not None else 0
        return free if free <= last else 0

    # -- ports ---------------------------------------------------------------------------------------------------------

    def claim(self, server: str, fence: int) -> tuple[int, Head]:
        row = self._tx.one(
            "INSERT INTO servers (server, fence, sequence) VALUES (?, ?, 0) ON CONFLICT (server) DO UPDATE"
            " SET fence = CASE WHEN excluded.fence > servers.fence THEN excluded.fence ELSE servers.fence END"
            " RETURNING fence, sequence",
            (server, fence),
        )
        assert row is not None
        return row["fence"], Head(row["sequence"])

    def save_server_head(self, server: str, head: Head) -> None:
        self._tx.later("UPDATE servers SET sequence = ? WHERE server = ?", (head.sequence, server))

    def lock_servers(self, servers: Sequence[str]) -> dict[str, tuple[int, Head]]:
        # In one order, so that two who lock several do not wait for each other.
        rows = self._tx.all(
            f"SELECT server, fence, sequence FROM servers WHERE server IN ({', '.join('?' * len(servers))})"
            f" ORDER BY server{self._for_update}",
            servers,
        )
        return {row["server"]: (row["fence"], Head(row["sequence"])) for row in rows}

    def save_servers(self, servers: Mapping[str, tuple[int, Head]]) -> None:
        self._tx.insert_later(
            "servers",
            "server, fence, sequence",
            [(server, fence, head.sequence) for server, (fence, head) in servers.items()],
            "ON CONFLICT (server) DO UPDATE SET fence = excluded.fence, sequence = excluded.sequence",
        )

    def attachments(self, server: str) -> list[Attachment]:
        return [_attachment(row) for row in self._tx.all(f"{_PORT} WHERE server = ? ORDER BY port", (server,))]

    def ports_and_fence(self, server: str) -> tuple[list[Attachment], int]:
        rows = self._tx.all(
            f"SELECT {_PORT_COLUMNS}, (SELECT fence FROM servers s WHERE s.server = ports.server) AS fence"
            " FROM ports WHERE server = ? ORDER BY port",
            (server,),
        )
        return [_attachment(row) for row in rows], rows[0]["fence"] or 0 if rows else 0

    def holder(self, plug: SwitchPort) -> str:
        row = self._tx.one("SELECT port FROM ports WHERE switch = ? AND switch_port = ?", (plug.switch, plug.port))
        return "" if row is None else str(row["port"])

    def save(self, changes: Sequence[tuple[Attachment, Attachment | None]]) -> None:
        values = [_values(new) for new, _ in changes]
        self._tx.insert_later("ports", f"{_PORT_COLUMNS}, settled", values, _SAVED)
        left, joined = [], []
        for new, old in changes:
            port, before = new.link.port, old.networks if old else frozenset()
            left += [(network, port) for network in sorted(before - new.networks)]
            joined += [(network, port) for network in sorted(new.networks - before)]
        self._on(left, joined)

    def save_readings(self, attachments: Sequence[Attachment]) -> None:
        values = [(*_seen(one.observed), int(one.settled), one.link.port) for one in attachments]
        if len(values) == 1:
            self._tx.later(_READ, values[0])
        else:
            self._tx.many(_READ, values)

    def attachments_of(self, servers: Sequence[str]) -> list[Attachment]:
        marks = ", ".join("?" * len(servers))
        return [_attachment(row) for row in self._tx.all(f"{_PORT} WHERE server IN ({marks}) ORDER BY port", servers)]

    def fences(self, servers: Sequence[str]) -> dict[str, int]:
        marks = ", ".join("?" * len(servers))
        rows = self._tx.all(f"SELECT server, fence FROM servers WHERE server IN ({marks})", servers)
        return {row["server"]: row["fence"] for row in rows}

    def save_same(self, readings: Sequence[tuple[Attachment, Reading]]) -> None:
        self._tx.may_be_lost()
        self._tx.many(_SAME, [_same(one, now) for one, now in readings])

    def confirm(self, server: str, readings: Sequence[tuple[Attachment, Reading]], fence: int) -> bool:
        still = "AND NOT EXISTS (SELECT 1 FROM servers s WHERE s.server = ? AND s.fence > ?)"
        overtaken = (server, fence or _NO_FENCE)
        kept = sum(self._tx.execute(f"{_SAME} {still}", (*_same(one, now), *overtaken)) for one, now in readings)
        if kept < len(readings):
            return False
        self._tx.may_be_lost()
        return True

    def forget(self, attachment: Attachment) -> None:
        self._on([(network, attachment.link.port) for network in sorted(attachment.networks)], [])
        self._tx.execute("DELETE FROM ports WHERE port = ?", (attachment.link.port,))

    def list_attachments(self, page: PageRequest, where: Sequence[Condition]) -> Page[Attachment]:
        rows = self._page(_PORT, "port", ["port > ?"], [page.after], page, where)
        found = [_attachment(row) for row in rows[: page.size]]
        return Page(found, found[-1].link.port if len(rows) > page.size else "")

    # -- the log -------------------------------------------------------------------------------------------------------

    def append(self, event: Event, head: Head) -> Head:
        return self._log.append(self._tx, event, head, later=True)

    def append_each(self, events: Sequence[tuple[Event, Head]]) -> list[Head]:
        return self._log.append_each(self._tx, events)

    def end_of(self, stream: str) -> Head:
        row = self._tx.one("SELECT max(sequence) AS sequence FROM events WHERE stream = ?", (stream,))
        return Head(row["sequence"] or 0) if row else Head()

    # ------------------------------------------------------------------------------------------------------------------

    def _on(self, left: Sequence[tuple[str, str]], joined: Sequence[tuple[str, str]]) -> None:
        """Takes ports off networks and puts them onto others: pairs of network and port."""
        if left:
            pairs = ", ".join(["(?, ?)"] * len(left))
            self._tx.later(
                f"DELETE FROM network_ports WHERE (network, port) IN (VALUES {pairs})",
                [value for pair in left for value in pair],
            )
        if joined:
            self._tx.insert_later("network_ports", "network, port", joined)

    def _those(self, column: str, values: Sequence[object], lock: str = "") -> list[Row]:
        if not values:
            return []
        marks = ", ".join("?" * len(values))
        return self._tx.all(f"{_NETWORK_ALONE} WHERE {column} IN ({marks}) ORDER BY name{lock}", values)

    def _page(
        self,
        select: str,
        key: str,
        terms: Sequence[str],
        params: Sequence[object],
        page: PageRequest,
        where: Sequence[Condition],
    ) -> list[Row]:
        terms = [*terms, *(_term(condition) for condition in where)]
        values = (*params, *(condition.value for condition in where), page.size + 1)
        return self._tx.all(f"{select} WHERE {' AND '.join(terms)} ORDER BY {key} LIMIT ?", values)


def _term(condition: Condition) -> str:
    """The comparison in SQL; the field is one of the contract's, which wire.py has checked."""
    if condition.field == "network":
        test = "EXISTS (SELECT 1 FROM network_ports n WHERE n.port = ports.port AND n.network = ?)"
        return test if condition.equal else f"NOT {test}"
    column = {"switch_name": "switch", "vlan_id": "vlan"}.get(condition.field, condition.field)
    return f"{column} {'=' if condition.equal else '<>'} ?"


def _network(row: Row) -> Network:
    return Network(
        name=row["name"],
        display_name=row["display_name"],
        network_class=PortClass(row["network_class"]),
        segment=Segment(row["fabric_id"], row["vlan"], row["vni"]),
        create_time=from_micros(row["create_time"]),
        update_time=from_micros(row["update_time"]),
        version=row["version"],
        head=Head(row["sequence"]),
    )


def _attachment(row: Row) -> Attachment:
    seen = None
    if row["seen_class"] is not None:
        seen = Reading(
            PortClass(row["seen_class"]),
            _tags(row["seen_tags"]),
            from_micros(row["seen_time"]),
            bytes(row["seen_digest"]),
            row["seen_detail"],
            row["seen_asked"],
            _setup(row["seen_setup"]),
            row["seen_breach"],
        )
    return Attachment(
        server=row["server"],
        link=Link(
            row["port"],
            row["mac_address"],
            SwitchPort(row["switch"], row["switch_port"]),
            row["port_group"],
            row["switch_id"],
        ),
        wish=Wish(PortClass(row["wish_class"]), _tags(row["wish_tags"]), Purpose(row["wish_purpose"])),
        project=row["project"],
        request_time=from_micros(row["request_time"]),
        observed=seen,
        asked=row["asked"],
    )


def _values(attachment: Attachment) -> tuple[object, ...]:
    """A port's row."""
    link, wish = attachment.link, attachment.wish
    return (
        link.port,
        attachment.server,
        link.mac_address,
        link.plug.switch,
        link.plug.port,
        link.port_group,
        link.switch_id,
        wish.port_class.value,
        _text(wish.tags),
        attachment.project,
        to_micros(attachment.request_time),
        attachment.asked,
        *_seen(attachment.observed),
        wish.purpose.value,
        int(attachment.settled),
    )


def _same(one: Attachment, now: Reading) -> tuple[object, ...]:
    """What `_SAME` takes."""
    moment = to_micros(now.read_time)
    return (
        moment,
        now.digest,
        now.detail,
        _setup_text(now.setup),
        one.link.port,
        one.link.plug.switch,
        one.link.plug.port,
        one.asked,
        now.asked,
        now.port_class.value,
        _text(now.tags),
        moment,
    )


def _seen(reading: Reading | None) -> tuple[object, ...]:
    """The columns of a reading, from the class to what puts isolation at stake."""
    if reading is None:
        return (*(None,) * 6, "", "")
    moment, setup = to_micros(reading.read_time), _setup_text(reading.setup)
    what = reading.port_class.value, _text(reading.tags), moment, reading.digest, reading.detail
    return *what, reading.asked, setup, reading.breach


def _setup_text(setup: PortSetup) -> str:
    """Empty where nothing is set, which is on every switch port but a controller's."""
    if setup == NO_SETUP:
        return ""
    return orjson.dumps({"groups": setup.security_groups, "options": setup.dhcp_options}).decode()


def _setup(text: str) -> PortSetup:
    if not text:
        return NO_SETUP
    found = orjson.loads(text)
    return PortSetup(tuple(found["groups"]), tuple(found["options"]))


def _text(tags: Iterable[Tag]) -> str:
    return orjson.dumps([[tag.network, tag.vlan_tag] for tag in tags]).decode()


def _tags(text: str) -> tuple[Tag, ...]:
    return tuple(Tag(network, vlan_tag) for network, vlan_tag in orjson.loads(text))
