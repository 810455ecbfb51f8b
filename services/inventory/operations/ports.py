# SPDX-License-Identifier: Apache-2.0
"""What the verbs need of the store, within one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from services.inventory.domain.flavor import Flavor
from services.inventory.domain.image import Image
from services.inventory.domain.keys import Key, Owner
from services.inventory.domain.placement import Candidate
from services.inventory.domain.server import Login, Server
from services.kernel.events import Event

Fresh = Callable[[int, str], None]
"""Refuses (Stale) if the version of the row with this name is not the one the caller saw."""


class Journal(Protocol):
    """The event log. The sequence of a stream is the version of its row."""

    def record(self, event: Event, sequence: int) -> int:
        """Appends *event* to its stream, whose last sequence is *sequence*; answers its own."""
        ...

    def last(self, stream: str) -> int:
        """The last sequence of *stream*, also of one whose row is gone; 0 before the first event."""
        ...


class Servers(Journal, Protocol):
    """The servers' rows."""

    def get(self, uuid: str) -> Server | None:
        """The server; None if there is none."""
        ...

    def get_for_change(self, uuid: str) -> Server | None:
        """As `get`; nobody else changes it until this transaction ends."""
        ...

    def named(self, names: Iterable[str]) -> dict[str, Server]:
        """The servers with these display names that exist, for change."""
        ...

    def owners(self, keys: Iterable[Key]) -> Mapping[Key, Owner]:
        """Whose these keys are; keys that are nobody's are left out."""
        ...

    def insert(self, server: Server) -> None:
        """Adds a server and takes its keys.

        Raises:
            AlreadyExists: the UUID or a key is taken.
        """
        ...

    def save(self, before: Server, after: Server) -> None:
        """Writes *after* over *before*, and takes and frees the keys that differ.

        Raises:
            AlreadyExists: a key is taken.
            Busy: the row is no longer *before*.
        """
        ...

    def free_keys(self, server: Server, keys: Iterable[Key]) -> None:
        """Frees *keys* of *server* ahead of `save`, so that another server of the same transaction may take them."""
        ...

    def save_pool(self, before: Server, after: Server) -> None:
        """As `save`, of the pool row alone."""
        ...

    def note_version(self, uuid: str, state_version: int) -> None:
        """Notes the version of a report that changed nothing else."""
        ...

    def remove(self, server: Server) -> None:
        """Removes the server, its keys and its login."""
        ...

    def login(self, uuid: str) -> Login:
        """The stored login; empty if there is none."""
        ...

    def set_login(self, uuid: str, login: Login) -> None:
        """Stores the login, sealed."""
        ...


class Pool(Protocol):
    """The servers as placement sees them."""

    def lock_holder(self, holder: str) -> None:
        """Until this transaction ends, nobody else reserves for *holder*."""
        ...

    def reserved_by(self, holder: str) -> list[Server]:
        """The servers that *holder* has reserved or holds, by UUID, for change."""
        ...

    def available(self, resource_class: str, start: str) -> Iterator[Sequence[Candidate]]:
        """The available servers of the class ("" for all), in portions, each once: from the UUID *start* on, then from
        the beginning.
        """
        ...

    def take(self, uuids: Sequence[str], limit: int, *, wait: bool) -> list[Server]:
        """At most *limit* of these servers, those that are still available, for change.

        Args:
            wait: False passes over servers that somebody else is just changing; True waits for them.
        """
        ...

    def everything(self) -> Iterator[Candidate]:
        """Every server."""
        ...


class Catalogue(Journal, Protocol):
    """The rows of flavors and images."""

    def flavor(self, flavor_id: str) -> Flavor | None:
        """The flavor; None if there is none."""
        ...

    def flavor_for_change(self, flavor_id: str) -> Flavor | None:
        """As `flavor`; nobody else changes it until this transaction ends."""
        ...

    def flavors(self) -> Mapping[str, Flavor]:
        """All flavors by id."""
        ...

    def insert_flavor(self, flavor: Flavor) -> None:
        """Adds a flavor.

        Raises:
            AlreadyExists: there is one with this id.
        """
        ...

    def save_flavor(self, before: Flavor, after: Flavor) -> None:
        """Writes *after* over *before*.

        Raises:
            Busy: the row is no longer *before*.
        """
        ...

    def remove_flavor(self, flavor: Flavor) -> None:
        """Removes the flavor."""
        ...

    def image(self, image_id: str) -> Image | None:
        """The image; None if there is none."""
        ...

    def image_for_change(self, image_id: str) -> Image | None:
        """As `image`; nobody else changes it until this transaction ends."""
        ...

    def insert_image(self, image: Image) -> None:
        """Adds an image.

        Raises:
            AlreadyExists: there is one with this id.
        """
        ...

    def save_image(self, before: Image, after: Image) -> None:
        """Writes *after* over *before*.

        Raises:
            Busy: the row is no longer *before*.
        """
        ...

    def remove_image(self, image: Image) -> None:
        """Removes the image."""
        ...
