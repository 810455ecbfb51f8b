# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.sandesh.errors import FrameError
from telemetry.sandesh.framing import DEFAULT_LIMIT, OVERHEAD, FrameReader, frame
from tests.telemetry.sandesh.vectors import FULL, VECTORS

STREAM = b"".join(vector.frame for vector in VECTORS)


def read(*chunks: bytes, limit: int = DEFAULT_LIMIT) -> tuple[list[bytes], str | None]:
    """The frames of a stream, and what ended it."""
    reader = FrameReader(limit)
    frames: list[bytes] = []
    try:
        for chunk in chunks:
            frames.extend(reader.feed(chunk))
    except FrameError as error:
        return frames, str(error)
    return frames, None


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@given(st.lists(st.integers(0, len(STREAM)), max_size=30))
def test_split_anywhere(cuts: list[int]) -> None:
    """
    However the network splits or joins a stream, the frames are the same.
    """
    assert ([vector.frame for vector in VECTORS], None) == read(*pieces(STREAM, cuts))


def test_byte_by_byte() -> None:
    """
    A stream that comes in single bytes gives the same frames too.
    """
    assert ([FULL.frame] * 2, None) == read(*(bytes([byte]) for byte in FULL.frame * 2))


@given(
    st.lists(st.integers(0, 3 * len(FULL.frame)), max_size=5),
    st.integers(0, 2 * len(FULL.frame) - 1),
    st.integers(0, 255),
)
def test_garbage_anywhere(cuts: list[int], position: int, byte: int) -> None:
    """
    What a damaged stream gives, frames and verdict, does not depend on how it was split.
    """
    damaged = bytearray(FULL.frame * 3)
    damaged[position] = byte

    assert read(bytes(damaged)) == read(*pieces(bytes(damaged), cuts))


def test_length_counts_bytes() -> None:
    """
    The length is that of the bytes, not of the characters.
    """
    content = "電源".encode()

    assert frame(content).startswith(b'<sandesh length="0000000045">')
    assert ([frame(content)], None) == read(frame(content))


def counting_characters(content: str) -> bytes:
    """*content* in an envelope as the reference's Python generator writes it."""
    return f'<sandesh length="{len(content) + OVERHEAD:010d}">{content}</sandesh>'.encode()


@given(st.lists(st.text(st.characters(exclude_characters="<>", codec="utf-8"), min_size=1)), st.data())
def test_length_may_count_characters(contents: list[str], data: st.DataObject) -> None:
    """
    Frames whose length counts characters are taken too, among others and split anywhere.
    """
    frames = [
        counting_characters(content) if data.draw(st.booleans()) else frame(content.encode()) for content in contents
    ]
    stream = b"".join(frames)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=10))

    assert read(*pieces(stream, cuts)) == (frames, None)


def test_characters_are_held_to_the_limit() -> None:
    """
    A frame that says fewer characters than the limit has bytes is not held beyond the limit, however it is split.
    """
    content = "é" * 100
    counted = counting_characters(content)

    assert read(counted, limit=len(counted)) == ([counted], None)
    assert read(counted, limit=len(counted) - 1)[1] is not None
    assert read(*pieces(counted, list(range(len(counted)))), limit=len(counted) - 1)[1] is not None
    assert read(counted[:-11] + "é".encode() * 1000, limit=OVERHEAD + 150)[1] is not None


CLOSED = {
    "white space between": FULL.frame + b"\n" + FULL.frame,
    "declaration": b'<?xml version="1.0"?>' + FULL.frame,
    "unpadded": b'<sandesh length="45">' + b"x" * 100,
    "eleven digits": b'<sandesh length="00000000045">' + b"x" * 100,
    "sign": b'<sandesh length="+000000045">' + b"x" * 100,
    "spaces": b'<sandesh length="        45">' + b"x" * 100,
    "other digits": '<sandesh length="٠٠٠٠٠٠٠٠٤٥">'.encode() + b"x" * 100,
    "zero": b'<sandesh length="0000000000">' + b"x" * 100,
    "shorter than its tags": b'<sandesh length="0000000039"></sandesh>',
    "single quotes": b"<sandesh length='0000000045'>" + b"x" * 100,
    "other tag": b'<sandwich length="0000000045">' + b"x" * 100,
    "neither bytes nor characters": FULL.frame.replace(b"web-1", "wéb-1".encode()).replace(b"5666", b"5665"),
    "no UTF-8": counting_characters("é" * 9).replace(b"\xa9", b"\xc3"),
    "one too long": FULL.frame.replace(b"5666", b"5667") + FULL.frame,
    "one too short": FULL.frame.replace(b"5666", b"5665"),
    "close tag": FULL.frame[:-1] + b"x",
    "over the limit": b'<sandesh length="9999999999">',
    "garbage": b"GET / HTTP/1.1\r\n\r\n",
    "nul": b"\0",
}


@pytest.mark.parametrize("data", CLOSED.values(), ids=CLOSED)
def test_not_frames(data: bytes) -> None:
    """
    What closes a session at the reference collector ends the stream here.
    """
    _, verdict = read(data)

    assert verdict is not None


@pytest.mark.parametrize(
    ("data", "at_most"),
    [(b"G", 1), (b"<sandesh lengtH", 15), (b'<sandesh length="x', 18), (b'<sandesh length="0000000045"x', 29)],
)
def test_noticed_early(data: bytes, at_most: int) -> None:
    """
    A stream that is none is given up at the first byte that shows it.
    """
    assert read(data[:at_most])[1] is not None
    assert read(data[: at_most - 1])[1] is None


def test_good_frames_before_bad_bytes() -> None:
    """
    Frames before the bad byte are given, even when they came in one read with it.
    """
    frames, verdict = read(FULL.frame * 2 + b"garbage")

    assert [FULL.frame] * 2 == frames
    assert verdict is not None


def test_broken_stays_broken() -> None:
    """
    After a bad byte nothing is taken any more, however good it looks.
    """
    reader = FrameReader()
    with pytest.raises(FrameError):
        list(reader.feed(b"garbage"))
    with pytest.raises(FrameError):
        list(reader.feed(FULL.frame))

    assert reader.buffered == 0


def test_limit() -> None:
    """
    A frame of exactly the limit is taken; a longer one is refused by its announcement, before it is held.
    """
    content = b"x" * 100
    exact = OVERHEAD + len(content)

    assert read(frame(content), limit=exact)[1] is None

    reader = FrameReader(exact - 1)
    with pytest.raises(FrameError):
        list(reader.feed(frame(content)[:29]))
    assert reader.buffered == 0
