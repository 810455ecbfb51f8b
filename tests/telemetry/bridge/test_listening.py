# SPDX-License-Identifier: Apache-2.0
"""A genuine RabbitMQ: the queues that Ironic fills are read, nothing comes back for ever, and one of several reads."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pytest
from pika.exceptions import ChannelClosedByBroker

from services.runtime.database import Database
from services.runtime.rabbitmq import Cluster, Host, Tls
from telemetry.bridge.app import run
from telemetry.bridge.listening import PARKED, Ear, Listening
from telemetry.bridge.notifications import PoisonError, parse
from telemetry.sandesh.settings import Address
from tests.lifecycle.observing.broker import PASSWORD, TOPIC, USER, Broker, wait_until
from tests.openstack.cloud import rabbitmq
from tests.openstack.cloud.parts import free_port
from tests.telemetry.bridge.fake_ironic import FakeIronic
from tests.telemetry.bridge.notes import NODE, SECRET, body, node
from tests.telemetry.bridge.test_app import clock, settings
from tests.telemetry.bridge.tls_front import tls_front
from tests.telemetry.rig import rig

# Mark openstack too, by which CI runs it: it comes from Debian, as does what genuine services need.
pytestmark = [pytest.mark.rabbitmq, pytest.mark.openstack, pytest.mark.timeout(900)]

INFO, ERROR = f"{TOPIC}.info", f"{TOPIC}.error"
LATER = "2026-11-22T10:00:00Z"


@pytest.fixture(autouse=True)
def empty(broker: Broker) -> None:
    """Nothing is there, as with an Ironic that has told nothing."""
    with broker.channel() as channel:
        for queue in (INFO, ERROR, PARKED):
            channel.queue_delete(queue)
        channel.exchange_delete("ironic")


def ironic_tells(broker: Broker, *bodies: bytes, level: str = "info", durable: bool = False) -> None:
    """Publishes as oslo.messaging does: exchange and queue are declared by whoever tells first."""
    queue = f"{TOPIC}.{level}"
    with broker.channel() as channel:
        channel.exchange_declare("ironic", "topic", durable=durable)
        channel.queue_declare(queue, durable=durable)
        channel.queue_bind(queue, "ironic", queue)
        for each in bodies:
            channel.basic_publish("ironic", queue, each)


def parked(broker: Broker) -> list[tuple[Any, bytes]]:
    """What is parked: headers and body; it is taken out."""
    found: list[tuple[Any, bytes]] = []
    with broker.channel() as channel:
        while True:
            method, properties, content = channel.basic_get(PARKED, auto_ack=True)
            if method is None:
                return found
            found.append((properties.headers, content))


def control(broker: Broker, *words: str) -> None:
    """A command of rabbitmqctl."""
    (unit,) = [each for each in rabbitmq.units(broker.place) if each.name == "rabbitmq"]
    command = str(Path(unit.argv[0]).with_name("rabbitmqctl"))
    subprocess.run([command, *words], env={**os.environ, **unit.environ}, check=True, capture_output=True, timeout=60)


class Listener:
    """One that listens in a thread, and keeps what it was given."""

    def __init__(self, cluster: Cluster) -> None:
        self.got: list[bytes] = []
        self.told: list[tuple[Ear, str]] = []
        self.hold = threading.Event()
        self.hold.set()
        queues = [f"{TOPIC}.{level}" for level in ("error", "info")]
        self.listening = Listening(cluster, queues, self._handle, lambda now, why: self.told.append((now, why)))

    def _handle(self, bodies: list[bytes]) -> list[str]:
        self.hold.wait(30)
        self.got += bodies
        return [_reason(each) for each in bodies]

    def __enter__(self) -> Self:
        self.listening.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hold.set()
        self.listening.stop()

    def is_(self, ear: Ear) -> bool:
        """How it goes now."""
        return bool(self.told) and self.told[-1][0] is ear


def _reason(each: bytes) -> str:
    try:
        parse(each)
    except PoisonError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("durable", [False, True])
def test_14_queues_are_read_as_they_are_once_they_are_there(broker: Broker, durable: bool) -> None:
    """
    Durable or not, which the original did not ask; what waited there since the last bridge is read, too. Nothing of
    Ironic's is declared: it could not declare it otherwise any more.
    """
    told = body("node.update.end", node())
    with Listener(broker.brokers.cluster) as one:
        wait_until("it listens", lambda: one.is_(Ear.ACTIVE))
        assert one.told[-1][1] == f"Ironic has told nothing yet: there is no queue {INFO}"
        with broker.channel() as channel, pytest.raises(Exception, match="404"):
            channel.exchange_declare("ironic", passive=True)
        ironic_tells(broker, told, told, durable=durable)
        ironic_tells(broker, told, level="error", durable=durable)
        wait_until("all are read", lambda: len(one.got) == 3)
        assert one.told[-1] == (Ear.ACTIVE, "")
    assert (broker.depth(INFO), broker.depth(ERROR)) == (0, 0)


def test_queues_that_are_not_there_are_looked_for_ever_more_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The broker writes an error into its log for each look. Those that Ironic is known to fill more often than others.
    """
    now, looked = 0.0, []

    class Silent:
        """A broker without queues."""

        def channel(self) -> Silent:
            return self

        def queue_declare(self, queue: str, **_: object) -> None:
            looked.append((now, queue.rpartition(".")[2]))
            raise ChannelClosedByBroker(404, "no queue")

    monkeypatch.setattr("telemetry.bridge.listening.time.monotonic", lambda: now)
    levels = ("error", "warning", "info")
    told: list[tuple[Ear, str]] = []
    one = Listening(
        Cluster(()), [f"{TOPIC}.{level}" for level in levels], lambda bodies: [], lambda *it: told.append(it)
    )
    one._connection = one._channel = Silent()
    for second in range(86_400):
        now = float(second)
        one._subscribe()
    counts = {level: sum(found == level for _, found in looked) for level in levels}
    assert [when for when, level in looked if level == "info"][:5] == [0, 5, 15, 35, 75]
    assert counts["info"] < 86_400 / 60 + 10
    assert counts["error"] < 86_400 / 300 + 10
    assert counts["warning"] < 86_400 / 3600 + 15
    assert len(told) == 1


