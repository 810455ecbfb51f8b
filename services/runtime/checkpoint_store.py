# SPDX-License-Identifier: Apache-2.0
"""What checkpoints are stored in: logs, checkpoints, keys, and where each stream ended (`services.runtime.schema`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from bms.event.v1 import event_pb2
from services.kernel.chain import digest as event_digest
from services.runtime.database import Row, Transaction
from services.runtime.merkle import leaf
from services.runtime.times import from_micros, to_micros

T = TypeVar("T")

_PAGE = 5000
_FEW = 100
"""Rows a statement: each row has up to five parameters."""


@dataclass(frozen=True, slots=True)
class Log:
    """The identity of a log; the one with the greatest ordinal is written now."""

    ordinal: int
    log: str


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A checkpoint as it was signed."""

    log: str
    number: int
    checkpoint: bytes
    key_id: str
    signature: bytes

    def wire(self) -> event_pb2.SignedCheckpoint:
        """As it is served."""
        return event_pb2.SignedCheckpoint(checkpoint=self.checkpoint, key_id=self.key_id, signature=self.signature)


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A public key, and from which checkpoint on it signs."""

    log: str
    from_number: int
    key_id: str
    public_key: bytes
    create_time: datetime
    endorsement: bytes

    def wire(self, service: str) -> event_pb2.SigningKey:
        """As *service* serves it."""
        key = event_pb2.SigningKey(
            service=service,
            log=self.log,
            key_id=self.key_id,
            public_key=self.public_key,
            from_number=self.from_number,
            endorsement=self.endorsement,
        )
        key.create_time.FromDatetime(self.create_time)
        return key


@dataclass(frozen=True, slots=True)
class StreamHead:
    """Where a stream ended: its last event, and its index among the tree's leaves."""

    place: int
    stream: str
    sequence: int
    digest: bytes
    position: int

    @property
    def leaf(self) -> bytes:
        """Its leaf."""
        return leaf(self.stream, self.sequence, self.digest)


@dataclass(frozen=True, slots=True)
class SealedEvent:
    """What a checkpoint says of an event."""

    position: int
    stream: str
    sequence: int
    digest: bytes


# ---- logs


def current_log(tx: Transaction) -> Log | None:
    """The log that is written now; None if there never was a checkpoint."""
    row = tx.one("SELECT ordinal, log FROM checkpoint_logs ORDER BY ordinal DESC LIMIT 1")
    return None if row is None else Log(int(row["ordinal"]), row["log"])


def find_log(tx: Transaction, log: str) -> Log | None:
    """The log called *log*."""
    row = tx.one("SELECT ordinal, log FROM checkpoint_logs WHERE log = ?", (log,))
    return None if row is None else Log(int(row["ordinal"]), row["log"])


def log_at(tx: Transaction, ordinal: int) -> Log | None:
    """The log with *ordinal*."""
    row = tx.one("SELECT ordinal, log FROM checkpoint_logs WHERE ordinal = ?", (ordinal,))
    return None if row is None else Log(int(row["ordinal"]), row["log"])


def add_log(tx: Transaction, before: Log | None, log: str, now: datetime) -> bool:
    """Makes *log* the one that is written, with no head yet; answers False if *before* no longer is the present one."""
    if before is not None and not hold(tx, before):
        return False
    ordinal = 1 if before is None else before.ordinal + 1
    added = tx.execute(
        "INSERT INTO checkpoint_logs (ordinal, log, create_time) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (ordinal, log, to_micros(now)),
    )
    if added:
        tx.execute("DELETE FROM checkpoint_heads")
    return bool(added)


def hold(tx: Transaction, log: Log) -> bool:
    """Keeps everybody else from writing checkpoints until *tx* ends; answers whether *log* is the present one."""
    lock = " FOR UPDATE" if tx.dialect == "postgresql" else ""
    tx.one(f"SELECT ordinal FROM checkpoint_logs WHERE ordinal = ?{lock}", (log.ordinal,))
    return current_log(tx) == log


# ---- checkpoints


def newest(tx: Transaction, log: str) -> StoredCheckpoint | None:
    """The newest checkpoint of *log*."""
    found = tx.one("SELECT * FROM checkpoints WHERE log = ? ORDER BY number DESC LIMIT 1", (log,))
    return None if found is None else _checkpoint(found)


def get(tx: Transaction, log: str, number: int) -> StoredCheckpoint | None:
    """The checkpoint *number* of *log*."""
    found = tx.one("SELECT * FROM checkpoints WHERE log = ? AND number = ?", (log, number))
    return None if found is None else _checkpoint(found)


def page(tx: Transaction, log: str, after: int, limit: int) -> Sequence[StoredCheckpoint]:
    """Checkpoints of *log* with greater numbers than *after*."""
    rows = tx.all("SELECT * FROM checkpoints WHERE log = ? AND number > ? ORDER BY number LIMIT ?", (log, after, limit))
    return [_checkpoint(row) for row in rows]


