# SPDX-License-Identifier: Apache-2.0
"""Pages of a listing (AIP-158): what was asked, and where to go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

DEFAULT_SIZE = 50
MAX_SIZE = 1000


@dataclass(frozen=True, slots=True)
class PageRequest:
    """One page asked for.

    Attributes:
        size: how many rows at most, 1 to 1000.
        after: the sort key of the last row of the page before, "" at the start. Only a position, never authority.
    """

    size: int = DEFAULT_SIZE
    after: str = ""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of rows; ``next_after`` is "" on the last."""

    rows: Sequence[T]
    next_after: str = ""
