# SPDX-License-Identifier: Apache-2.0
"""Guests as rows. Every function runs in the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import orjson

from services.lifecycle.domain.instance import Instance
from services.lifecycle.rows import instance_of, instance_values
from services.runtime.database import Row, Transaction
from services.runtime.times import to_micros


@dataclass(frozen=True, slots=True)
class Held:
    """A server that its controller holds for somebody else, or on which a guest is shown.

    Attributes:
        server: its UUID.
        holder: what it is held for, by its id there; "" if nobody else has it any more.
        guest: the name of what is shown as an instance on it; "" if nothing is.
        read_time: when that was read last (microseconds).
    """

    server: str
    holder: str
    guest: str = ""
    read_time: int = 0


def held(tx: Transaction) -> list[Held]:
    """Every server that others hold, or on which something is still shown; those read longest ago first.

    Whatever holds a server of an instance of ours is our own doing: Nova's hold is seen before we could note it.
    """
    guests = {row["server"]: row for row in tx.all("SELECT server, name, read_time FROM guests")}
    taken = {
        row["uuid"]: str(orjson.loads(row["seen"]).get("holder", ""))
        for row in tx.all(
            "SELECT s.uuid AS uuid, o.seen AS seen FROM servers s JOIN observed_nodes o ON o.uuid = s.uuid"
            " WHERE s.closed = 0 AND s.instance = '' AND o.gone = 0 AND o.seen LIKE ? AND NOT o.seen LIKE ?",
            ('%"holder":"%', '%"holder":""%'),
        )
    }
    found = [_held(uuid, taken.get(uuid, ""), guests.get(uuid)) for uuid in {**guests, **taken}]
    return sorted(found, key=lambda one: (one.read_time, one.server))


def find(tx: Transaction, name: str) -> Instance | None:
    """The guest of that name as an instance; None if there is none."""
    return _one(tx, "name", name)


def on(tx: Transaction, server: str) -> Instance | None:
    """The guest on *server* as an instance; None if there is none."""
    return _one(tx, "server", server)


def keep(tx: Transaction, shown: Instance, now: datetime) -> Instance:
    """Writes what is shown, in place of whatever was shown on the same server."""
    known = on(tx, shown.server)
    version = known.version if known is not None and known.name == shown.name else 0
    if known is not None and replace(shown, update_time=known.update_time, version=version) == known:
        tx.execute("UPDATE guests SET read_time = ? WHERE server = ?", (to_micros(now), shown.server))
        return known
    written = replace(shown, version=version + 1)
    drop(tx, shown.server)
    values = {**instance_values(written), "read_time": to_micros(now)}
    marks = ", ".join("?" for _ in values)
    tx.execute(f"INSERT INTO guests ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))
    return written


def drop(tx: Transaction, server: str) -> None:
    """Nothing is shown on *server* any more."""
    tx.execute("DELETE FROM guests WHERE server = ?", (server,))


def _held(uuid: str, holder: str, guest: Row | None) -> Held:
    return Held(uuid, holder, guest["name"], guest["read_time"]) if guest is not None else Held(uuid, holder)


def _one(tx: Transaction, column: str, value: str) -> Instance | None:
    row = tx.one(f"SELECT * FROM guests WHERE {column} = ?", (value,))
    return instance_of(row) if row else None
