# SPDX-License-Identifier: Apache-2.0
"""How every mutating RPC writes: once, in one transaction with the answer it gave."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TypeVar, cast

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message

from services.kernel.calls import Call
from services.kernel.errors import Busy, DeadlineExceeded, InvalidField
from services.runtime.checks import is_uuid
from services.runtime.database import Database, Row, Transaction
from services.runtime.times import to_micros

M = TypeVar("M", bound=Message)
P = TypeVar("P")

KEPT = timedelta(hours=24)
"""How long a request_id is remembered."""

_OF_REQUEST = "FROM replies WHERE caller = ? AND method = ? AND request_id = ?"
_COLUMNS = "caller, method, request_id, mac, type, reply, create_time"
_INSERT = f"INSERT INTO replies ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"
_IMPATIENT = "SELECT set_config('lock_timeout', '200', true) AS milliseconds"
_PURGE_EVERY = 64
_PURGE_BATCH = 256
_PURGE = {
    "sqlite": "DELETE FROM replies WHERE (caller, method, request_id) IN (SELECT caller, method, request_id"
    " FROM replies WHERE create_time < ? ORDER BY create_time LIMIT ?)",
    # Two who purge at the same time take different rows instead of waiting for each other.
    "postgresql": "DELETE FROM replies WHERE (caller, method, request_id) IN (SELECT caller, method, request_id"
    " FROM replies WHERE create_time < ? ORDER BY create_time LIMIT ? FOR UPDATE SKIP LOCKED)",
}


class Replies:
    """The answers given to requests that had a request_id.

    Args:
        key: secret of 32 bytes. The requests' MACs are kept, not the requests: those may hold passwords.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._kept = 0

    def lock_of(self, call: Call) -> int:
        """The number under which a transaction of the request is alone: whoever gets it sees the answer before his."""
        return int.from_bytes(hashlib.sha256("\x1f".join(self._key_of(call)).encode()).digest()[:8], "big", signed=True)

    def find(self, tx: Transaction, call: Call, request: Message) -> Message | None:
        """The answer given to *request* before; None if it is new. The transaction was begun with `lock_of`.

        Raises:
            Busy: the same request is under way in this moment.
            InvalidField: the id was used for another request.
        """
        _require_uuid(call)
        if not tx.locked:
            msg = f"the request {call.request_id} is still being worked on"
            raise Busy(msg, remedy="Wait a second, then send the same request again.", request_id=call.request_id)
        row = self._row(tx, call)
        if row is None:
            return None
        if row["create_time"] < to_micros(call.now - KEPT):
            tx.execute(f"DELETE {_OF_REQUEST}", self._key_of(call))
            return None
        return self._answer(row, request)

    def look(self, tx: Transaction, call: Call, request: Message) -> Message | None:
        """Like `find`, but writes and locks nothing: None may also mean that the request is under way.

        Raises:
            InvalidField: the id was used for another request.
        """
        _require_uuid(call)
        row = self._row(tx, call)
        if row is None or row["create_time"] < to_micros(call.now - KEPT):
            return None
        return self._answer(row, request)

    def unanswered(self, tx: Transaction, calls: Sequence[Call]) -> list[int]:
        """Which of *calls* no answer is kept for, by their places; of two with the same id the first. Locks nothing.

        Whoever was answered since, or is being answered elsewhere, is met by `keep_each`.
        """
        found: dict[tuple[str, str, str], int] = {}
        new: list[int] = []
        for place, call in enumerate(calls):
            if not call.request_id:
                new.append(place)
            elif is_uuid(call.request_id):
                found.setdefault(self._key_of(call), place)
        there = tx.each(f"SELECT 1 AS there {_OF_REQUEST}", list(found)) if found else ()
        return sorted([*new, *(place for place, row in zip(found.values(), there, strict=True) if row is None)])

    def _row(self, tx: Transaction, call: Call) -> Row | None:
        return tx.one(f"SELECT mac, type, reply, create_time {_OF_REQUEST}", self._key_of(call))

    def _answer(self, row: Row, request: Message) -> Message:
        if not hmac.compare_digest(bytes(row["mac"]), self._mac(request)):
            raise InvalidField(
                "request_id",
                "was used for another request",
                remedy="Make a fresh UUID for each request; repeat one only with the very same content.",
            )
        kind = message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(row["type"]))
        return kind.FromString(bytes(row["reply"]))

    def keep(self, tx: Transaction, call: Call, request: Message, reply: Message) -> None:
        """Keeps *reply*, in the transaction that did what it tells; now and then drops old ones."""
        tx.later(_INSERT, self._values(call, request, reply))
        self._count(tx, call, 1)

    def keep_each(self, tx: Transaction, answered: Sequence[tuple[Call, Message, Message]]) -> None:
        """As `keep`, for each call that has a request_id, with its request and its reply.

        Raises:
            UniqueViolation: one of them was answered meanwhile.
        """
        kept = [self._values(*one) for one in answered if one[0].request_id]
        if kept:
            tx.insert_later("replies", _COLUMNS, kept)
            self._count(tx, answered[0][0], len(kept))

    def _values(self, call: Call, request: Message, reply: Message) -> tuple[object, ...]:
        """The values of `_INSERT`."""
        return (
            *self._key_of(call),
            self._mac(request),
            reply.DESCRIPTOR.full_name,
            reply.SerializeToString(),
            to_micros(call.now),
        )

    def _count(self, tx: Transaction, call: Call, kept: int) -> None:
        before = self._kept
        self._kept += kept
        if before // _PURGE_EVERY != self._kept // _PURGE_EVERY:
            tx.execute(_PURGE[tx.dialect], (to_micros(call.now - KEPT), _PURGE_BATCH))

    def _mac(self, request: Message) -> bytes:
        return hmac.new(self._key, request.SerializeToString(deterministic=True), hashlib.sha256).digest()

    @staticmethod
    def _key_of(call: Call) -> tuple[str, str, str]:
        return call.caller.subject, call.method, call.request_id.lower()


