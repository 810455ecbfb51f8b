# SPDX-License-Identifier: Apache-2.0
"""The log of everything that a service did: appended in the transaction of the change, served in the order of commits.

An event's bytes are serialised once, stored, hashed and served as they are. On SQLite, whose transactions follow one
another, the position is given in the same transaction. On PostgreSQL a row gets its position when it has been
committed: `EventLog.start_sealer` runs the thread that does so, in every replica. Whoever commits seals, under a lock
that ends with the sealing transaction, so that there is no leader to lose and no event is passed over: a position is
given to what is committed, and everything committed later gets a greater one.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import structlog

from bms.event.v1 import event_pb2
from services.kernel.calls import Caller, Role
from services.kernel.chain import body_digest, digest
from services.kernel.clock import Ids
from services.kernel.errors import BmsError, InvalidField
from services.kernel.events import Event, Head
from services.runtime.database import Database, Row, Transaction
from services.runtime.eventwire import body_of, header_of
from services.runtime.news import POLL_SECONDS, News

DEFAULT_LIMIT = 500
MAX_LIMIT = 1000
MAX_WAIT = 30
_SEAL_BATCH = 1000
_COLUMNS = "id, stream, sequence, project, header, body, body_digest, previous, digest"
_INSERT = f"INSERT INTO events ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"

_log = structlog.get_logger("bms.eventlog")


@dataclass(frozen=True, slots=True)
class StoredRow:
    """One event as stored; the fields are those of bms.event.v1.StoredEvent, with the project beside."""

    header: bytes
    body: bytes
    body_digest: bytes
    previous: bytes
    digest: bytes
    position: int
    project: str

    def stored(self, *, whole: bool = True) -> event_pb2.StoredEvent:
        """As it is served and verified; not *whole*: its body is withheld."""
        return event_pb2.StoredEvent(
            header=self.header,
            body=self.body if whole else b"",
            body_digest=self.body_digest,
            previous=self.previous,
            digest=self.digest,
            position=self.position,
        )


@dataclass(frozen=True, slots=True)
class Listed:
    """Events in commit order, and the position to go on from."""

    events: Sequence[StoredRow]
    next_after: int


class EventLog:
    """A service's event log.

    Args:
        ids: makes the events' ids and salts.
        chained: whether each stream is a hash chain; without, sequences are gapless all the same.
    """

    def __init__(self, database: Database, ids: Ids, *, chained: bool) -> None:
        self._database = database
        self._ids = ids
        self._chained = chained
        self._news = News()
        self._committed = threading.Event()
        self._stopping = False
        self._sealer: threading.Thread | None = None

    def append(self, tx: Transaction, event: Event, head: Head, *, later: bool = False) -> Head:
        """Appends *event* to its stream, which ends at *head*; answers the new end.

        The caller stores the new head on the stream's row in the same transaction. Two who append after the same head
        clash on (stream, sequence), so that no stream ever forks.

        Args:
            later: by `Transaction.later`; a clash then shows when that is run.
        """
        values, end = self._made(event, head)
        (tx.later if later else tx.execute)(_INSERT, values)
        self._tell_of(tx)
        return end

    def append_each(self, tx: Transaction, events: Sequence[tuple[Event, Head]]) -> list[Head]:
        """As `append`, for several streams at once, by `Transaction.later`."""
        made = [self._made(event, head) for event, head in events]
        tx.insert_later("events", _COLUMNS, [values for values, _ in made])
        self._tell_of(tx)
        return [end for _, end in made]

    def _made(self, event: Event, head: Head) -> tuple[tuple[object, ...], Head]:
        """The values of `_INSERT`, and the stream's new end."""
        sequence = head.sequence + 1
        header = header_of(event, self._ids.uuid(), sequence)
        header_bytes = header.SerializeToString(deterministic=True)
        body_bytes = body_of(event, self._ids.salt()).SerializeToString(deterministic=True)
        hashed = body_digest(body_bytes)
        previous = head.digest if self._chained else b""
        chain = digest(previous, header_bytes, hashed) if self._chained else b""
        return (
            (header.id, event.stream, sequence, event.project, header_bytes, body_bytes, hashed, previous, chain),
            Head(sequence, chain),
        )

    def _tell_of(self, tx: Transaction) -> None:
        tx.after_commit(self._news.wake if tx.dialect == "sqlite" else self._committed.set)

    def list(self, *, after: int, limit: int, wait: float, stream: str = "") -> Listed:
        """Events after position *after*; waits up to *wait* seconds if there are none. No transaction is held
        meanwhile.

        Args:
            limit: at most how many events.
            stream: only this stream's events; "" for all.
        """

        def find() -> Listed:
            return self._database.read(lambda tx: _page(tx, after, limit, stream))

        return self._news.look(find, lambda listed: bool(listed.events), wait)

    def latest_position(self) -> int:
        """The position of the newest event; 0 if there is none."""
        return self._database.read(_latest)

    def drain(self) -> None:
        """Answers all waiting callers, and stops the sealer when it has sealed what is committed."""
        self._news.drain()
        self._stopping = True
        self._committed.set()
        if self._sealer is not None:
            self._sealer.join(timeout=10)
            self._sealer = None

    def start_sealer(self) -> None:
        """Starts the thread that gives positions to committed events; does nothing on SQLite, which needs none."""
        if self._database.dialect == "sqlite" or self._sealer is not None:
            return
        self._sealer = threading.Thread(target=self._seal_on, name="sealer", daemon=True)
        self._sealer.start()

    def seal(self) -> int:
        """Gives positions to committed events, in an order in which they were committed; answers to how many."""
        sealed = self._database.transact(_seal, label="seal")
        if sealed:
            self._news.wake()
        return sealed

    def seal_all(self) -> None:
        """Gives positions to everything that is committed by now; does nothing on SQLite, where everything has one."""
        if self._database.dialect == "postgresql":
            while self.seal() == _SEAL_BATCH:
                pass

    def _seal_on(self) -> None:
        while True:
            self._committed.wait(POLL_SECONDS)
            self._committed.clear()
            last = self._stopping
            try:
                while self.seal() == _SEAL_BATCH:
                    pass
            except BmsError as error:
                # The database is away. The next round tries again: readers see no news until then.
                _log.warning("sealer.failed", reason=error.reason, error=str(error))
            if last:
                return


