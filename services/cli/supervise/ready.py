# SPDX-License-Identifier: Apache-2.0
"""Waits until services serve, in a process of its own: `bms up` itself stays small, and free of gRPC's threads.

``python -m services.cli.supervise.ready SECONDS NAME=ADDRESS...`` prints each name once it serves.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self


class ReadinessProbe:
    """The process that waits, seen from its parent."""

    def __init__(self, addresses: Mapping[str, str], seconds: float) -> None:
        self._waited = set(addresses)
        self.ready: set[str] = set()
        self.open = True
        arguments = [str(seconds), *(f"{name}={address}" for name, address in addresses.items())]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "services.cli.supervise.ready", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )

    @property
    def done(self) -> bool:
        """Whether all serve."""
        return self._waited <= self.ready

    def fileno(self) -> int:
        """What to wait on for news."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def read(self) -> None:
        """Takes the news, if there are any."""
        os.set_blocking(self.fileno(), False)
        try:
            news = os.read(self.fileno(), 4096)
        except BlockingIOError:
            return
        self.open = bool(news)
        self.ready |= set(news.decode().split())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def _wait_for(name: str, address: str, deadline: float) -> None:
    """Prints *name* once the server at *address* says it serves."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    from services.cli.channel import open_channel

    # The services serve TLS if the environment that they share with us says so.
    ca, cert, key = (
        Path(found) if (found := os.environ.get(f"BMS_TLS_{each}")) else None for each in ("CA", "CERT", "KEY")
    )
    with open_channel(address, ca, cert, key) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch  # type: ignore[attr-defined]  # the stubs forget it
        while (left := deadline - time.monotonic()) > 0:
            try:
                for answer in watch(health_pb2.HealthCheckRequest(), timeout=left, wait_for_ready=True):
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        sys.stdout.write(f"{name}\n")
                        sys.stdout.flush()
                        return
            except grpc.RpcError:
                # It ended while it started; its successor is waited for by the channel.
                continue


def main(arguments: list[str]) -> None:
    """Waits for all of *arguments*; ends when all serve or the time is over."""
    # Those who are waited for need the processor more.
    os.nice(5)
    deadline = time.monotonic() + float(arguments[0])
    waits = []
    for argument in arguments[1:]:
        name, _, address = argument.partition("=")
        waits.append(threading.Thread(target=_wait_for, args=(name, address, deadline), daemon=True))
    for wait in waits:
        wait.start()
    for wait in waits:
        wait.join()


if __name__ == "__main__":
    main(sys.argv[1:])
