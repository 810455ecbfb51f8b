# SPDX-License-Identifier: Apache-2.0
"""Addresses, leases and fences. What the methods promise is said by the ports."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from services.ipam.domain.addresses import Address, Version, key
from services.ipam.domain.leases import AddressRow, Holding, Lease
from services.ipam.domain.prefixes import Prefix
from services.ipam.operations.ports import Condition
from services.ipam.store.rows import (
    ADDRESS_COLUMNS,
    LEASE_COLUMNS,
    NEVER,
    address_row_of,
    free_at_of,
    lease_of,
    lease_values,
    marks,
    where_of,
)
from services.ipam.store.tables import Tables
from services.kernel.errors import Busy
from services.kernel.events import Event, Head
from services.kernel.pages import Page, PageRequest
from services.runtime.times import from_micros, to_micros

_INSERT_LEASE = f"INSERT INTO leases ({LEASE_COLUMNS}) VALUES ({marks(LEASE_COLUMNS)}) ON CONFLICT DO NOTHING"
# ORDER BY goes along the index, which PostgreSQL then reads even of a table that was never analysed.
_FREE = f"SELECT {ADDRESS_COLUMNS} FROM addresses WHERE pool = ? AND free_at <= ? ORDER BY free_at, address"
_STATE = "state, free_at, epoch, lease, sequence, digest"
_SAVE_ADDRESS = (
    "UPDATE addresses SET state = ?, free_at = ?, epoch = ?, lease = ?, sequence = ?, digest = ?"
    " WHERE vrf = ? AND address = ? AND sequence = ?"
)
# By its key, whatever PostgreSQL knows of the table: an UPDATE that is joined with its rows may read all of it. No row
# is inserted, for they are there, and locked.
_SAVED = (
    "ON CONFLICT (vrf, address) DO UPDATE SET state = excluded.state, free_at = excluded.free_at,"
    " epoch = excluded.epoch, lease = excluded.lease, sequence = excluded.sequence, digest = excluded.digest"
    " WHERE addresses.sequence = excluded.sequence - 1 RETURNING address"
)
# The second half is what the index of ends leaves out. SQLite does not conclude it, and would go through all leases.
_COOLING = "state = 'cooling' AND state <> 'leased'"
_FREED = "state = 'freed' AND state <> 'leased'"


class LeaseTables(Tables):
    """See `services.ipam.operations.ports.LeaseStore`."""

    def raise_fence(self, owner: str, fence: int) -> int:
        raised = self._tx.execute(
            "INSERT INTO owner_fences (owner, fence) VALUES (?, ?)"
            " ON CONFLICT (owner) DO UPDATE SET fence = excluded.fence WHERE owner_fences.fence < excluded.fence",
            (owner, fence),
        )
        if raised:
            return fence
        row = self._tx.one("SELECT fence FROM owner_fences WHERE owner = ?", (owner,))
        return fence if row is None else int(row["fence"])

    def held(self, holding: Holding) -> Lease | None:
        row = self._tx.one(
            f"SELECT {LEASE_COLUMNS} FROM leases WHERE network = ? AND project = ? AND kind = ? AND resource = ?"
            " AND interface = ? AND ip_version = ? AND state = 'leased'",
            _values(holding),
        )
        return None if row is None else lease_of(row)

    def last_held(self, holding: Holding, now: datetime) -> Lease | None:
        row = self._tx.one(
            f"SELECT {', '.join(f'leases.{column}' for column in LEASE_COLUMNS.split(', '))} FROM leases"
            " JOIN addresses ON addresses.vrf = leases.vrf AND addresses.address = leases.address"
            " AND addresses.lease = leases.name AND addresses.state IN ('free', 'cooling')"
            " WHERE leases.network = ? AND leases.project = ? AND leases.kind = ? AND leases.resource = ?"
            " AND leases.interface = ? AND leases.ip_version = ? AND leases.state <> 'leased'"
            " AND leases.keep_until IS NOT NULL AND leases.free_at <= ? AND leases.hold = ''"
            " ORDER BY leases.create_time DESC LIMIT 1",
            (*_values(holding), to_micros(now)),
        )
        return None if row is None else lease_of(row)

    def named(self, network: str, host_name: str, version: Version) -> Lease | None:
        row = self._tx.one(
            f"SELECT {LEASE_COLUMNS} FROM leases WHERE network = ? AND host_name = ? AND ip_version = ?"
            " AND state = 'leased' AND host_name <> ''",
            (network, host_name, version),
        )
        return None if row is None else lease_of(row)

    def lease(self, name: str) -> Lease | None:
        row = self._tx.one(f"SELECT {LEASE_COLUMNS} FROM leases WHERE name = ?", (name,))
        return None if row is None else lease_of(row)

    def list_leases(self, project: str, page: PageRequest, where: Sequence[Condition]) -> Page[Lease]:
        of_project = " AND project = ?" if project else ""
        sql, params = where_of(where)
        rows = self._tx.all(
            f"SELECT {LEASE_COLUMNS} FROM leases WHERE name > ? AND pending = 0{of_project}{sql} ORDER BY name LIMIT ?",
            (page.after, *((project,) if project else ()), *params, page.size + 1),
        )
        found = [lease_of(row) for row in rows[: page.size]]
        return Page(found, found[-1].name if len(rows) > page.size else "")

    def insert_lease(self, lease: Lease) -> bool:
        return bool(self._tx.execute(_INSERT_LEASE, lease_values(lease)))

    def insert_leases(self, leases: Sequence[Lease]) -> list[bool]:
        values = [lease_values(lease) for lease in leases]
        inserted = self._tx.insert("leases", LEASE_COLUMNS, values, "ON CONFLICT DO NOTHING RETURNING name")
        there = {row["name"] for row in inserted}
        return [lease.name in there for lease in leases]

    def update_lease(self, lease: Lease) -> None:
        self._tx.execute(
            "UPDATE leases SET state = ?, free_at = ?, mac_address = ?, pending = ?, hold = ?, settle_at = ?,"
            " keep_until = ?"
            " WHERE name = ?",
            (
                lease.state.value,
                _micros(lease.free_time),
                lease.owner.mac_address,
                int(lease.pending),
                lease.hold,
                _micros(lease.settle_time),
                _micros(lease.keep_time),
                lease.name,
            ),
        )

    def pop(self, prefix: Prefix, now: datetime | None, *, patient: bool) -> AddressRow | None:
        passing = " SKIP LOCKED" if self._lock and not patient else ""
        row = self._tx.one(f"{_FREE} LIMIT 1{self._lock}{passing}", (prefix.uid, _horizon(now)))
        return None if row is None else address_row_of(row)

    def pop_many(self, prefix: Prefix, now: datetime | None, many: int) -> list[AddressRow]:
        passing = " SKIP LOCKED" if self._lock else ""
        rows = self._tx.all(f"{_FREE} LIMIT ?{self._lock}{passing}", (prefix.uid, _horizon(now), many))
        return [address_row_of(row) for row in rows]

    def has_free(self, prefix: Prefix, now: datetime | None) -> bool:
        sql = "SELECT 1 AS there FROM addresses WHERE pool = ? AND free_at <= ? LIMIT 1"
        return self._tx.one(sql, (prefix.uid, _horizon(now))) is not None

    def take(self, prefix: Prefix, address: Address) -> AddressRow | None:
        # The share of the lock keeps the prefix from being deleted while a row is made that its deletion would not see.
        share = " FOR SHARE" if self._lock else ""
        found = self._tx.one(f"SELECT update_time FROM prefixes WHERE uid = ?{share}", (prefix.uid,))
        if found is None or found["update_time"] != to_micros(prefix.update_time):
            return None
        self._tx.execute(
            "INSERT INTO addresses (vrf, address, pool, state, free_at) VALUES (?, ?, ?, 'free', 0)"
            " ON CONFLICT DO NOTHING",
            (prefix.vrf, key(address), prefix.uid if prefix.is_chosen_from(address) else ""),
        )
        return self.lock_address(prefix.vrf, address)

    def lock_address(self, vrf: str, address: Address) -> AddressRow | None:
        row = self._tx.one(
            f"SELECT {ADDRESS_COLUMNS} FROM addresses WHERE vrf = ? AND address = ?{self._lock}", (vrf, key(address))
        )
        return None if row is None else address_row_of(row)

    def save_address(self, row: AddressRow, was: AddressRow) -> None:
        if not self._tx.execute(_SAVE_ADDRESS, _saved(row, was)):
            raise _changed(row)

    def save_addresses(self, rows: Sequence[AddressRow]) -> None:
        values = [(row.vrf, key(row.address), "", *_state(row)) for row in rows]
        saved = self._tx.insert("addresses", f"vrf, address, pool, {_STATE}", values, _SAVED)
        if len(saved) < len(rows):
            there = {row["address"] for row in saved}
            raise _changed(next(row for row in rows if key(row.address) not in there))

    def next_free_time(self, prefixes: Sequence[Prefix], now: datetime) -> datetime | None:
        times = []
        for prefix in prefixes:
            row = self._tx.one(
                "SELECT min(free_at) AS free_at FROM addresses WHERE pool = ? AND free_at > ? AND free_at < ?",
                (prefix.uid, to_micros(now), NEVER),
            )
            if row is not None and row["free_at"] is not None:
                times.append(from_micros(row["free_at"]))
            # Not there are those that rest and that a controller, or their last owner, may keep after that.
            row = self._tx.one(
                f"SELECT min(free_at) AS free_at FROM leases WHERE {_COOLING} AND prefix_uid = ? AND free_at > ?",
                (prefix.uid, to_micros(now)),
            )
            if row is not None and row["free_at"] is not None:
                times.append(from_micros(row["free_at"]))
        return min(times, default=None)

    def due(self, now: datetime, limit: int, prefix: Prefix | None = None) -> list[Lease]:
        of_prefix = "" if prefix is None else " AND prefix_uid = ?"
        rows = self._tx.all(
            f"SELECT {LEASE_COLUMNS} FROM leases WHERE {_COOLING} AND free_at <= ? AND hold = ''{of_prefix}"
            " ORDER BY free_at, name LIMIT ?",
            (to_micros(now), *(() if prefix is None else (prefix.uid,)), limit),
        )
        return [lease_of(row) for row in rows]

    def next_due(self) -> datetime | None:
        row = self._tx.one(f"SELECT min(free_at) AS free_at FROM leases WHERE {_COOLING} AND hold = ''")
        return None if row is None or row["free_at"] is None else from_micros(row["free_at"])

    def forget_freed(self, before: datetime, limit: int) -> int:
        return self._tx.execute(
            "DELETE FROM leases WHERE name IN"
            f" (SELECT name FROM leases WHERE {_FREED} AND free_at < ? ORDER BY free_at LIMIT ?)",
            (to_micros(before), limit),
        )

    def append(self, event: Event, head: Head) -> Head:
        return self._log.append(self._tx, event, head)

    def append_each(self, events: Sequence[tuple[Event, Head]]) -> list[Head]:
        return self._log.append_each(self._tx, events)


def _values(holding: Holding) -> tuple[str | int, ...]:
    kind = holding.kind.value
    return holding.network, holding.project, kind, holding.resource, holding.interface, holding.version


def _saved(row: AddressRow, was: AddressRow) -> tuple[object, ...]:
    """The values of `_SAVE_ADDRESS`."""
    return *_state(row), row.vrf, key(row.address), was.head.sequence


def _state(row: AddressRow) -> tuple[object, ...]:
    """The values of `_STATE`."""
    return row.state.value, free_at_of(row), row.epoch, row.lease, row.head.sequence, row.head.digest


def _changed(row: AddressRow) -> Busy:
    msg = f"{row.address} has just been changed by another call"
    return Busy(msg, remedy="Try again.", address=str(row.address), vrf=row.vrf)


def _micros(moment: datetime | None) -> int | None:
    return None if moment is None else to_micros(moment)


def _horizon(now: datetime | None) -> int:
    return 0 if now is None else to_micros(now)