def _require_uuid(call: Call) -> None:
    if not is_uuid(call.request_id):
        raise InvalidField(
            "request_id", "is not a UUID", remedy="Make a fresh UUID for each request, and keep it for repeats."
        )


class _Undone(Exception):
    def __init__(self, reply: Message) -> None:
        super().__init__()
        self.reply = reply


class Writer:
    """Runs the writing of mutating RPCs.

    Args:
        database: where the verbs write.
        replies: where answers are kept.
    """

    def __init__(self, database: Database, replies: Replies) -> None:
        self._database = database
        self._replies = replies

    def earlier(self, call: Call, request: Message) -> Message | None:
        """What the same request was answered before; None if it is new, or has no request_id.

        For a verb that asks other services before its transaction: a repeated request is answered though they would
        refuse it by now, or do not answer. `once` decides all the same.

        Raises:
            InvalidField: request_id is not a UUID, or was used for another request.
        """
        if call.validate_only or not call.request_id:
            return None
        return self._database.read(lambda tx: self._replies.look(tx, call, request))

    def once(self, call: Call, request: Message, verb: Callable[[Transaction], M]) -> M:
        """Runs *verb* in one transaction with its answer, or answers what the same request was answered before.

        With ``validate_only`` everything runs and is rolled back: the same checks, the same errors, the answer that
        would have been given, and nothing written. A refusal is not kept: the same request may go through later.
        Nothing is written either for a caller who no longer waits: what he does not know of would be nobody's.

        Args:
            verb: does the work and makes the response; may run twice.

        Raises:
            InvalidField: request_id is not a UUID, or was used for another request.
            Busy: the same request is under way.
            DeadlineExceeded: the caller no longer waits.
        """

        def run(tx: Transaction) -> M:
            if call.validate_only:
                raise _Undone(verb(tx))
            if not call.request_id:
                return awaited(verb(tx))
            before = self._replies.find(tx, call, request)
            if before is not None:
                return cast("M", before)
            reply = verb(tx)
            self._replies.keep(tx, call, request, reply)
            return awaited(reply)

        def awaited(reply: M) -> M:
            _require_awaited(call)
            return reply

        try:
            lock = self._replies.lock_of(call) if call.request_id and not call.validate_only else None
            return self._database.transact(run, label=call.method.rpartition("/")[2], lock=lock)
        except _Undone as undone:
            return cast("M", undone.reply)

    def prepared(
        self, call: Call, request: Message, prepare: Callable[[], P], verb: Callable[[Transaction, P], M]
    ) -> M:
        """As `once`, of what takes more than a transaction: *prepare* does that first, and *verb* records what came.

        A request that was answered before prepares nothing (see `earlier`).

        Args:
            prepare: may be done again by the same request, if nothing was recorded the first time.
            verb: as in `once`; is given what *prepare* answered.
        """
        before = self.earlier(call, request)
        if before is not None:
            return cast("M", before)
        found = prepare()
        return self.once(call, request, lambda tx: verb(tx, found))

    def together(
        self,
        asked: Sequence[tuple[Call, Message]],
        verb: Callable[[Transaction, Sequence[int]], Mapping[int, M]],
    ) -> list[M | None]:
        """Runs *verb* for several requests of one method in one transaction, with all of their answers.

        What one of them brings with it undoes all: whoever asks then runs each by `once`. It is `impatient`.

        Args:
            asked: at least one, none of them with ``validate_only``.
            verb: is told the places in *asked* of those that are new, and answers some of them; may run twice.

        Returns:
            The answers in the order of *asked*; None for a request that is to be run by `once`.

        Raises:
            BmsError: one of the callers no longer waits, or the database says no.
            UniqueViolation: one of the requests was answered meanwhile.
        """

        def run(tx: Transaction) -> Mapping[int, M]:
            impatient(tx)
            calls = [call for call, _ in asked]
            new = [place for place in self._replies.unanswered(tx, calls) if calls[place].awaited()]
            answers = verb(tx, new)
            self._replies.keep_each(tx, [(*asked[place], reply) for place, reply in answers.items()])
            for place in answers:
                _require_awaited(calls[place])
            return answers

        answers = self._database.transact(run, label=f"{asked[0][0].method.rpartition('/')[2]}.together")
        return [answers.get(place) for place in range(len(asked))]


def impatient(tx: Transaction) -> None:
    """Has *tx* wait for nothing that others have locked for longer than `_IMPATIENT` says: it then fails.

    So nobody who is served together with others waits for what he has no part in.
    """
    if tx.dialect == "postgresql":
        tx.one(_IMPATIENT)


def _require_awaited(call: Call) -> None:
    if not call.awaited():
        # We stood still, or waited for others: whoever asked has long gone on as if nothing had been done.
        msg = f"the caller of {call.method} gave up before it was done"
        raise DeadlineExceeded(msg, remedy="Send the same request again.", method=call.method)
