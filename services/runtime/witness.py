# SPDX-License-Identifier: Apache-2.0
"""What a process remembers of its log outside of the database: so that a database restored from a backup is noticed."""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
import structlog

_log = structlog.get_logger("bms.checkpoints")


@dataclass(frozen=True, slots=True)
class Seen:
    """The newest checkpoint that was stored: its digest in hexadecimal digits."""

    log: str
    number: int
    digest: str


class Witness:
    """A small file beside the data.

    It is a memory, no proof: one that is lost or older than the truth only notices less, so that nothing waits for the
    disk here.

    Args:
        path: the file; beside it an administrator asks for a new log (`ask_for_new_log`).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._asked = path.with_name(f"{path.name}.renew")
        self._deaf = False

    def load(self) -> Seen | None:
        """What was seen last; None if nothing is known."""
        try:
            found = orjson.loads(self._path.read_bytes())
            return Seen(str(found["log"]), int(found["number"]), str(found["digest"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save(self, seen: Seen) -> None:
        """Remembers *seen*."""
        draft = self._path.with_name(f".{self._path.name}.{uuid.uuid4()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(orjson.dumps(asdict(seen)))
            draft.replace(self._path)
        except OSError as error:
            with contextlib.suppress(OSError):  # it may never have come to be; why is told below
                draft.unlink()
            if not self._deaf:
                self._deaf = True
                _log.warning("witness.not_written", file=str(self._path), error=str(error.strerror))

    @property
    def asked_for_new_log(self) -> bool:
        """Whether an administrator says that the database was restored."""
        return self._asked.exists()

    def ask_for_new_log(self) -> None:
        """Says that the database was restored, this file with it: the service goes on as another log."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._asked.touch(mode=0o600)

    def new_log_made(self) -> None:
        """Forgets that it was asked for."""
        self._asked.unlink(missing_ok=True)
