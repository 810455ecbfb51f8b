# SPDX-License-Identifier: Apache-2.0
"""Signed checkpoints over the event log, made off the request path; docs/evidence.md says what they prove.

A checkpoint reads what was sealed since the one before, and adds no statement to whoever appends events. Between two of
them the heads of streams are in a table, and the tree over them in memory: a start reads one row a stream and no event.
It is signed outside of any transaction, and stored under the next number, which nobody can take twice: replicas never
tell two stories. Nobody leads; whoever made the last one makes the next, and another steps in when he is silent.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog

from bms.event.v1 import event_pb2
from services.kernel.chain import NO_EVENTS, running
from services.kernel.clock import Ids
from services.kernel.errors import Corrupt, NotFound
from services.runtime import checkpoint_store as store
from services.runtime.checkpoint_store import Log, SealedEvent, StoredCheckpoint, StoredKey, StreamHead
from services.runtime.database import Database, Transaction
from services.runtime.merkle import Change, Tree
from services.runtime.signing import Chosen, checkpoint_bytes, checkpoint_digest, statement
from services.runtime.witness import Seen, Witness

EVENTS = 1000
"""How many events a checkpoint covers at most beyond the one before."""
STANDBY = timedelta(seconds=3)
"""How long the replica that made the last checkpoint may be silent before another steps in."""

_log = structlog.get_logger("bms.checkpoints")


class Keys(Protocol):
    """The private keys (`services.runtime.signing.KeyFiles`)."""

    def choose(self, known: str) -> Chosen:
        """Who signs next, the log's newest key being *known*."""
        ...

    def promote(self) -> None:
        """A fresh key is in use."""
        ...


@dataclass(frozen=True, slots=True)
class _Last:
    """The newest checkpoint, read."""

    number: int
    position: int
    running: bytes
    root: bytes
    streams: int
    time: datetime
    digest: bytes

    @classmethod
    def of(cls, stored: StoredCheckpoint) -> _Last:
        found = event_pb2.Checkpoint.FromString(stored.checkpoint)
        return cls(
            found.number,
            found.position,
            found.running_digest,
            found.heads_root,
            found.streams,
            found.time.ToDatetime(UTC),
            checkpoint_digest(stored.checkpoint),
        )


_NOTHING = _Last(0, 0, NO_EVENTS, b"", 0, datetime.min.replace(tzinfo=UTC), b"")


@dataclass(frozen=True, slots=True)
class _Standing:
    """How the log stands, in one snapshot.

    Attributes:
        log: None if there never was a checkpoint.
        stored: the newest checkpoint, None if this log has none.
        leaves: those changed since our tree.
        first: whether our tree is of another log, or of none.
    """

    log: Log | None
    stored: StoredCheckpoint | None
    last: _Last
    leaves: Mapping[int, bytes]
    first: bool


@dataclass(frozen=True, slots=True)
class _Look:
    """What a tick works on, in one snapshot.

    Attributes:
        restored: the database is older than what we have seen of it.
        key: the newest key's id, "" for none.
        before: the last checkpoint's digest of the log before this one.
        covered: the head that the last checkpoint ends with.
        events: from the last checkpoint's last event on, that one included.
        heads: where their streams ended at the last checkpoint.
        alone: nobody else can write here.
    """

    standing: _Standing
    restored: bool
    key: str
    before: bytes
    covered: StreamHead | None
    events: Sequence[SealedEvent]
    heads: Mapping[str, StreamHead]
    alone: bool


@dataclass(frozen=True, slots=True)
class _Advance:
    """What new events make of the last checkpoint."""

    position: int
    running: bytes
    heads: Sequence[StreamHead]
    change: Change


