# SPDX-License-Identifier: Apache-2.0
"""The tree over the heads of all streams, as bms/event/v1/event.proto defines it: 64 bytes a stream, in memory.

Leaves are appended, or change in place. What k of them cost is the way of each up to the root, shared where they meet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.kernel.chain import framed

_SIZE = 32
_LEAF = b"bms.event.v1.head\x00"
_NODE = b"bms.event.v1.node\x00"


def leaf(stream: str, sequence: int, digest: bytes) -> bytes:
    """The leaf of *stream*, whose last event has *sequence* and the event digest *digest*; 32 bytes."""
    return hashlib.sha256(_LEAF + framed(stream) + sequence.to_bytes(8, "big") + digest).digest()


def node(left: bytes, right: bytes) -> bytes:
    """The node above two; 32 bytes."""
    return hashlib.sha256(_NODE + left + right).digest()


@dataclass(frozen=True, slots=True)
class Change:
    """What `Tree.change` found, to be applied or forgotten.

    Attributes:
        leaves: how many there are with it.
        root: the root with it.
        nodes: the changed nodes by level (0: the leaves) and index.
    """

    leaves: int
    root: bytes
    nodes: Sequence[Mapping[int, bytes]]


class Tree:
    """The tree. It has no lock of its own."""

    def __init__(self) -> None:
        self._levels: list[bytearray] = [bytearray()]

    def __len__(self) -> int:
        return len(self._levels[0]) // _SIZE

    @property
    def root(self) -> bytes:
        """The root, 32 bytes; empty without leaves."""
        return bytes(self._levels[-1][:_SIZE])

    def change(self, leaves: Mapping[int, bytes]) -> Change:
        """What becomes of the tree with *leaves* (by index) put into it; it stays as it is.

        Args:
            leaves: at least one. New ones follow on the present last without a gap.

        Raises:
            ValueError: there would be a gap.
        """
        width = max(len(self), max(leaves) + 1)
        if sum(index >= len(self) for index in leaves) != width - len(self):
            msg = "leaves are missing between the tree's and the new ones"
            raise ValueError(msg)
        count, level, fresh = width, 0, dict(leaves)
        nodes = [fresh]
        while width > 1:
            fresh = {index >> 1: b"" for index in fresh}
            below = nodes[-1]
            for index in fresh:
                left = self._node(below, level, 2 * index)
                has_right = 2 * index + 1 < width
                fresh[index] = node(left, self._node(below, level, 2 * index + 1)) if has_right else left
            nodes.append(fresh)
            width, level = (width + 1) // 2, level + 1
        return Change(count, nodes[-1][0], nodes)

    def apply(self, change: Change) -> None:
        """Makes *change*, which `change` has found in the tree as it is now."""
        while len(self._levels) < len(change.nodes):
            self._levels.append(bytearray())
        width = change.leaves
        for level, fresh in zip(self._levels, change.nodes, strict=True):
            level.extend(bytes(width * _SIZE - len(level)))
            for index, value in fresh.items():
                level[index * _SIZE : (index + 1) * _SIZE] = value
            width = (width + 1) // 2

    def path(self, index: int) -> list[bytes]:
        """The siblings of the leaf at *index*, from below."""
        siblings = []
        for level in self._levels[:-1]:
            other = (index ^ 1) * _SIZE
            if other < len(level):
                siblings.append(bytes(level[other : other + _SIZE]))
            index >>= 1
        return siblings

    def _node(self, fresh: Mapping[int, bytes], level: int, index: int) -> bytes:
        found = fresh.get(index)
        return bytes(self._levels[level][index * _SIZE : (index + 1) * _SIZE]) if found is None else found
