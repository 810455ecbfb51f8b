# SPDX-License-Identifier: Apache-2.0
"""Prefixes, and the address spaces and networks they lie in. What the methods promise is said by the ports."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from services.ipam.domain.addresses import Address, Network, address_of, from_key, key
from services.ipam.domain.allocation import Frontier
from services.ipam.domain.prefixes import Prefix, Range, without
from services.ipam.operations.ports import Condition, Usage
from services.ipam.store.rows import (
    PREFIX_COLUMNS,
    TUNING_COLUMNS,
    frontier_of,
    frontier_values,
    marks,
    prefix_of,
    prefix_values,
    tuning_values,
    where_of,
)
from services.ipam.store.tables import Tables
from services.kernel.errors import Busy
from services.kernel.events import Event, Head
from services.kernel.pages import Page, PageRequest
from services.runtime.times import to_micros


class PrefixTables(Tables):
    """See `services.ipam.operations.ports.PrefixStore`."""

    def prefix(self, name: str) -> Prefix | None:
        row = self._tx.one(f"SELECT {PREFIX_COLUMNS} FROM prefixes WHERE name = ?", (name,))
        return None if row is None else prefix_of(row)

    def prefixes_of(self, network: str) -> list[tuple[Prefix, Frontier]]:
        rows = self._tx.all(
            f"SELECT {PREFIX_COLUMNS} FROM prefixes WHERE network = ? ORDER BY create_time, name", (network,)
        )
        return [(prefix_of(row), frontier_of(row)) for row in rows]

    def list_prefixes(
        self, project: str, page: PageRequest, where: Sequence[Condition], *, shared: bool = False
    ) -> Page[Prefix]:
        of_project = f" AND (project = ?{' OR shared = 1' if shared else ''})" if project else ""
        sql, params = where_of(where)
        rows = self._tx.all(
            f"SELECT {PREFIX_COLUMNS} FROM prefixes WHERE name > ?{of_project}{sql} ORDER BY name LIMIT ?",
            (page.after, *((project,) if project else ()), *params, page.size + 1),
        )
        found = [prefix_of(row) for row in rows[: page.size]]
        return Page(found, found[-1].name if len(rows) > page.size else "")

    def record(self, event: Event) -> None:
        # Prefixes change so seldom that their rows do not keep where their streams end.
        row = self._tx.one(
            "SELECT sequence, digest FROM events WHERE stream = ? ORDER BY sequence DESC LIMIT 1", (event.stream,)
        )
        self._log.append(self._tx, event, Head(row["sequence"], bytes(row["digest"])) if row else Head())

    def usage(self, uids: Sequence[str], now: datetime) -> dict[str, Usage]:
        if not uids:
            return {}
        listed = ", ".join("?" * len(uids))
        rows = self._tx.all(
            "SELECT prefix_uid, state, count(*) AS many FROM leases"
            f" WHERE prefix_uid IN ({listed}) AND state <> 'freed' GROUP BY prefix_uid, state"
            " UNION ALL SELECT pool AS prefix_uid, 'taken' AS state, count(*) AS many FROM addresses"
            f" WHERE pool IN ({listed}) AND free_at > ? GROUP BY pool",
            (*uids, *uids, to_micros(now)),
        )
        found: dict[str, Usage] = {}
        for row in rows:
            usage = found.get(row["prefix_uid"], Usage())
            found[row["prefix_uid"]] = usage._replace(**{row["state"]: row["many"]})
        return found

    def change_prefix(self, prefix: Prefix, was: Prefix, frontier: Frontier) -> None:
        self._tx.execute(
            f"UPDATE prefixes SET {', '.join(f'{column} = ?' for column in TUNING_COLUMNS)},"
            " update_time = ?, next_address = ?, made = ? WHERE uid = ?",
            (
                *tuning_values(prefix.tuning),
                to_micros(prefix.update_time),
                *frontier_values(prefix, frontier),
                prefix.uid,
            ),
        )
        for gone in without(was.choices, prefix.choices):
            self._set_pool(prefix, gone, "")
        self._choose_from(prefix, without(prefix.choices, was.choices))

    def leased_between(self, vrf: str, first: Address, last: Address) -> Address | None:
        row = self._tx.one(
            "SELECT address FROM addresses WHERE vrf = ? AND address BETWEEN ? AND ? AND state IN ('leased', 'pending')"
            " LIMIT 1",
            (vrf, key(first), key(last)),
        )
        return None if row is None else from_key(row["address"])

    def claim_vrf(self, vrf: str, project: str) -> str:
        self._tx.execute("INSERT INTO vrfs (vrf, project) VALUES (?, ?) ON CONFLICT DO NOTHING", (vrf, project))
        row = self._tx.one(f"SELECT project FROM vrfs WHERE vrf = ?{self._lock}", (vrf,))
        if row is None:
            msg = f"the last prefix of the VRF {vrf} is just being removed"
            raise Busy(msg, remedy="Try again.", vrf=vrf)
        return str(row["project"])

    def claim_network(self, network: str, vrf: str) -> str:
        self._tx.execute("INSERT INTO networks (network, vrf) VALUES (?, ?) ON CONFLICT DO NOTHING", (network, vrf))
        row = self._tx.one("SELECT vrf FROM networks WHERE network = ?", (network,))
        return "" if row is None else str(row["vrf"])

    def overlapping(self, vrf: str, depth: int, cidr: Network) -> Prefix | None:
        # Those that are there lie apart, so only the last that begins before the end of *cidr* can reach into it.
        row = self._tx.one(
            f"SELECT {PREFIX_COLUMNS} FROM prefixes WHERE vrf = ? AND depth = ? AND first <= ?"
            " ORDER BY first DESC LIMIT 1",
            (vrf, depth, key(cidr.broadcast_address)),
        )
        return None if row is None or row["last"] < key(cidr.network_address) else prefix_of(row)

    def insert_prefix(self, prefix: Prefix, frontier: Frontier) -> bool:
        inserted = self._tx.execute(
            f"INSERT INTO prefixes ({PREFIX_COLUMNS}) VALUES ({marks(PREFIX_COLUMNS)}) ON CONFLICT (name) DO NOTHING",
            prefix_values(prefix, frontier),
        )
        if not inserted:
            return False
        if not prefix.container:
            self._choose_from(prefix, prefix.choices)
        return True

    def _choose_from(self, prefix: Prefix, ranges: Sequence[Range]) -> None:
        """Has the rows of *ranges* chosen from, but for those that nobody may have."""
        for pool in ranges:
            self._set_pool(prefix, pool, prefix.uid)
        for address in (prefix.cidr.network_address, prefix.cidr.broadcast_address, prefix.gateway):
            if ranges and address is not None and not prefix.may_have(address):
                self._set_pool(prefix, Range(int(address), int(address)), "")

    def _set_pool(self, prefix: Prefix, span: Range, pool: str) -> None:
        ends = (key(address_of(number, prefix.version)) for number in (span.first, span.last))
        self._tx.execute(
            "UPDATE addresses SET pool = ? WHERE vrf = ? AND address BETWEEN ? AND ?", (pool, prefix.vrf, *ends)
        )

    def lock_prefix(self, uid: str) -> tuple[Prefix, Frontier] | None:
        row = self._tx.one(f"SELECT {PREFIX_COLUMNS} FROM prefixes WHERE uid = ?{self._lock}", (uid,))
        return None if row is None else (prefix_of(row), frontier_of(row))

    def let_go(self, prefix: Prefix) -> None:
        if prefix.container:
            return
        span = (prefix.vrf, key(prefix.cidr.network_address), key(prefix.cidr.broadcast_address))
        # Those that nothing was ever told of: a stream does not begin again.
        unheard = "epoch = 0 AND sequence = 0"
        self._tx.execute(f"DELETE FROM addresses WHERE vrf = ? AND address BETWEEN ? AND ? AND {unheard}", span)
        self._tx.execute("UPDATE addresses SET pool = '' WHERE vrf = ? AND address BETWEEN ? AND ?", span)

    def delete_prefix(self, prefix: Prefix) -> None:
        self._tx.execute("DELETE FROM prefixes WHERE uid = ?", (prefix.uid,))
        self._tx.execute(
            "DELETE FROM networks WHERE network = ? AND NOT EXISTS (SELECT 1 FROM prefixes WHERE network = ?)",
            (prefix.network, prefix.network),
        )
        self._tx.execute(
            "DELETE FROM vrfs WHERE vrf = ? AND NOT EXISTS (SELECT 1 FROM prefixes WHERE vrf = ?)",
            (prefix.vrf, prefix.vrf),
        )

    def make_addresses(self, prefix: Prefix, addresses: Sequence[Address], frontier: Frontier) -> int:
        made = 0
        if addresses:
            made = self._tx.execute(
                "INSERT INTO addresses (vrf, address, pool, state, free_at)"
                " SELECT ?, wanted.column1, ?, 'free', 0"
                f" FROM (VALUES {', '.join(['(?)'] * len(addresses))}) AS wanted WHERE true ON CONFLICT DO NOTHING",
                (prefix.vrf, prefix.uid, *(key(address) for address in addresses)),
            )
        self._tx.execute(
            "UPDATE prefixes SET next_address = ?, made = ? WHERE uid = ?",
            (*frontier_values(prefix, frontier), prefix.uid),
        )
        return made
