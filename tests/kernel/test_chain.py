# SPDX-License-Identifier: Apache-2.0
"""The chain is what bms/event/v1/event.proto says it is."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from services.kernel.chain import body_digest, digest


def test_a_vector_worked_out_by_hand() -> None:
    """
    The digests of a first and a second event are those computed with sha256sum over the bytes that the contract lists.
    """
    body = body_digest(b"salted")
    first = digest(b"", b"header", body)
    second = digest(first, b"", body_digest(b""))

    # printf 'bms.event.v1.body\\0salted' | sha256sum
    assert body.hex() == "087340cbcd98c4abb61029442d7c68e3e18c9eb37a6da16757aa45a7b75fca80"
    # printf 'bms.event.v1\\0\\0\\0\\0\\0\\0\\0\\0\\006header' and the 32 bytes above | sha256sum
    assert first.hex() == "a3be0a36b64e7ca2a713b50cc01fa230a409ba46dc51680b10a2770bca4cdae7"
    # printf 'bms.event.v1\\0', the 32 bytes of first, eight zero bytes, and SHA-256 of 'bms.event.v1.body\\0'
    assert second.hex() == "5e6297fbc1cfe578d8181fde7a77daf7721fa5f7cbc60ea9acdb6181af0dd1f1"


@given(st.binary(), st.binary(max_size=32), st.binary(), st.integers(min_value=0))
def test_no_byte_moves_between_header_and_body(header: bytes, previous: bytes, body: bytes, cut: int) -> None:
    """
    Moving bytes from the header's end elsewhere changes the digest: lengths are hashed.
    """
    hashed = body_digest(body)
    at = cut % (len(header) + 1)
    moved = digest(previous, header[:at], body_digest(header[at:] + body))

    assert (moved == digest(previous, header, hashed)) == (at == len(header))


@given(st.binary(min_size=1), st.integers(min_value=0))
def test_any_flipped_bit_shows(header: bytes, bit: int) -> None:
    """
    One bit changed in a header, a body or the digest before changes the digest.
    """
    index, mask = bit // 8 % len(header), 1 << bit % 8
    changed = header[:index] + bytes([header[index] ^ mask]) + header[index + 1 :]
    zero = hashlib.sha256().digest()

    assert digest(zero, header, zero) != digest(zero, changed, zero)
    assert body_digest(header) != body_digest(changed)
    assert digest(header, b"", zero) != digest(changed, b"", zero)