def add(tx: Transaction, checkpoint: StoredCheckpoint) -> bool:
    """Adds *checkpoint*; answers False if its number is taken."""
    return bool(
        tx.execute(
            "INSERT INTO checkpoints (log, number, checkpoint, key_id, signature) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            (checkpoint.log, checkpoint.number, checkpoint.checkpoint, checkpoint.key_id, checkpoint.signature),
        )
    )


def _checkpoint(row: Row) -> StoredCheckpoint:
    return StoredCheckpoint(
        row["log"], int(row["number"]), bytes(row["checkpoint"]), row["key_id"], bytes(row["signature"])
    )


# ---- keys


def keys(tx: Transaction, log: str, after: int, limit: int) -> Sequence[StoredKey]:
    """Keys of *log* that sign from a greater number than *after* on."""
    rows = tx.all(
        "SELECT * FROM signing_keys WHERE log = ? AND from_number > ? ORDER BY from_number LIMIT ?", (log, after, limit)
    )
    return [_key(row) for row in rows]


def newest_key(tx: Transaction, log: str) -> StoredKey | None:
    """The key that signs *log* now."""
    row = tx.one("SELECT * FROM signing_keys WHERE log = ? ORDER BY from_number DESC LIMIT 1", (log,))
    return None if row is None else _key(row)


def add_key(tx: Transaction, key: StoredKey) -> None:
    """Adds *key*."""
    tx.execute(
        "INSERT INTO signing_keys (log, from_number, key_id, public_key, create_time, endorsement)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (key.log, key.from_number, key.key_id, key.public_key, to_micros(key.create_time), key.endorsement),
    )


def _key(row: Row) -> StoredKey:
    return StoredKey(
        row["log"],
        int(row["from_number"]),
        row["key_id"],
        bytes(row["public_key"]),
        from_micros(int(row["create_time"])),
        bytes(row["endorsement"]),
    )


# ---- events and heads


def sealed(tx: Transaction, start: int, limit: int) -> Sequence[SealedEvent]:
    """Events with a position, from *start* on."""
    rows = tx.all(
        "SELECT position, stream, sequence, digest, CASE WHEN length(digest) = 0 THEN header END AS header,"
        " body_digest FROM events WHERE position >= ? ORDER BY position LIMIT ?",
        (start, limit),
    )
    return [
        SealedEvent(
            int(row["position"]),
            row["stream"],
            int(row["sequence"]),
            bytes(row["digest"]) or event_digest(b"", bytes(row["header"]), bytes(row["body_digest"])),
        )
        for row in rows
    ]


def head_of(tx: Transaction, stream: str) -> StreamHead | None:
    """Where *stream* ended at the newest checkpoint."""
    row = tx.one("SELECT * FROM checkpoint_heads WHERE stream = ?", (stream,))
    return None if row is None else _head(row)


def head_at(tx: Transaction, position: int) -> StreamHead | None:
    """The head that is the event at *position*."""
    row = tx.one("SELECT * FROM checkpoint_heads WHERE position = ?", (position,))
    return None if row is None else _head(row)


def heads_of(tx: Transaction, streams: Iterable[str]) -> Mapping[str, StreamHead]:
    """Where *streams* ended at the newest checkpoint; those that were not there yet are missing."""
    found = {}
    for part in _parts(list(streams)):
        marks = ", ".join("?" for _ in part)
        for row in tx.all(f"SELECT * FROM checkpoint_heads WHERE stream IN ({marks})", part):
            found[row["stream"]] = _head(row)
    return found


def leaves_since(tx: Transaction, position: int) -> dict[int, bytes]:
    """The leaves, by place, of all streams whose last event is behind *position*."""
    leaves: dict[int, bytes] = {}
    while True:
        rows = tx.all("SELECT * FROM checkpoint_heads WHERE position > ? ORDER BY position LIMIT ?", (position, _PAGE))
        leaves.update((int(row["place"]), _head(row).leaf) for row in rows)
        if len(rows) < _PAGE:
            return leaves
        position = int(rows[-1]["position"])


def put_heads(tx: Transaction, heads: Sequence[StreamHead]) -> None:
    """Stores *heads* over those that were there."""
    for part in _parts(heads):
        values = ", ".join("(?, ?, ?, ?, ?)" for _ in part)
        tx.execute(
            f"INSERT INTO checkpoint_heads (place, stream, sequence, digest, position) VALUES {values}"
            " ON CONFLICT (place) DO UPDATE SET sequence = excluded.sequence, digest = excluded.digest,"
            " position = excluded.position",
            [value for head in part for value in (head.place, head.stream, head.sequence, head.digest, head.position)],
        )


def _head(row: Row) -> StreamHead:
    return StreamHead(
        int(row["place"]), row["stream"], int(row["sequence"]), bytes(row["digest"]), int(row["position"])
    )


def _parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), _FEW):
        yield items[start : start + _FEW]
