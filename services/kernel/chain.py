# SPDX-License-Identifier: Apache-2.0
"""The hash chains of a stream and of a whole log: pure functions, as bms/event/v1/event.proto defines them."""

from __future__ import annotations

import hashlib

_BODY_TAG = b"bms.event.v1.body\x00"
_TAG = b"bms.event.v1\x00"
_LOG_TAG = b"bms.event.v1.log\x00"

NO_EVENTS = bytes(32)
"""The running digest of a log without events."""


def framed(text: str) -> bytes:
    """*text* in UTF-8 behind its length in 8 bytes, big endian: how texts are hashed and signed."""
    data = text.encode()
    return len(data).to_bytes(8, "big") + data


def body_digest(body: bytes) -> bytes:
    """SHA-256 over the stored bytes of an event's body, 32 bytes."""
    return hashlib.sha256(_BODY_TAG + body).digest()


def digest(previous: bytes, header: bytes, digest_of_body: bytes) -> bytes:
    """The digest of an event, 32 bytes.

    Args:
        previous: the digest of the stream's event before it, empty for the first.
        header: the stored bytes of its header. Their length is hashed too, so that no byte can move between header and
            body.
        digest_of_body: see `body_digest`.
    """
    return hashlib.sha256(_TAG + previous + len(header).to_bytes(8, "big") + header + digest_of_body).digest()


def running(before: bytes, position: int, event_digest: bytes) -> bytes:
    """The running digest of a log up to *position*, 32 bytes.

    Args:
        before: the running digest up to the position before; `NO_EVENTS` for the first.
        event_digest: `digest` of the event there; in logs without a chain with an empty ``previous``.
    """
    return hashlib.sha256(_LOG_TAG + before + position.to_bytes(8, "big") + event_digest).digest()
