# SPDX-License-Identifier: Apache-2.0
"""The envelope: ``<sandesh length="NNNNNNNNNN">…</sandesh>``.

Ten digits, zero padded, counting the **bytes** of the whole frame, both tags included, as the C++
library counts. Frames follow each other without anything between.

The reference's Python generator counts characters. The reference collector closes the session over the first frame
that is not ASCII, and over its resending in each session to come: one such name, and nothing of the generator is seen
any more. This reader takes what ends in its close tag by either count.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from telemetry.sandesh.errors import FrameError

OPEN: Final = b'<sandesh length="'
DIGITS: Final = 10
OPEN_END: Final = b'">'
CLOSE: Final = b"</sandesh>"
OVERHEAD: Final = len(OPEN) + DIGITS + len(OPEN_END) + len(CLOSE)
"""Bytes of a frame that are not its content: 39."""
LARGEST: Final = 10**DIGITS - 1
"""The most that ten digits can say."""
DEFAULT_LIMIT: Final = 4 * 1024 * 1024
"""Largest frame a reader takes unless told otherwise. The analytics API drops attributes of 100,000
characters, so genuine messages stay far below."""

_HEAD: Final = len(OPEN) + DIGITS + len(OPEN_END)


def frame(content: bytes) -> bytes:
    """*content* in its envelope.

    Raises:
        FrameError: the frame is longer than ten digits can say.
    """
    length = len(content) + OVERHEAD
    if length > LARGEST:
        msg = f"a frame of {length} bytes cannot be announced"
        raise FrameError(msg)
    return b'<sandesh length="%010d">%b</sandesh>' % (length, content)


class FrameReader:
    """Cuts a stream of bytes into frames, however the network split or joined them.

    Once the stream is broken it stays broken: nothing after a bad byte can be trusted.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._broken: str | None = None
        self._sought = 0

    @property
    def buffered(self) -> int:
        """How many bytes of an unfinished frame are held; less than the limit and one read."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The frames that *data* completes, envelopes included, as an iterator to be exhausted.

        Frames before a bad byte are given first, so the result does not depend on how the stream
        was split.

        Raises:
            FrameError: while iterating: the stream is not a sequence of frames, or one is longer
                than the limit.
        """
        if self._broken is None:
            self._buffer += data
        return self._frames()

    def _frames(self) -> Iterator[bytes]:
        while True:
            if self._broken is not None:
                raise FrameError(self._broken)
            try:
                length = self._announced()
                end = None if length is None or len(self._buffer) < length else self._end(length)
            except FrameError as error:
                self._broken = str(error)
                self._buffer.clear()
                raise
            if end is None:
                return
            complete = bytes(self._buffer[:end])
            del self._buffer[:end]
            self._sought = 0
            yield complete

    def _end(self, length: int) -> int | None:
        """The size of the frame at the front, of which *length* bytes are there, or None until the rest is."""
        if self._buffer.startswith(CLOSE, length - len(CLOSE)):
            return length
        # It counts characters, if it is a frame. Of what was searched before, nothing is searched again.
        start = self._sought or length - len(CLOSE) + 1
        found = self._buffer.find(CLOSE, start)
        if (
            found < 0
            and len(self._buffer) <= min(4 * length, self._limit)
            and (self._sought or not self._buffer[:length].isascii())
        ):
            self._sought = max(start, len(self._buffer) - len(CLOSE) + 1)
            return None
        end = found + len(CLOSE)
        if found < 0 or end > self._limit or _characters(self._buffer[:end]) != length:
            msg = f"a frame of {length} bytes does not end in its close tag"
            raise FrameError(msg)
        return end

    def _announced(self) -> int | None:
        """The length of the frame at the front, or None until its open tag is whole."""
        head = bytes(self._buffer[:_HEAD])
        if not head.startswith(OPEN[: len(head)]):
            msg = "no open tag where a frame must begin"
            raise FrameError(msg)
        digits = head[len(OPEN) : len(OPEN) + DIGITS]
        # isdigit would let other digits than ASCII's pass on str, but not on bytes.
        if digits and not digits.isdigit():
            msg = "the length is not ten digits"
            raise FrameError(msg)
        if not OPEN_END.startswith(head[len(OPEN) + DIGITS :]):
            msg = "the open tag does not end after ten digits"
            raise FrameError(msg)
        if len(head) < _HEAD:
            return None
        length = int(digits)
        if length <= OVERHEAD:
            msg = f"a frame cannot be {length} bytes long"
            raise FrameError(msg)
        if length > self._limit:
            msg = f"a frame of {length} bytes is over the limit of {self._limit}"
            raise FrameError(msg)
        return length


def _characters(data: bytearray) -> int:
    """How many characters *data* is; 0 if it is no UTF-8."""
    try:
        return len(data.decode())
    except UnicodeDecodeError:
        return 0
