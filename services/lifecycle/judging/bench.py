# SPDX-License-Identifier: Apache-2.0
"""The verifier's loop: hears each log, then acts on what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from services.kernel.errors import DeadlineExceeded, PeerUnavailable
from services.lifecycle.judging.hearing import PAUSE, Hearing
from services.lifecycle.judging.sentence import Sentence

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


_BACKLOG = 500
"""So many events in one round, and there are probably more."""
