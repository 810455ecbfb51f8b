# SPDX-License-Identifier: Apache-2.0
"""What bms/event/v1/event.proto says of checkpoints, written a second time from its words alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bms.event.v1 import event_pb2


def u64(number: int) -> bytes:
    return number.to_bytes(8, "big")


def text(value: str) -> bytes:
    return u64(len(value.encode())) + value.encode()


def event_digest(event: event_pb2.StoredEvent, previous: bytes | None = None) -> bytes:
    """From the event's bytes alone; *previous* instead of what it claims."""
    body = sha256(b"bms.event.v1.body\0" + event.body).digest()
    before = event.previous if previous is None else previous
    return sha256(b"bms.event.v1\0" + before + u64(len(event.header)) + event.header + body).digest()


def running_digest(events: Iterable[event_pb2.StoredEvent]) -> bytes:
    running = bytes(32)
    for number, event in enumerate(events, 1):
        running = sha256(b"bms.event.v1.log\0" + running + u64(number) + event_digest(event)).digest()
    return running


def leaf(stream: str, sequence: int, digest: bytes) -> bytes:
    return sha256(b"bms.event.v1.head\0" + text(stream) + u64(sequence) + digest).digest()


def node(left: bytes, right: bytes) -> bytes:
    return sha256(b"bms.event.v1.node\0" + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node(root(leaves[:split]), root(leaves[split:]))


def heads_root(events: Iterable[event_pb2.StoredEvent]) -> bytes:
    heads: dict[str, bytes] = {}
    for event in events:
        header = event_pb2.EventHeader.FromString(event.header)
        heads[header.stream] = leaf(header.stream, header.sequence, event_digest(event))
    return root(list(heads.values()))


def checkpoint_digest(signed: event_pb2.SignedCheckpoint) -> bytes:
    return sha256(b"bms.event.v1.checkpoint\0" + signed.checkpoint).digest()


def opened(signed: event_pb2.SignedCheckpoint, keys: Sequence[event_pb2.SigningKey]) -> event_pb2.Checkpoint:
    """The checkpoint; raises where its signature is not that of the key in force."""
    checkpoint = event_pb2.Checkpoint.FromString(signed.checkpoint)
    key = [key for key in keys if key.from_number <= checkpoint.number][-1]
    assert key.key_id == signed.key_id == checkpoint.key_id == sha256(key.public_key).hexdigest()[:16]
    Ed25519PublicKey.from_public_bytes(key.public_key).verify(
        signed.signature, b"bms.event.v1.checkpoint\0" + signed.checkpoint
    )
    return checkpoint


def require_endorsed(before: event_pb2.SigningKey, key: event_pb2.SigningKey) -> None:
    """Raises unless *before* speaks for *key*."""
    said = text(key.service) + text(key.log) + u64(key.from_number) + u64(key.create_time.ToMicroseconds())
    Ed25519PublicKey.from_public_bytes(before.public_key).verify(
        key.endorsement, b"bms.event.v1.key\0" + said + key.public_key
    )


def proven_root(proof: event_pb2.StreamProof, streams: int) -> bytes:
    """The root that *proof* leads to, in a tree of so many streams."""
    found, index, size, path = leaf(proof.stream, proof.sequence, proof.digest), proof.index, streams, list(proof.path)
    while size > 1:
        if index % 2:
            found = node(path.pop(0), found)
        elif index + 1 < size:
            found = node(found, path.pop(0))
        index, size = index // 2, (size + 1) // 2
    assert not path
    return found


def fits(
    signed: event_pb2.SignedCheckpoint, keys: Sequence[event_pb2.SigningKey], events: Sequence[event_pb2.StoredEvent]
) -> bool:
    """Whether *events*, the whole log, are what *signed* says of them."""
    checkpoint = opened(signed, keys)
    covered = events[: checkpoint.position]
    return (
        len(covered) == checkpoint.position
        and running_digest(covered) == checkpoint.running_digest
        and heads_root(covered) == checkpoint.heads_root
    )