def test_5_poison_is_parked_with_its_reason_and_never_comes_back(broker: Broker) -> None:
    """
    What comes after it is handled; the next bridge finds nothing in the queue.
    """
    good = body("node.update.end", node())
    ironic_tells(broker, b"not JSON " + SECRET.encode(), b"", good)
    with Listener(broker.brokers.cluster) as one:
        wait_until("all are read", lambda: len(one.got) == 3)
    assert broker.depth(INFO) == 0
    first, second = parked(broker)
    assert first == ({"reason": "it is not JSON", "queue": INFO}, b"not JSON " + SECRET.encode())
    assert second == ({"reason": "it is not JSON", "queue": INFO}, b"")


def test_what_was_not_acknowledged_comes_again(broker: Broker) -> None:
    """
    A bridge that loses its connection with messages in hand, or dies, leaves them to the next connection.
    """
    ironic_tells(broker, body("node.update.end", node()))
    with Listener(broker.brokers.cluster) as one:
        one.hold.clear()
        wait_until("it has it in hand", lambda: broker.depth(INFO) == 0)
        control(broker, "close_all_connections", "test")
        one.hold.set()
        wait_until("it came again", lambda: len(one.got) == 2)
        wait_until("it is connected again", lambda: one.is_(Ear.ACTIVE))
        assert Ear.AWAY in [ear for ear, _ in one.told]
    assert broker.depth(INFO) == 0


def test_19_of_two_bridges_one_reads_and_the_other_takes_over(broker: Broker) -> None:
    """
    Two generators of one name would throw each other out of the collector: the original could have no second.
    """
    ironic_tells(broker)
    with Listener(broker.brokers.cluster) as first:
        wait_until("the first reads", lambda: first.is_(Ear.ACTIVE))
        with Listener(broker.brokers.cluster) as second:
            wait_until("the second waits", lambda: second.is_(Ear.STANDBY))
            ironic_tells(broker, body("node.update.end", node()))
            wait_until("the first has read", lambda: len(first.got) == 1)
            first.listening.stop()
            wait_until("the second reads", lambda: second.is_(Ear.ACTIVE))
            ironic_tells(broker, body("node.update.end", node()))
            wait_until("the second has read", lambda: len(second.got) == 1)
            assert len(first.got) == 1


def test_15_the_second_host_of_the_list_is_tried(broker: Broker) -> None:
    """
    The original knew the first alone.
    """
    hosts = (Host("127.0.0.1", free_port(), USER, PASSWORD), *broker.brokers.cluster.hosts)
    ironic_tells(broker, body("node.update.end", node()))
    with Listener(Cluster(hosts)) as one:
        wait_until("it is read", lambda: len(one.got) == 1)


