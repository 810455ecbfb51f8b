# SPDX-License-Identifier: Apache-2.0
"""The tree over heads is that of the contract, however it came about."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms.event.v1 import event_pb2
from services.runtime.merkle import Tree, leaf
from tests.runtime import recompute


def some(*seed: object) -> bytes:
    return hashlib.sha256(repr(seed).encode()).digest()


def test_a_leaf_worked_out_by_hand() -> None:
    """
    A leaf is what sha256sum gives over the bytes that the contract lists.
    """
    # printf 'bms.event.v1.head\\0\\0\\0\\0\\0\\0\\0\\0\\001s\\0\\0\\0\\0\\0\\0\\0\\002' and 32 zero bytes | sha256sum
    by_hand = hashlib.sha256(b"bms.event.v1.head\0" + bytes(7) + b"\x01s" + bytes(7) + b"\x02" + bytes(32))
    assert leaf("s", 2, bytes(32)) == by_hand.digest() == recompute.leaf("s", 2, bytes(32))


@given(st.lists(st.lists(st.integers(min_value=0, max_value=70), min_size=1, max_size=20), min_size=1, max_size=8))
def test_any_history_ends_in_the_tree_of_its_leaves(history: list[list[int]]) -> None:
    """
    However leaves are appended and changed, a few at a time, the root is the contract's, and each leaf's path leads to
    it.
    """
    tree, leaves = Tree(), list[bytes]()
    for turn, picks in enumerate(history):
        changed = dict[int, bytes]()
        for pick in picks:
            index = min(pick, len(leaves))
            value = some(turn, pick)
            leaves[index : index + 1] = [value]
            changed[index] = value
        change = tree.change(changed)
        tree.apply(change)
        assert change.root == tree.root == recompute.root(leaves)
    for index in range(len(leaves)):
        found, at, size, path = leaves[index], index, len(leaves), tree.path(index)
        while size > 1:
            if at % 2:
                found = recompute.node(path.pop(0), found)
            elif at + 1 < size:
                found = recompute.node(found, path.pop(0))
            at, size = at // 2, (size + 1) // 2
        assert (found, path) == (tree.root, [])


def test_a_change_that_is_not_applied_leaves_no_trace() -> None:
    """
    What was worked out and then given up, as after a lost race, changes neither root nor paths.
    """
    tree = Tree()
    tree.apply(tree.change({index: some(index) for index in range(5)}))
    before = (tree.root, len(tree), tree.path(4))

    tree.change({0: some("x"), 5: some("y")})

    assert (tree.root, len(tree), tree.path(4)) == before


def test_no_leaf_is_left_out() -> None:
    """
    A new leaf follows on the last one: a gap is refused.
    """
    tree = Tree()
    tree.apply(tree.change({0: some(0)}))

    with pytest.raises(ValueError, match="missing"):
        tree.change({2: some(2)})


def test_a_path_of_another_leaf_does_not_prove() -> None:
    """
    A proof with another index, sequence or digest leads to another root.
    """
    tree = Tree()
    tree.apply(tree.change({n: leaf(f"s{n}", 1, some(n)) for n in range(7)}))
    right = event_pb2.StreamProof(stream="s3", sequence=1, digest=some(3), index=3, path=tree.path(3))
    wrong = [event_pb2.StreamProof.FromString(right.SerializeToString()) for _ in range(3)]
    wrong[0].sequence, wrong[1].digest, wrong[2].stream = 2, some(4), "s4"

    assert recompute.proven_root(right, 7) == tree.root
    assert tree.root not in {recompute.proven_root(each, 7) for each in wrong}
