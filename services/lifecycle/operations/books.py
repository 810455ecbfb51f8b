# SPDX-License-Identifier: Apache-2.0
"""What the verbs need of their store: one object per transaction, in the words of the domain."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from services.kernel.events import Event
from services.lifecycle.domain.instance import Instance
from services.lifecycle.domain.progress import Progress
from services.lifecycle.domain.server import Server
from services.lifecycle.domain.walk import Change


class Books(Protocol):
    """Lifecycle's tables in one transaction. Every write is a compare-and-set on the version: Stale if it is lost."""

    def server(self, uuid: str) -> Server:
        """The server, kept from others until the transaction ends; NotFound if there is none, or its log is closed."""
        ...

    def find_server(self, uuid: str) -> Server | None:
        """The server, closed or not; None if it was never seen."""
        ...

    def instance(self, name: str) -> Instance:
        """The instance, kept from others until the transaction ends; NotFound if there is none."""
        ...

    def find_instance(self, name: str) -> Instance | None:
        """The instance, or None."""
        ...

    def insert_server(self, server: Server, events: Sequence[Event]) -> None:
        """Adds a server that was never seen, with its first events."""
        ...

    def write(self, change: Change, now: datetime, *, due: datetime | None) -> Change:
        """Commits *change*; somebody looks at the server again at *due*. Answers it with the new versions."""
        ...

    def insert_instance(self, instance: Instance, user_data: bytes | None, due: datetime | None) -> None:
        """Adds an instance; AlreadyExists if its name is taken. Its server is sought at *due*; None: it has one."""
        ...

    def write_instance(self, instance: Instance, *, due: datetime | None, user_data: bytes | None = None) -> Instance:
        """Writes an instance; answers it with the new version."""
        ...

    def begin_operation(self, progress: Progress, now: datetime) -> None:
        """Adds an operation."""
        ...

    def show_operation(self, progress: Progress, now: datetime) -> None:
        """Writes how an operation stands."""
        ...