def test_15_tls_with_certificates_on_both_sides(broker: Broker, tmp_path: Path) -> None:
    """
    The original spoke none. A broker whose certificate is of nobody we know is not spoken to.
    """
    ironic_tells(broker, body("node.update.end", node()))
    with tls_front(broker.port, tmp_path) as port:
        hosts = (Host("127.0.0.1", port, USER, PASSWORD),)
        with Listener(Cluster(hosts, "/", Tls())) as stranger:
            wait_until("it refuses", lambda: stranger.is_(Ear.AWAY))
        files = Tls(tmp_path / "ca.pem", tmp_path / "cert.pem", tmp_path / "key.pem")
        with Listener(Cluster(hosts, "/", files)) as one:
            wait_until("it is read", lambda: len(one.got) == 1)
        assert stranger.got == []


def test_a_login_that_may_only_read_reads(broker: Broker) -> None:
    """
    It cannot declare the queue that says whose turn it is, nor park: it goes on, and acknowledges poison.
    """
    ironic_tells(broker, b"poison", body("node.update.end", node()))
    reader = Cluster((Host("127.0.0.1", broker.port, "reader", SECRET),))
    control(broker, "add_user", "reader", SECRET)
    control(broker, "set_permissions", "reader", "^$", "^$", ".*")
    with Listener(reader) as one:
        wait_until("both are read", lambda: len(one.got) == 2)
    assert broker.depth(INFO) == 0


def test_a_queue_that_was_deleted_is_looked_for_again(broker: Broker) -> None:
    """
    By an operator, or with the node of the cluster that it was on.
    """
    ironic_tells(broker)
    with Listener(broker.brokers.cluster) as one:
        wait_until("it reads", lambda: one.told[-1:] == [(Ear.ACTIVE, "")])
        with broker.channel() as channel:
            channel.queue_delete(INFO)
        wait_until("it notices", lambda: one.told[-1][1] != "")
        ironic_tells(broker, body("node.update.end", node()))
        wait_until("it is read", lambda: len(one.got) == 1)


def test_12_the_whole_bridge_over_a_restart_of_the_broker(
    broker: Broker, ironic: FakeIronic, sqlite_database: Database, tmp_path: Path
) -> None:
    """
    From the old file to the analytics API: listed, told, cut off from the broker, and right again when it is back,
    with what was told to nobody in between. It says meanwhile that RabbitMQ is away.
    """
    ironic.put(node())
    ironic_tells(broker)
    own = settings(
        ironic, tmp_path, rabbit_server=f"127.0.0.1:{broker.port}", rabbit_user=USER, rabbit_password=PASSWORD
    )

    async def scene() -> None:
        stop = asyncio.Event()
        async with rig(sqlite_database) as told:
            collectors = (Address("127.0.0.1", told.ports.collector),)
            running = asyncio.create_task(run(replace(own, collectors=collectors), stop, clock=clock, least=0.05))

            async def see(path: str, wanted: Callable[[Any], bool]) -> None:
                async with asyncio.timeout(120):
                    while True:
                        if wanted(await told.get(path)):
                            return
                        await asyncio.sleep(0.1)

            async def until(wanted: Callable[[Any], bool]) -> None:
                await see(f"/analytics/uves/server/{NODE}?flat", wanted)

            async def rabbit_is(status: str) -> None:
                said = f"'name': 'RabbitMQ', 'server_addrs': ['127.0.0.1:{broker.port}'], 'status': '{status}'"
                await see("/analytics/uves/config-node/the-host?flat", lambda found: said in str(found))

            def power(wanted: str) -> Callable[[Any], bool]:
                return lambda found: found.get("IronicNode", {}).get("power_state") == wanted

            await until(power("power off"))
            await asyncio.to_thread(
                ironic_tells, broker, body("node.power_set.end", node(power_state="power on", updated_at=LATER))
            )
            await until(power("power on"))
            await rabbit_is("Up")
            await asyncio.to_thread(broker.down)
            await rabbit_is("Down")
            ironic.put(node(power_state="error", updated_at="2026-11-22T11:00:00Z"))
            await asyncio.to_thread(broker.up)
            await until(power("error"))
            await rabbit_is("Up")
            await asyncio.to_thread(
                ironic_tells, broker, body("node.delete.end", node(updated_at="2026-11-22T12:00:00Z"))
            )
            ironic.nodes.clear()
            await until(lambda found: "IronicNode" not in found)
            stop.set()
            await asyncio.wait_for(running, 60)

    asyncio.run(scene())
