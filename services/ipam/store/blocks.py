# SPDX-License-Identifier: Apache-2.0
"""The free blocks of containers. What the methods promise is said by the ports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_network

from services.ipam.domain.addresses import Network, from_key, key
from services.ipam.domain.prefixes import Prefix
from services.ipam.operations.ports import Usage
from services.ipam.store.tables import Tables


class BlockTables(Tables):
    """The part of `services.ipam.operations.ports.PrefixStore` that is about containers."""

    def divided(self, containers: Mapping[str, Prefix]) -> dict[str, Usage]:
        if not containers:
            return {}
        listed = ", ".join("?" * len(containers))
        free = dict.fromkeys(containers, 0)
        for row in self._tx.all(
            f"SELECT container, length, count(*) AS many FROM free_blocks WHERE container IN ({listed})"
            " GROUP BY container, length",
            tuple(containers),
        ):
            free[row["container"]] += row["many"] << (containers[row["container"]].cidr.max_prefixlen - row["length"])
        children = {
            row["parent_uid"]: int(row["many"])
            for row in self._tx.all(
                f"SELECT parent_uid, count(*) AS many FROM prefixes WHERE parent_uid IN ({listed}) GROUP BY parent_uid",
                tuple(containers),
            )
        }
        return {
            uid: Usage(taken=container.capacity - free[uid], children=children.get(uid, 0))
            for uid, container in containers.items()
        }

    def smallest_block(self, container: Prefix, length: int) -> Network | None:
        # Two steps along the key: of the lengths that are wide enough the greatest, of its blocks the lowest.
        row = self._tx.one(
            "SELECT max(length) AS length FROM free_blocks WHERE container = ? AND length <= ?",
            (container.uid, length),
        )
        if row is None or row["length"] is None:
            return None
        first = self._tx.one(
            "SELECT min(first) AS first FROM free_blocks WHERE container = ? AND length = ?",
            (container.uid, row["length"]),
        )
        return None if first is None else _block(first["first"], row["length"])

    def block_among(self, container: str, blocks: Sequence[Network]) -> Network | None:
        wanted = " OR ".join("(length = ? AND first = ?)" for _ in blocks)
        values = [value for block in blocks for value in _values(block)]
        row = self._tx.one(
            f"SELECT length, first FROM free_blocks WHERE container = ? AND ({wanted})", (container, *values)
        )
        return None if row is None else _block(row["first"], row["length"])

    def take_block(self, container: str, block: Network) -> bool:
        sql = "DELETE FROM free_blocks WHERE container = ? AND length = ? AND first = ?"
        return bool(self._tx.execute(sql, (container, *_values(block))))

    def add_blocks(self, container: str, blocks: Sequence[Network]) -> None:
        self._tx.many(
            "INSERT INTO free_blocks (container, length, first) VALUES (?, ?, ?)",
            [(container, *_values(block)) for block in blocks],
        )

    def drop_blocks(self, container: str) -> None:
        self._tx.execute("DELETE FROM free_blocks WHERE container = ?", (container,))


def _values(block: Network) -> tuple[int, str]:
    return block.prefixlen, key(block.network_address)


def _block(first: str, length: int) -> Network:
    return ip_network((from_key(first), length))