class Checkpointer:
    """Makes the checkpoints of a service's log, and proves streams against the newest.

    Args:
        service: whose log it is.
        ids: makes the log's identity.
        witness: remembers the newest checkpoint outside of the database.
    """

    def __init__(self, service: str, database: Database, ids: Ids, keys: Keys, witness: Witness) -> None:
        self._service = service
        self._database = database
        self._ids = ids
        self._keys = keys
        self._witness = witness
        self._lock = threading.Lock()
        self._seen = witness.load()
        self._made: tuple[str, int] | None = None
        self._tree = Tree()
        self._tree_log = ""
        self._tree_position = 0

    def tick(self, now: datetime, *, ending: bool = False) -> bool:
        """Makes the next checkpoint if there is something new; answers whether there may be more to do at once.

        Args:
            ending: whoever made the last checkpoint, this process makes this one.

        Raises:
            Corrupt: the log does not go on where its last checkpoint ended; it is not signed further.
            WrongState: the log's key is not here.
            BmsError: the database is away.
        """
        with self._lock:
            look = self._database.read(self._look)
            standing = look.standing
            if standing.log is None and not look.events:
                return False
            if standing.log is None or look.restored or self._witness.asked_for_new_log:
                self._begin_log(look, now)
                return True
            self._follow(standing)
            last = standing.last
            self._see(standing.log, last)
            fresh = self._continued(look)
            if not fresh:
                return False
            if not (ending or look.alone or self._made == (standing.log.log, last.number)) and (
                timedelta(0) <= now - last.time < STANDBY
            ):
                return False
            advance = self._advance(last, fresh, look.heads)
            return self._make(look, standing.log, advance, now) and len(fresh) >= EVENTS

    def prove(self, stream: str) -> event_pb2.StreamProof:
        """Where *stream* ended at the newest checkpoint.

        Raises:
            NotFound: no checkpoint covers an event of it.
        """
        with self._lock:
            standing, head = self._database.read(lambda tx: (self._stand(tx), store.head_of(tx, stream)))
            if standing.stored is None or head is None:
                msg = f"no checkpoint covers an event of {stream}"
                raise NotFound(msg, remedy="See that it exists; a fresh event is covered within seconds.", name=stream)
            self._follow(standing)
            return event_pb2.StreamProof(
                stream=stream,
                sequence=head.sequence,
                digest=head.digest,
                index=head.place,
                path=self._tree.path(head.place),
                checkpoint=standing.stored.wire(),
            )

    # ---- reading

    def _stand(self, tx: Transaction) -> _Standing:
        log = store.current_log(tx)
        if log is None:
            return _Standing(None, None, _NOTHING, {}, first=True)
        stored = store.newest(tx, log.log)
        first = log.log != self._tree_log
        last = _NOTHING if stored is None else _Last.of(stored)
        return _Standing(log, stored, last, store.leaves_since(tx, 0 if first else self._tree_position), first)

    def _look(self, tx: Transaction) -> _Look:
        standing = self._stand(tx)
        log, last = standing.log, standing.last
        # One more than fits: the first is the one that the last checkpoint ended with.
        events = store.sealed(tx, max(1, last.position), EVENTS + (last.number > 0))
        key = store.newest_key(tx, log.log) if log else None
        return _Look(
            standing,
            restored=self._is_restored(tx, log, last),
            key=key.key_id if key else "",
            before=self._before(tx, log) if log and not last.number else b"",
            covered=store.head_at(tx, last.position) if last.number else None,
            events=events,
            heads=store.heads_of(tx, dict.fromkeys(event.stream for event in events)),
            alone=tx.dialect == "sqlite",
        )

    def _is_restored(self, tx: Transaction, log: Log | None, last: _Last) -> bool:
        seen = self._seen
        if seen is None:
            return False
        if log is None or seen.log != log.log:
            return store.find_log(tx, seen.log) is None
        if last.number == seen.number:
            return last.digest.hex() != seen.digest
        kept = store.get(tx, seen.log, seen.number)
        return kept is None or checkpoint_digest(kept.checkpoint).hex() != seen.digest

    @staticmethod
    def _before(tx: Transaction, log: Log) -> bytes:
        earlier = store.log_at(tx, log.ordinal - 1)
        stored = store.newest(tx, earlier.log) if earlier else None
        return checkpoint_digest(stored.checkpoint) if stored else b""

    # ---- following what is stored

    def _follow(self, standing: _Standing) -> None:
        """Brings our tree to the newest checkpoint, and compares the two."""
        last = standing.last
        if standing.first:
            self._tree = Tree()
        self._tree_log = ""  # until it is known to be right
        if standing.leaves:
            try:
                self._tree.apply(self._tree.change(standing.leaves))
            except ValueError:
                self._tree = Tree()
        if (self._tree.root, len(self._tree)) != (last.root, last.streams):
            msg = f"the heads of streams are not those of checkpoint {last.number}"
            raise Corrupt(msg, remedy=_REMEDY, service=self._service, number=str(last.number))
        self._tree_log = standing.log.log if standing.log else ""
        self._tree_position = last.position

    def _continued(self, look: _Look) -> Sequence[SealedEvent]:
        """The events behind the last checkpoint."""
        last, covered = look.standing.last, look.covered
        if not last.number:
            return look.events
        first = look.events[0] if look.events else None
        if (
            first is None
            or covered is None
            or (first.position, first.stream, first.sequence, first.digest)
            != (covered.position, covered.stream, covered.sequence, covered.digest)
        ):
            msg = f"the log no longer has the event at position {last.position} that checkpoint {last.number} ends with"
            raise Corrupt(msg, remedy=_REMEDY, service=self._service, position=str(last.position))
        return look.events[1:]

    def _advance(self, last: _Last, events: Sequence[SealedEvent], before: Mapping[str, StreamHead]) -> _Advance:
        position, digest, places = last.position, last.running, last.streams
        heads = dict[str, StreamHead]()
        for event in events:
            head = heads.get(event.stream) or before.get(event.stream)
            sequence = head.sequence + 1 if head else 1
            if (event.position, event.sequence) != (position + 1, sequence):
                msg = f"after position {position} comes {event.position}, event {event.sequence} of {event.stream}"
                raise Corrupt(msg, remedy=_REMEDY, service=self._service, position=str(event.position))
            position, digest = event.position, running(digest, event.position, event.digest)
            if head is None:
                places += 1
            place = head.place if head else places - 1
            heads[event.stream] = StreamHead(place, event.stream, event.sequence, event.digest, event.position)
        change = self._tree.change({head.place: head.leaf for head in heads.values()})
        return _Advance(position, digest, list(heads.values()), change)

    # ---- writing

    def _begin_log(self, look: _Look, now: datetime) -> None:
        before, log = look.standing.log, self._ids.uuid()
        if not self._database.transact(lambda tx: store.add_log(tx, before, log, now), label="checkpoint.log"):
            return  # another replica was quicker
        if before is not None or self._seen is not None:
            # Events that checkpoints have told of may be gone: whoever relies on them must know.
            _log.error(
                "log.restored",
                log=log,
                before=before.log if before else "",
                number=look.standing.last.number,
                seen=self._seen.number if self._seen else 0,
            )
        self._seen = None
        self._witness.new_log_made()

    def _make(self, look: _Look, log: Log, advance: _Advance, now: datetime) -> bool:
        """Signs and stores the next checkpoint; answers False if another replica was quicker."""
        last = look.standing.last
        number = last.number + 1
        chosen = self._keys.choose(look.key)
        key = self._fresh_key(log, number, chosen, now) if chosen.fresh else None
        message = event_pb2.Checkpoint(
            service=self._service,
            log=log.log,
            number=number,
            position=advance.position,
            running_digest=advance.running,
            heads_root=advance.change.root,
            streams=advance.change.leaves,
            key_id=chosen.signer.id,
            previous=last.digest,
            restored_from=look.before,
        )
        message.time.FromDatetime(now)
        data = message.SerializeToString(deterministic=True)
        checkpoint = StoredCheckpoint(
            log.log, number, data, chosen.signer.id, chosen.signer.sign(checkpoint_bytes(data))
        )

        def keep(tx: Transaction) -> bool:
            if not store.hold(tx, log) or not store.add(tx, checkpoint):
                return False
            if key is not None:
                store.add_key(tx, key)
            store.put_heads(tx, advance.heads)
            return True

        if not self._database.transact(keep, label="checkpoint"):
            return False
        self._tree.apply(advance.change)
        self._tree_position = advance.position
        self._made = (log.log, number)
        self._see(log, _Last.of(checkpoint))
        if key is not None:
            self._keys.promote()
            _log.info("signing.key", key_id=key.key_id, from_number=number)
            if look.key and not key.endorsement:
                _log.error("signing.key_lost", key_id=key.key_id, lost=look.key)
        return True

    def _fresh_key(self, log: Log, number: int, chosen: Chosen, now: datetime) -> StoredKey:
        public = chosen.signer.public_key
        said = statement(self._service, log.log, number, now, public)
        endorsement = chosen.endorser.sign(said) if chosen.endorser else b""
        return StoredKey(log.log, number, chosen.signer.id, public, now, endorsement)

    def _see(self, log: Log, last: _Last) -> None:
        seen = Seen(log.log, last.number, last.digest.hex())
        if last.number and seen != self._seen:
            self._seen = seen
            self._witness.save(seen)


_REMEDY = (
    "Somebody changed the database. Keep a copy of it as it is and restore a backup; or, knowing what is lost, go on"
    " as a new log: `python -m services.runtime.logadmin new-log SERVICE`."
)
