# SPDX-License-Identifier: Apache-2.0
"""The verifier's loops: one hears the log at hand and acts on what was found, one asks for a log that is elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from services.kernel.errors import DeadlineExceeded, PeerUnavailable
from services.lifecycle.judging import docket
from services.lifecycle.judging.hearing import PAUSE, Hearing
from services.lifecycle.judging.sentence import Sentence
from services.runtime.times import to_micros

_log = structlog.get_logger("bms.judge")


@dataclass(slots=True)
class Bench:
    """Hears and acts. A log that cannot be read now is heard later; the others are heard all the same."""

    hearings: Sequence[Hearing]
    sentence: Sentence

    def tick(self, now: datetime) -> datetime:
        """One round; answers when to begin the next."""
        heard = 0
        for hearing in self.hearings:
            try:
                heard += hearing.hear()
            except (PeerUnavailable, DeadlineExceeded) as error:
                _log.warning("judge.log_unreadable", log=hearing.service, reason=error.reason, error=str(error))
        heard += self.sentence.pass_on(now)
        # What is judged together is written together; a backlog is not waited for.
        return now if heard >= _BACKLOG else now + PAUSE


@dataclass(slots=True)
class Listener:
    """Hears a log that is elsewhere, by questions that wait for news; of all replicas, the one whose turn it is.

    What it finds is acted on by whichever `Bench` comes first. A turn that its holder does not renew ends by itself;
    that two have it at once costs a question too many, and nothing else: see `docket.move`.
    """

    hearing: Hearing
    _mine: int = 0

    def tick(self, now: datetime) -> datetime:
        """One question, if it is our turn; answers when to begin the next."""
        if not self._take(now):
            return now + PAUSE
        try:
            heard = self.hearing.hear()
        except (PeerUnavailable, DeadlineExceeded) as error:
            _log.warning("judge.log_unreadable", log=self.hearing.service, reason=error.reason, error=str(error))
            # Another replica may reach it.
            self._leave()
            return now + PAUSE
        return now if heard >= _BACKLOG else now + PAUSE

    def _take(self, now: datetime) -> bool:
        mine, at, until = self._mine, to_micros(now), to_micros(now + TURN)
        service, database = self.hearing.service, self.hearing.database
        if not mine and database.read(lambda tx: docket.turn(tx, service)) > at:
            return False
        taken = database.transact(lambda tx: docket.take_turn(tx, service, mine, at, until), label="judge.turn")
        if taken and not mine:
            self.hearing.forget()
        self._mine = until if taken else 0
        return taken

    def _leave(self) -> None:
        mine, self._mine = self._mine, 0
        self.hearing.database.transact(lambda tx: docket.leave_turn(tx, self.hearing.service, mine), label="judge.turn")


TURN = timedelta(seconds=30)
"""How long a turn lasts if it is not renewed: longer than the longest question."""
_BACKLOG = 500
"""So many events in one round, and there are probably more."""