def _page(tx: Transaction, after: int, limit: int, stream: str) -> Listed:
    columns = "header, body, body_digest, previous, digest, position, project"
    if stream:
        rows = tx.all(
            f"SELECT {columns} FROM events WHERE stream = ? AND position > ? ORDER BY position LIMIT ?",
            (stream, after, limit),
        )
    else:
        rows = tx.all(
            f"SELECT {columns} FROM events WHERE position > ? ORDER BY position LIMIT ?",
            (after, limit),
        )
    events = [_stored(row) for row in rows]
    if len(events) == limit or (events and not stream):
        return Listed(events, events[-1].position)
    # Nothing of this stream up to the end of the log: the next look need not go over it again.
    return Listed(events, max(after, _latest(tx)) if stream else after)


def _stored(row: Row) -> StoredRow:
    return StoredRow(
        bytes(row["header"]),
        bytes(row["body"]),
        bytes(row["body_digest"]),
        bytes(row["previous"]),
        bytes(row["digest"]),
        row["position"],
        row["project"],
    )


def _latest(tx: Transaction) -> int:
    row = tx.one("SELECT max(position) AS latest FROM events")
    return int(row["latest"] or 0) if row else 0


def _seal(tx: Transaction) -> int:
    # Held until this transaction ends, whatever becomes of this process. The statement after it sees everything that
    # was committed before, also by the sealer before us.
    tx.one("SELECT pg_advisory_xact_lock(hashtext('bms.sealer.' || current_schema())) AS locked")
    return tx.execute(
        "WITH unsealed AS (SELECT ordinal FROM events WHERE position IS NULL ORDER BY ordinal LIMIT ?),"
        " numbered AS (SELECT ordinal, row_number() OVER (ORDER BY ordinal) AS place FROM unsealed)"
        " UPDATE events SET position = (SELECT coalesce(max(position), 0) FROM events) + numbered.place"
        " FROM numbered WHERE events.ordinal = numbered.ordinal",
        (_SEAL_BATCH,),
    )


class Stored:
    """A response made of stored bytes; to the server it is a message like any other."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    def SerializeToString(self) -> bytes:  # noqa: N802 -- a message's method
        """The bytes, as they are."""
        return self._data


def serve_list_events(
    log: EventLog, request: event_pb2.ListEventsRequest, caller: Caller
) -> event_pb2.ListEventsResponse:
    """Answers a service's ListEvents RPC.

    What comes back is no parsed message but the stored bytes in the form of one: parsed and serialised again, a map's
    entries may change places, and an event's digest would no longer fit. `services.runtime.interceptors` sends them as
    they are.

    Raises:
        InvalidField: a number is negative, or the wait is longer than 30 s.
    """
    for name, value in (
        ("after", request.after),
        ("page_size", request.page_size),
        ("wait_seconds", request.wait_seconds),
    ):
        if value < 0:
            raise InvalidField(name, "is negative")
    if request.wait_seconds > MAX_WAIT:
        raise InvalidField(
            "wait_seconds", f"is more than {MAX_WAIT}", remedy=f"Wait {MAX_WAIT} seconds, then ask again."
        )
    limit = min(request.page_size or DEFAULT_LIMIT, MAX_LIMIT)
    listed = log.list(after=request.after, limit=limit, wait=request.wait_seconds, stream=request.stream)
    sees_all = bool(caller.site_roles & {Role.ADMIN, Role.SERVICE, Role.READER})
    parts = []
    for event in listed.events:
        visible = sees_all or (event.project != "" and caller.may_read(event.project))
        # StoredEvent is Event's twin on the wire, with bytes where Event has messages.
        data = event.stored(whole=visible).SerializeToString()
        parts += [b"\x0a", _varint(len(data)), data]
    parts.append(event_pb2.ListEventsResponse(next_after=listed.next_after).SerializeToString())
    return cast("event_pb2.ListEventsResponse", Stored(b"".join(parts)))


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)
