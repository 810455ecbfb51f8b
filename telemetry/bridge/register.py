# SPDX-License-Identifier: Apache-2.0
"""The newest word on each thing, whichever way and in whatever order words come. Pure.

Two kinds of word: a notification, as old as it says, and a listing, which was true when it was asked for. Both carry a
turn, a number that rises with everything we hear or ask. A listing that was asked for after a notification came is
newer than that, whatever their times say: hosts' clocks differ, and ``updated_at`` has whole seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

NEVER: Final = datetime(1, 1, 1, tzinfo=UTC)
TOMBSTONES: Final = 20_000
"""How many things that are gone are remembered."""


@dataclass(frozen=True, slots=True)
class Age:
    """How old a word is.

    Attributes:
        updated: ``updated_at`` of the thing; for one never updated, ``created_at``.
        said: when it was said; orders words of one second.
        born: ``created_at``.
    """

    updated: datetime = NEVER
    said: datetime = NEVER
    born: datetime = NEVER


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one thing.

    Attributes:
        turn: when we heard of it last.
        owner: the node it belongs to; of a node, itself.
        fields: of the UVE; what is None has no value.
    """

    age: Age
    turn: int
    owner: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Register:
    """Things by their UUID.

    Attributes:
        late: how many words came too late to count.
    """

    late: int = 0
    _known: dict[str, Known] = field(default_factory=dict)
    _gone: dict[str, Known] = field(default_factory=dict)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._known)

    def __iter__(self) -> Iterator[str]:
        """The UUIDs of all there are."""
        return iter(self._known)

    def get(self, uuid: str) -> Known | None:
        """What is known of one."""
        return self._known.get(uuid)

    def hear(self, uuid: str, age: Age, turn: int, owner: str, fields: Mapping[str, Any]) -> bool:
        """A notification says *fields* of a thing, others stay; answers whether that counts."""
        before, gone = self._known.get(uuid), self._gone.get(uuid)
        if gone is not None and (gone.age.born == NEVER or age.born <= gone.age.born):
            # It tells of the one that is gone, not of another that was given its UUID.
            self.late += 1
            return False
        if before is not None and (age.updated, age.said) < (before.age.updated, before.age.said):
            self.late += 1
            return False
        self._gone.pop(uuid, None)
        kept = before.fields if before is not None else {}
        self._known[uuid] = Known(age, turn, owner, {**kept, **fields})
        return True

    def read(self, uuid: str, age: Age, asked: int, owner: str, fields: Mapping[str, Any]) -> bool:
        """A listing that was asked for at the turn *asked* says *fields*; answers whether that counts."""
        before, gone = self._known.get(uuid), self._gone.get(uuid)
        if gone is not None and gone.turn > asked:
            return False
        if before is not None and before.turn > asked and age.updated <= before.age.updated:
            return False
        self._gone.pop(uuid, None)
        if before is None:
            self._known[uuid] = Known(age, asked, owner, fields)
            return True
        if age.updated == before.age.updated:
            # Words of that second that were said before the last we heard are older than this, too.
            age = replace(age, said=before.age.said)
        self._known[uuid] = Known(age, max(asked, before.turn), owner, {**before.fields, **fields})
        return True

    def bury(self, uuid: str, age: Age, turn: int) -> bool:
        """A notification says that a thing is gone; answers whether it was there."""
        before = self._known.get(uuid)
        if before is not None and NEVER != age.born < before.age.born:
            self.late += 1
            return False
        self._known.pop(uuid, None)
        self._gone.pop(uuid, None)
        born = max(age.born, before.age.born) if before is not None else age.born
        owner = before.owner if before is not None else ""
        self._gone[uuid] = Known(replace(age, born=born), turn, owner)
        while len(self._gone) > TOMBSTONES:
            del self._gone[next(iter(self._gone))]
        return before is not None

    def missing(self, seen: set[str], asked: int, turn: int) -> list[str]:
        """Buries what a whole listing that was asked for at the turn *asked* did not show; answers what that was."""
        found = [uuid for uuid, known in self._known.items() if uuid not in seen and known.turn <= asked]
        for uuid in found:
            self.bury(uuid, self._known[uuid].age, turn)
        return found
