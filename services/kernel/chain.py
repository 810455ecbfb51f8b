# SPDX-License-Identifier: Apache-2.0
"""The hash chain of a stream of events: two pure functions, as bms/event/v1/event.proto defines them."""

from __future__ import annotations

import hashlib

_BODY_TAG = b"bms.event.v1.body\x00"
_TAG = b"bms.event.v1\x00"


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
