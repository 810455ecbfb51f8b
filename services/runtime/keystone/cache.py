# SPDX-License-Identifier: Apache-2.0
"""Remembers for a short time whom tokens name, and asks once for each however many come with it at a moment.

Of a token only its SHA-256 is kept. While nobody answers, whoever is remembered goes on until his time is over.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLong
from dataclasses import dataclass

from services.kernel.calls import Caller
from services.kernel.errors import BmsError, Forbidden, PeerUnavailable, Unauthenticated
from services.runtime.keystone.validation import NoAnswer, Validated, unknown

_MOST_KNOWN = 4096
_MOST_REFUSED = 1024
_REFUSED_SECONDS = 5.0
_AWAY_SECONDS = 1.0
_MOST_ASKING = 8
"""How many tokens are asked for at a time: those threads of a service wait, the others serve."""
_FOLLOW_SECONDS = 3.0
"""How long a thread waits for what another one asks."""

_Outcome = Caller | BmsError


@dataclass(frozen=True, slots=True)
class _Kept:
    outcome: _Outcome
    until: float
    expires: float


class Remembered:
    """`services.runtime.auth.AskingCallers` over *validate*.

    Args:
        validate: see `services.runtime.keystone.validation.Keystone.validate`.
        seconds: how long its answer holds; no longer than the token.
        monotonic: seconds that only go forward.
        now: seconds since 1970, for when tokens expire.
    """

    def __init__(
        self,
        validate: Callable[[str], Validated],
        seconds: float,
        *,
        most: int = _MOST_KNOWN,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._validate = validate
        self._seconds = seconds
        self._monotonic = monotonic
        self._now = now
        self._lock = threading.Lock()
        self._known = _Bounded(most)
        # Apart, so that whoever guesses tokens drives out nobody who has one.
        self._refused = _Bounded(min(most, _MOST_REFUSED))
        self._asked: dict[bytes, Future[_Outcome]] = {}
        self._away: _Kept | None = None

    def known(self, bearer: str) -> Caller | None:
        """See `AskingCallers`."""
        with self._lock:
            outcome = self._kept(_digest(bearer))
        return None if outcome is None else _told(outcome)

    def caller_of(self, bearer: str) -> Caller:
        """See `AskingCallers`."""
        key = _digest(bearer)
        with self._lock:
            outcome = self._kept(key)
            if outcome is not None:
                return _told(outcome)
            asked = self._asked.get(key)
            if asked is None:
                self._refuse_if_hopeless()
                mine = self._asked[key] = Future[_Outcome]()
        if asked is None:
            return _told(self._ask(bearer, key, mine))
        try:
            return _told(asked.result(_FOLLOW_SECONDS))
        except TooLong:
            raise _slow() from None

    def _ask(self, bearer: str, key: bytes, mine: Future[_Outcome]) -> _Outcome:
        outcome: _Outcome = _slow()  # for those who wait, should we fail in a way that nobody foresaw
        expires = float("inf")
        try:
            outcome, expires = self._validate(bearer)
        except BmsError as error:
            outcome = error
        finally:
            with self._lock:
                self._keep(key, outcome, expires)
                del self._asked[key]
            mine.set_result(outcome)
        return outcome

    def _kept(self, key: bytes) -> _Outcome | None:
        kept = self._known.get(key) or self._refused.get(key)
        if kept is None or self._monotonic() >= kept.until:
            return None
        # It may have expired meanwhile; what Keystone refuses expires by our own time alone.
        return unknown() if self._now() >= kept.expires else kept.outcome

    def _keep(self, key: bytes, outcome: _Outcome, expires: float) -> None:
        at = self._monotonic()
        if isinstance(outcome, Caller):
            self._away = None
            # Where our clock is ahead of Keystone's, a token that it takes is taken, but not remembered.
            if self._now() < expires:
                self._known.put(key, _Kept(outcome, at + self._seconds, expires))
        elif isinstance(outcome, Unauthenticated | Forbidden):
            self._known.drop(key)
            self._refused.put(key, _Kept(outcome, at + min(_REFUSED_SECONDS, self._seconds), float("inf")))
        elif isinstance(outcome, NoAnswer):
            self._away = _Kept(outcome, at + _AWAY_SECONDS, float("inf"))

    def _refuse_if_hopeless(self) -> None:
        """Spares a thread a wait that would end in the same words."""
        if self._away is not None and self._monotonic() < self._away.until:
            _told(self._away.outcome)
        if len(self._asked) >= _MOST_ASKING:
            raise _slow()


class _Bounded:
    """What was put last, by key; beyond *most* the oldest goes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: bytes) -> _Kept | None:
        return self._kept.get(key)

    def put(self, key: bytes, kept: _Kept) -> None:
        self._kept[key] = kept
        self._kept.move_to_end(key)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def drop(self, key: bytes) -> None:
        self._kept.pop(key, None)


def _told(outcome: _Outcome) -> Caller:
    """The caller; or the refusal anew, since several threads may raise it."""
    if isinstance(outcome, Caller):
        return outcome
    raise type(outcome)(str(outcome), remedy=outcome.remedy, **outcome.facts)


def _slow() -> PeerUnavailable:
    msg = "Keystone is slow to say whose the token is"
    return PeerUnavailable(msg, remedy="Try again; if it lasts, look at Keystone.", peer="keystone")


def _digest(bearer: str) -> bytes:
    return hashlib.sha256(bearer.encode(errors="surrogatepass")).digest()
