# SPDX-License-Identifier: Apache-2.0
"""A port of the loopback that is far away: every byte takes its time to get there and back."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def far_from(port: int, seconds: float) -> Iterator[int]:
    """A port that leads to *port*, each way in *seconds*, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_accept, args=(listening, port, seconds), daemon=True).start()
        yield int(listening.getsockname()[1])


def _accept(listening: socket.socket, port: int, seconds: float) -> None:
    # The block's end closes the socket that this waits at.
    with suppress(OSError):
        while True:
            near, _ = listening.accept()
            far = socket.create_connection(("127.0.0.1", port))
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=_carry, args=(source, target, seconds), daemon=True).start()


def _carry(source: socket.socket, target: socket.socket, seconds: float) -> None:
    # Whoever gives up closes his end, and then there is nothing to carry any more.
    with suppress(OSError), source, target:
        while data := source.recv(65536):
            time.sleep(seconds)
            target.sendall(data)
