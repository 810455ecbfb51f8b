# SPDX-License-Identifier: Apache-2.0
"""What is to be done at a controller, and whom it gave addresses to. What the methods promise is said by the ports."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bms.event.v1 import event_pb2
from services.ipam.domain.addresses import Address, from_key, key
from services.ipam.domain.holding import Holder
from services.ipam.domain.leases import Lease
from services.ipam.domain.prefixes import Prefix
from services.ipam.store.rows import LEASE_COLUMNS, lease_of, marks
from services.ipam.store.tables import Tables
from services.runtime.database import Row
from services.runtime.times import from_micros, to_micros

_COLUMNS = "address, ref, lease, kind, device, project, mac_address"

_LOOKED_AT = 1000
"""So many events of one address are looked at, the last first."""


class HoldTables(Tables):
    """See `services.ipam.operations.ports.HoldStore`."""

    def to_settle(self, now: datetime, limit: int) -> list[Lease]:
        rows = self._tx.all(
            f"SELECT {LEASE_COLUMNS} FROM leases WHERE settle_at <= ? ORDER BY settle_at, name LIMIT ?",
            (to_micros(now), limit),
        )
        return [lease_of(row) for row in rows]

    def next_to_settle(self) -> datetime | None:
        row = self._tx.one("SELECT min(settle_at) AS settle_at FROM leases WHERE settle_at IS NOT NULL")
        return None if row is None or row["settle_at"] is None else from_micros(row["settle_at"])

    def settle_at(self, names: Sequence[str], when: datetime) -> None:
        self._tx.many("UPDATE leases SET settle_at = ? WHERE name = ?", [(to_micros(when), name) for name in names])

    def was_freed(self, stream: str, lease: str) -> bool:
        rows = self._tx.all(
            "SELECT header, body FROM events WHERE stream = ? ORDER BY sequence DESC LIMIT ?", (stream, _LOOKED_AT)
        )
        for row in rows:
            if event_pb2.EventHeader.FromString(bytes(row["header"])).type == "address.freed":
                seen = event_pb2.EventBody.FromString(bytes(row["body"])).evidence.addresses
                if any(one.lease == lease for one in seen):
                    return True
        return False

    def set_realm(self, uid: str, realm: str) -> None:
        self._tx.execute("UPDATE prefixes SET realm = ? WHERE uid = ?", (realm, uid))

    def leases_in(self, prefix: Prefix, after: Address | None, limit: int) -> list[Lease]:
        rows = self._tx.all(
            f"SELECT {LEASE_COLUMNS} FROM leases WHERE vrf = ? AND address BETWEEN ? AND ? AND state <> 'freed'"
            " ORDER BY address LIMIT ?",
            (*_span(prefix, after), limit),
        )
        return [lease_of(row) for row in rows]

    def holders(self, vrf: str, addresses: Sequence[Address]) -> dict[Address, Holder]:
        if not addresses:
            return {}
        listed = ", ".join("?" * len(addresses))
        rows = self._tx.all(
            f"SELECT {_COLUMNS} FROM holders WHERE vrf = ? AND address IN ({listed})",
            (vrf, *(key(address) for address in addresses)),
        )
        return {found.address: found for found in map(_holder, rows)}

    def holders_in(self, prefix: Prefix, after: Address | None, limit: int) -> list[Holder]:
        rows = self._tx.all(
            f"SELECT {_COLUMNS} FROM holders WHERE vrf = ? AND address BETWEEN ? AND ? ORDER BY address LIMIT ?",
            (*_span(prefix, after), limit),
        )
        return [_holder(row) for row in rows]

    def keep_holder(self, vrf: str, holder: Holder) -> None:
        told = (holder.ref, holder.lease, holder.kind, holder.device, holder.project, holder.mac_address)
        named = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS.split(", ")[1:])
        self._tx.execute(
            f"INSERT INTO holders (vrf, {_COLUMNS}) VALUES (?, {marks(_COLUMNS)})"
            f" ON CONFLICT (vrf, address) DO UPDATE SET {named}",
            (vrf, key(holder.address), *told),
        )

    def forget_holder(self, vrf: str, address: Address) -> None:
        self._tx.execute("DELETE FROM holders WHERE vrf = ? AND address = ?", (vrf, key(address)))


def _span(prefix: Prefix, after: Address | None) -> tuple[str, str, str]:
    # All keys of a version are of one length: a longer one lies between its beginning and the next.
    begin = key(prefix.cidr.network_address) if after is None else key(after) + "0"
    return prefix.vrf, begin, key(prefix.cidr.broadcast_address)


def _holder(row: Row) -> Holder:
    return Holder(
        address=from_key(row["address"]),
        ref=row["ref"],
        lease=row["lease"],
        kind=row["kind"],
        device=row["device"],
        project=row["project"],
        mac_address=row["mac_address"],
    )
