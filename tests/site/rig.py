# SPDX-License-Identifier: Apache-2.0
"""The five real processes, started and watched by the product's own `bms up`."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.cli.datadir import DataDir
from services.cli.supervise.plan import SERVICES
from services.cli.supervise.prepare import find_free_base

START_SECONDS = 90.0
CALL_SECONDS = 20.0

# A killed process is back in a second or two, and its callers shall notice at once.
_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.max_send_message_length", -1),
)


class Site:
    """One running `bms up`.

    Attributes:
        data: its data directory.
        addresses: ``host:port`` by service, telemetry's ``rest``, ``collector`` and ``introspect`` included.
    """

    def __init__(self, data: DataDir, supervisor: psutil.Popen, output: Path) -> None:
        self.data = data
        self.addresses = data.endpoints()
        self._supervisor = supervisor
        self._output = output
        self._channels: dict[str, grpc.Channel] = {}

    def channel(self, service: str) -> grpc.Channel:
        """A channel to *service*, kept until the site stops."""
        if service not in self._channels:
            self._channels[service] = grpc.insecure_channel(self.addresses[service], options=_OPTIONS)
        return self._channels[service]

    def token(self, login: str) -> str:
        """The bearer token of *login*: admin, site, service, tenant-a or tenant-b."""
        return self.data.token_file(login).read_text().strip()

    def metadata(self, login: str) -> tuple[tuple[str, str], ...]:
        """What a call by *login* sends; nothing for ``nobody``."""
        return () if login == "nobody" else (("authorization", f"Bearer {self.token(login)}"),)

    def processes(self) -> dict[str, psutil.Process]:
        """The processes that run now, by service."""
        found = {}
        by_package = {package: name for name, package in SERVICES.items()}
        for child in self._supervisor.children():
            try:
                name = by_package.get(child.cmdline()[-1])
            except (psutil.Error, IndexError):
                continue  # it ended meanwhile
            if name is not None:
                found[name] = child
        return found

    def kill(self, service: str) -> int:
        """Ends *service* as a power cut would; `bms up` starts it again. Answers the id it had."""
        process = self.processes()[service]
        process.send_signal(signal.SIGKILL)
        return int(process.pid)

    def serves(self, service: str, seconds: float = 30.0) -> None:
        """Waits until *service* says that it serves."""
        until = time.monotonic() + seconds
        check = health_pb2_grpc.HealthStub(self.channel(service)).Check  # type: ignore[attr-defined]  # the stubs forget it
        while True:
            try:
                answer = check(health_pb2.HealthCheckRequest(), timeout=2, wait_for_ready=True)
            except grpc.RpcError:
                answer = None
            if answer is not None and answer.status == health_pb2.HealthCheckResponse.SERVING:
                return
            assert time.monotonic() < until, f"{service} does not serve\n{self.log(service)[-2000:]}"

    def log(self, service: str) -> str:
        """Everything that *service* wrote to its log."""
        return (self.data.logs / f"{service}.log").read_text(errors="replace")

    def output(self) -> str:
        """Everything that `bms up` said."""
        return self._output.read_text(errors="replace")

    def close(self) -> None:
        """Closes the channels."""
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()


@contextmanager
def running_site(
    folder: Path, *, profile: str = "instant", only: Sequence[str] = (), settings: Mapping[str, str] | None = None
) -> Iterator[Site]:
    """`bms up` in *folder*, until the block ends.

    Args:
        profile: how long things take on the simulated rack.
        only: run these services; all if empty.
        settings: variables of the environment beside those that `bms up` sets.
    """
    data, output = DataDir(folder / "data"), folder / "up.txt"
    supervisor = _start(data, output, profile, only, settings or {})
    try:
        site = Site(data, supervisor, output)
        for service in only or SERVICES:
            site.serves(service, START_SECONDS)
        try:
            yield site
        finally:
            site.close()
    finally:
        supervisor.send_signal(signal.SIGTERM)
        try:
            supervisor.wait(60)
        except psutil.TimeoutExpired:
            supervisor.kill()
            supervisor.wait(10)


def _start(data: DataDir, output: Path, profile: str, only: Sequence[str], settings: Mapping[str, str]) -> psutil.Popen:
    output.parent.mkdir(parents=True, exist_ok=True)
    # Of an earlier start in the same folder; it is how we learn that this one has its ports.
    (data.path / "endpoints.json").unlink(missing_ok=True)
    # Below where the kernel takes ports for outgoing connections, and not where a neighbour begins to look.
    base = find_free_base(random.randrange(20000, 30000, 20))
    argv = [sys.executable, "-m", "services.cli", "up", "--data", str(data.path)]
    argv += ["--port-base", str(base), "--profile", profile]
    argv += [word for service in only for word in ("--only", service)]
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("BMS_")}
    with output.open("wb") as said:
        started = psutil.Popen(argv, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env={**inherited, **settings})
    until = time.monotonic() + START_SECONDS
    while not data.endpoints():
        assert started.poll() is None, output.read_text()
        assert time.monotonic() < until, output.read_text()
        time.sleep(0.05)
    return started
