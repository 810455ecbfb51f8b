# SPDX-License-Identifier: Apache-2.0
"""The digests of bms.event.v1, computed anew from what its contract says; nothing is shared with who wrote the log."""

from __future__ import annotations

from hashlib import sha256

from bms.event.v1 import event_pb2

START = bytes(32)
"""The running digest before the first event."""


def body_digest(body: bytes) -> bytes:
    """Of the stored bytes of a body."""
    return sha256(b"bms.event.v1.body\x00" + body).digest()


def event_digest(previous: bytes, header: bytes, digest_of_body: bytes) -> bytes:
    """Of an event; *previous* is empty for a stream's first event and in logs without a chain."""
    return sha256(b"bms.event.v1\x00" + previous + len(header).to_bytes(8, "big") + header + digest_of_body).digest()


def running_digest(before: bytes, position: int, digest: bytes) -> bytes:
    """Of a log up to *position*, where an event of that *digest* stands."""
    return sha256(b"bms.event.v1.log\x00" + before + position.to_bytes(8, "big") + digest).digest()


def leaf(stream: str, sequence: int, digest: bytes) -> bytes:
    """Of a stream's end."""
    return sha256(b"bms.event.v1.head\x00" + _text(stream) + sequence.to_bytes(8, "big") + digest).digest()


def node(left: bytes, right: bytes) -> bytes:
    """Of two nodes of the tree of heads."""
    return sha256(b"bms.event.v1.node\x00" + left + right).digest()


def signed_bytes(checkpoint: bytes) -> bytes:
    """What a checkpoint's signature is over."""
    return b"bms.event.v1.checkpoint\x00" + checkpoint


def checkpoint_digest(checkpoint: bytes) -> bytes:
    """Of the stored bytes of a checkpoint."""
    return sha256(signed_bytes(checkpoint)).digest()


def key_id(public_key: bytes) -> str:
    """The name of a signing key."""
    return sha256(public_key).digest()[:8].hex()


def key_statement(key: event_pb2.SigningKey) -> bytes:
    """What the key before *key* signs to endorse it."""
    created = key.create_time.seconds * 1_000_000 + key.create_time.nanos // 1000
    return (
        b"bms.event.v1.key\x00"
        + _text(key.service)
        + _text(key.log)
        + key.from_number.to_bytes(8, "big")
        + created.to_bytes(8, "big")
        + key.public_key
    )


def _text(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(8, "big") + data


class Heads:
    """The tree over the ends of all streams: a leaf each, in the order of their first events.

    Changed leaves are remembered, and hashed up to the root when it is asked for.
    """

    def __init__(self) -> None:
        self._index: dict[str, int] = {}
        self._levels: list[list[bytes]] = [[]]
        self._changed: dict[str, tuple[int, bytes]] = {}

    def __len__(self) -> int:
        """How many streams."""
        return len(self._index)

    def put(self, stream: str, sequence: int, digest: bytes) -> None:
        """Where *stream* ends now."""
        self._changed[stream] = (sequence, digest)
        if stream not in self._index:
            self._index[stream] = len(self._index)
            self._levels[0].append(b"")

    def root(self) -> bytes:
        """The root; empty if there is no stream."""
        changed = {self._index[stream] for stream in self._changed}
        for stream, (sequence, digest) in self._changed.items():
            self._levels[0][self._index[stream]] = leaf(stream, sequence, digest)
        self._changed = {}
        level = 0
        while len(self._levels[level]) > 1:
            below = self._levels[level]
            if level + 1 == len(self._levels):
                self._levels.append([])
            above = self._levels[level + 1]
            above.extend([b""] * ((len(below) + 1) // 2 - len(above)))
            changed = {index // 2 for index in changed}
            for index in changed:
                right = 2 * index + 1
                above[index] = node(below[2 * index], below[right]) if right < len(below) else below[2 * index]
            level += 1
        return self._levels[level][0] if self._levels[level] else b""


def root_of(proof: event_pb2.StreamProof, streams: int) -> bytes | None:
    """The root that *proof* leads to in a tree of *streams* leaves; None if its path does not fit."""
    found, index, size = leaf(proof.stream, proof.sequence, proof.digest), proof.index, streams
    path = list(proof.path)
    if not 0 <= index < size:
        return None
    while size > 1:
        if index % 2:
            if not path:
                return None
            found = node(path.pop(0), found)
        elif index + 1 < size:
            if not path:
                return None
            found = node(found, path.pop(0))
        index, size = index // 2, (size + 1) // 2
    return None if path else found
