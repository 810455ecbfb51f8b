# SPDX-License-Identifier: Apache-2.0
"""A genuine RabbitMQ of the tests' own on the loopback, and an Ironic that tells it things."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pika
import pytest

from services.lifecycle.observing.brokers import Brokers
from services.runtime.rabbitmq import Cluster, Host
from tests.openstack.cloud import rabbitmq
from tests.openstack.cloud.debian import provide
from tests.openstack.cloud.parts import end, free_port, listens, start
from tests.openstack.cloud.place import Place

USER, PASSWORD = "cloud", "hunter2-of-the-broker"
TOPIC = "ironic_versioned_notifications"


@dataclass
class Broker:
    """One broker, which can be stopped and started again with what it keeps."""

    place: Place
    durable: bool = False
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.place.ports["rabbitmq"]

    @property
    def brokers(self) -> Brokers:
        """Where to listen."""
        return Brokers(Cluster((Host("127.0.0.1", self.port, USER, PASSWORD),)))

    @property
    def url(self) -> str:
        """The same as a URL."""
        return f"rabbit://{USER}:{PASSWORD}@127.0.0.1:{self.port}/"

    def up(self) -> None:
        """Starts it; what was durable is there again."""
        for unit in rabbitmq.units(self.place):
            log = self.place.log(unit.name)
            self.processes.append(start(self.place.home, log, unit.argv, unit.environ))
            listens(unit.port, log)

    def down(self) -> None:
        """Ends it, its port mapper last."""
        for process in reversed(self.processes):
            end(process)
        self.processes.clear()

    def tell(self, *bodies: bytes, exchange: str = "ironic") -> None:
        """Publishes as Ironic does: the exchange and a queue of its topic are declared first."""
        with self.channel() as channel:
            channel.exchange_declare(exchange, "topic", durable=self.durable)
            for body in bodies:
                channel.basic_publish(exchange, f"{TOPIC}.info", body)

    def depth(self, queue: str) -> int:
        """How many messages nobody was given yet; those that were given and not acknowledged do not count."""
        with self.channel() as channel:
            return int(channel.queue_declare(queue, passive=True).method.message_count)

    @contextmanager
    def channel(self) -> Iterator[Any]:
        """A channel with confirmed publishing."""
        login = pika.PlainCredentials(USER, PASSWORD)
        connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", self.port, credentials=login))
        try:
            channel = connection.channel()
            channel.confirm_delivery()
            yield channel
        finally:
            connection.close()


def wait_until(what: str, true: Any, seconds: float = 60.0) -> None:
    """Waits until *true* answers so."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)


@contextmanager
def running_broker(folder: Path) -> Iterator[Broker]:
    """A broker until the block ends; installs RabbitMQ where it may."""
    provide(rabbitmq.DEBIAN)
    ports = {name: free_port() for name in ("rabbitmq", "erlang", "epmd")}
    place = Place(folder, folder, ports, {"rabbitmq": PASSWORD})
    rabbitmq.configure(place)
    broker = Broker(place)
    try:
        broker.up()
        yield broker
    finally:
        broker.down()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A RabbitMQ that nobody has told anything; packages whose tests want it name it in their conftest."""
    with running_broker(tmp_path_factory.mktemp("broker")) as running:
        yield running
