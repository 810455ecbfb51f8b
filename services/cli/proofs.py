# SPDX-License-Identifier: Apache-2.0
"""Checks a stream's proof as its contract says (bms/event/v1/event.proto), on the side of whoever asked for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from services.runtime.merkle import leaf, node
from services.runtime.signing import checkpoint_bytes, is_signed

if TYPE_CHECKING:
    from bms.event.v1.event_pb2 import Checkpoint, SigningKey, StreamProof


def complaint(proof: StreamProof, checkpoint: Checkpoint, keys: Sequence[SigningKey]) -> str:
    """Why *proof* proves nothing; empty if it does.

    Args:
        checkpoint: the one in *proof*, parsed.
        keys: those of its log.
    """
    known = {key.key_id: key.public_key for key in keys}
    public = known.get(proof.checkpoint.key_id, b"")
    signed = proof.checkpoint
    if not public or not is_signed(public, signed.signature, checkpoint_bytes(signed.checkpoint)):
        return "the checkpoint is not signed by a key of the log"
    found, index, size, path = leaf(proof.stream, proof.sequence, proof.digest), proof.index, checkpoint.streams, 0
    while size > 1:
        pairs = index % 2 == 1 or index + 1 < size
        if pairs and path == len(proof.path):
            return "the path is too short"
        if pairs:
            found = node(proof.path[path], found) if index % 2 else node(found, proof.path[path])
            path += 1
        index, size = index // 2, (size + 1) // 2
    if found != checkpoint.heads_root or path != len(proof.path):
        return "the path does not lead to the checkpoint's root"
    return ""
