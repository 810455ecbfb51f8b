# SPDX-License-Identifier: Apache-2.0
"""The tables servers, server_keys and server_logins.

What is read as a whole (ports, properties, disks, ...) is one JSON text per server, so that reading a server is one
SELECT and one decode. What is searched by has columns of its own beside it, and what must be unique on the site has a
row in server_keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import orjson

from services.inventory.domain.keys import Key, Owner, keys, taken
from services.inventory.domain.server import Login, Server
from services.inventory.store import rows as codec
from services.inventory.store.filters import where
from services.inventory.store.journal import Journal
from services.kernel.errors import AlreadyExists, Busy
from services.kernel.pages import Page, PageRequest
from services.runtime.database import Transaction
from services.runtime.eventlog import EventLog

_PORTION = 500
"""How many values a statement names at most."""


class Safe(Protocol):
    """Seals secrets; services.runtime.secrets.Vault is one."""

    def seal(self, plaintext: bytes, context: str) -> bytes:
        """*plaintext* sealed for *context*."""
        ...

    def open(self, sealed: bytes, context: str) -> bytes:
        """What `seal` was given."""
        ...


class ServerRows(Journal):
    """See `services.inventory.operations.ports.Servers`."""

    def __init__(self, tx: Transaction, log: EventLog, safe: Safe) -> None:
        super().__init__(tx, log)
        self._safe = safe
        self._lock = " FOR UPDATE" if tx.dialect == "postgresql" else ""

    def get(self, uuid: str) -> Server | None:
        """The server; None if there is none."""
        row = self._tx.one(f"SELECT {codec.COLUMNS} FROM servers WHERE uuid = ?", (uuid,))
        return codec.server(row) if row else None

    def get_for_change(self, uuid: str) -> Server | None:
        """As `get`; nobody else changes it until this transaction ends."""
        row = self._tx.one(
            f"SELECT {codec.COLUMNS} FROM servers WHERE uuid = ?{self._lock}",
            (uuid,),
        )
        return codec.server(row) if row else None

    def named(self, names: Iterable[str]) -> dict[str, Server]:
        """The servers with these display names that exist, for change."""
        found = {}
        for some in _portions(sorted(names)):
            rows = self._tx.all(
                f"SELECT {codec.COLUMNS} FROM servers WHERE display_name IN ({_marks(some)})"
                f" ORDER BY display_name{self._lock}",
                some,
            )
            found.update({row["display_name"]: codec.server(row) for row in rows})
        return found

    def page(self, filter_: str, page: PageRequest) -> Page[Server]:
        """One page of the servers that *filter_* lets through, by display name.

        Raises:
            InvalidField: it is no such filter.
        """
        condition, values = where(filter_, self._tx.dialect)
        rows = self._tx.all(
            f"SELECT {codec.COLUMNS} FROM servers WHERE {condition} AND display_name > ? ORDER BY display_name LIMIT ?",
            (*values, page.after, page.size + 1),
        )
        servers = [codec.server(row) for row in rows[: page.size]]
        return Page(servers, servers[-1].spec.display_name if len(rows) > page.size else "")

    def owners(self, keys: Iterable[Key]) -> Mapping[Key, Owner]:
        """Whose these keys are; keys that are nobody's are left out."""
        kinds: dict[str, list[str]] = {}
        for key in sorted(keys):
            kinds.setdefault(key.kind, []).append(key.value)
        found: dict[Key, Owner] = {}
        for kind, values in kinds.items():
            for some in _portions(values):
                rows = self._tx.all(
                    "SELECT k.kind, k.value, s.uuid, s.display_name"
                    " FROM server_keys k JOIN servers s ON s.uuid = k.server"
                    f" WHERE k.kind = ? AND k.value IN ({_marks(some)})",
                    (kind, *some),
                )
                found.update({Key(row["kind"], row["value"]): Owner(row["uuid"], row["display_name"]) for row in rows})
        return found

    def insert(self, server: Server) -> None:
        """Adds a server and takes its keys."""
        values = codec.columns(server)
        added = self._tx.execute(
            f"INSERT INTO servers ({', '.join(values)}) VALUES ({_marks(values)}) ON CONFLICT DO NOTHING",
            tuple(values.values()),
        )
        if not added:
            msg = f"{server.name} exists"
            raise AlreadyExists(
                msg,
                remedy="Leave server_id empty, or change the server with UpdateServer.",
                kind="uuid",
                server=server.name,
            )
        self._claim(server, keys(server.spec))

    def save(self, before: Server, after: Server) -> None:
        """Writes *after* over *before*, and takes and frees the keys that differ."""
        old, new = keys(before.spec), keys(after.spec)
        self.free_keys(before, old - new)
        self._claim(after, new - old)
        self._update(before, codec.columns(after))

    def save_pool(self, before: Server, after: Server) -> None:
        """As `save`, of the pool row alone."""
        self._update(before, codec.pool_columns(after))

    def note_version(self, uuid: str, state_version: int) -> None:
        """Notes the version of a report that changed nothing else."""
        self._tx.execute("UPDATE servers SET state_version = ? WHERE uuid = ?", (state_version, uuid))

    def free_keys(self, server: Server, keys: Iterable[Key]) -> None:
        """Frees *keys* of *server*."""
        for key in sorted(keys):
            self._tx.execute(
                "DELETE FROM server_keys WHERE kind = ? AND value = ? AND server = ?",
                (key.kind, key.value, server.uuid),
            )

    def remove(self, server: Server) -> None:
        """Removes the server, its keys and its login."""
        for table, column in (("server_keys", "server"), ("server_logins", "server"), ("servers", "uuid")):
            self._tx.execute(f"DELETE FROM {table} WHERE {column} = ?", (server.uuid,))

    def login(self, uuid: str) -> Login:
        """The stored login; empty if there is none."""
        row = self._tx.one("SELECT sealed FROM server_logins WHERE server = ?", (uuid,))
        if row is None:
            return Login()
        username, password = orjson.loads(self._safe.open(bytes(row["sealed"]), f"servers/{uuid}/bmc"))
        return Login(username, password)

    def set_login(self, uuid: str, login: Login) -> None:
        """Stores the login, sealed."""
        sealed = self._safe.seal(orjson.dumps([login.username, login.password]), f"servers/{uuid}/bmc")
        self._tx.execute(
            "INSERT INTO server_logins (server, sealed) VALUES (?, ?)"
            " ON CONFLICT (server) DO UPDATE SET sealed = excluded.sealed",
            (uuid, sealed),
        )

    def _update(self, before: Server, values: Mapping[str, object]) -> None:
        changed = self._tx.execute(
            f"UPDATE servers SET {', '.join(f'{name} = ?' for name in values)} WHERE uuid = ? AND sequence = ?",
            (*values.values(), before.uuid, before.sequence),
        )
        if not changed:
            msg = f"{before.name} is being changed by somebody else"
            raise Busy(msg, remedy="Send the request again.", name=before.name)

    def _claim(self, server: Server, wanted: Iterable[Key]) -> None:
        """Takes keys for *server*: one statement, whose outcome says whether all were free."""
        ordered = sorted(wanted)
        if not ordered:
            return
        places = ", ".join("(?, ?, ?)" for _ in ordered)
        values = [part for key in ordered for part in (key.kind, key.value, server.uuid)]
        added = self._tx.execute(
            f"INSERT INTO server_keys (kind, value, server) VALUES {places} ON CONFLICT DO NOTHING",
            values,
        )
        if added == len(ordered):
            return
        for key, owner in sorted(self.owners(ordered).items()):
            if owner.uuid != server.uuid:
                raise taken(key, owner)
        msg = "another server with the same name, MAC address, BMC or switch port came and went in this moment"
        raise Busy(msg, remedy="Send the request again.", name=server.name)


def _portions(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(values), _PORTION):
        yield values[at : at + _PORTION]


def _marks(values: Iterable[object]) -> str:
    return ", ".join("?" for _ in values)
