# SPDX-License-Identifier: Apache-2.0
"""A genuine RabbitMQ: hints lead to readings, nothing comes back for ever, and nothing that is lost stays lost."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from datetime import timedelta
from typing import Any, Self

import pytest
import structlog

from services.kernel.clock import SystemClock
from services.lifecycle.observing.brokers import Brokers
from services.lifecycle.observing.listening import Listening
from services.runtime.loop import Loop
from services.runtime.rabbitmq import Cluster, Host
from tests.lifecycle.observing.broker import PASSWORD, Broker, wait_until
from tests.lifecycle.observing.fake_nodes import Watched, watched
from tests.lifecycle.observing.test_hints import SECRET, notification
from tests.lifecycle.rig import Rig
from tests.openstack.cloud.parts import free_port

# Mark openstack too, by which CI runs it: it comes from Debian, as does what genuine services need.
pytestmark = [pytest.mark.rabbitmq, pytest.mark.openstack, pytest.mark.timeout(900)]


@pytest.fixture
def database_kind() -> str:
    """One database will do: it is the broker that is looked at."""
    return "sqlite"


class Ear:
    """A listener in its own loop, over a rig; counts how often it wanted everything listed."""

    def __init__(self, site: Watched, brokers: Brokers) -> None:
        self.site = site
        self.listings = 0
        self.listening = Listening(brokers, site.observer, self._list)
        self.loop = Loop("notifications", self.listening.tick, SystemClock(), most=timedelta(seconds=30))

    def _list(self) -> None:
        self.listings += 1

    def __enter__(self) -> Self:
        self.loop.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.stop()
        self.listening.close()


@pytest.fixture
def site(rig: Rig) -> Watched:
    """A free server."""
    uuid = rig.available()
    found = watched(rig)
    found.nodes.lead(uuid, "available", power="off", job="clean")
    found.see()
    return found


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is logged meanwhile."""
    found: list[dict[str, Any]] = []

    def keep(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        found.append(dict(event))
        raise structlog.DropEvent

    for module in ("services.lifecycle.observing.listening", "services.runtime.rabbitmq"):
        monkeypatch.setattr(f"{module}._log", structlog.wrap_logger(logging.getLogger(), [keep]))
    return found


def uuid_of(site: Watched) -> str:
    return next(iter(site.nodes.nodes))


def heard(ear: Ear, seconds: float = 60) -> None:
    """Waits until it listens."""
    wait_until("it listens", lambda: ear.listings > 0, seconds)


def test_a_hint_makes_it_read_the_node_and_believe_nothing_else(broker: Broker, site: Watched) -> None:
    """
    What the notification says is another thing than the truth, which is told; ten of them lead to a reading or few.
    """
    uuid = uuid_of(site)
    with Ear(site, broker.brokers) as ear:
        heard(ear)
        site.nodes.lead(uuid, maintenance=True, maintenance_reason="fans")
        reads = site.nodes.reads
        broker.tell(*[notification(uuid=uuid, provision_state="error")] * 10)
        wait_until("it is told", lambda: site.told(uuid) != [])
        wait_until("the queue is empty", lambda: broker.depth(broker.brokers.queue) == 0)

    assert [reason for reason, _ in site.told(uuid)] == ["CONTROLLER_MAINTENANCE"]
    assert site.nodes.reads - reads <= 6


def test_poison_is_told_without_its_body_and_never_comes_back(
    broker: Broker, site: Watched, logged: list[dict[str, Any]]
) -> None:
    """
    What comes after it is handled; a restart of ours finds nothing in the queue.
    """
    uuid = uuid_of(site)
    with Ear(site, broker.brokers) as ear:
        heard(ear)
        site.nodes.lead(uuid, retired=True)
        broker.tell(b"not JSON " + SECRET.encode(), notification(uuid=SECRET), b"", notification(uuid=uuid))
        wait_until("it is told", lambda: site.told(uuid) != [])
    poison = [event for event in logged if event["event"] == "notifications.poison"]

    assert len(poison) == 3
    assert SECRET not in repr(logged)
    assert broker.depth(broker.brokers.queue) == 0


def test_a_node_that_cannot_be_read_is_left_to_a_listing_and_its_message_is_done_with(
    broker: Broker, site: Watched
) -> None:
    """
    An Ironic that is away must not fill the broker, nor be asked again as fast as messages can come back.
    """
    uuid = uuid_of(site)
    with Ear(site, broker.brokers) as ear:
        heard(ear)
        before, site.nodes.silent = ear.listings, True
        broker.tell(notification(uuid=uuid))
        wait_until("a listing is owed", lambda: ear.listings > before)
        wait_until("the message is done with", lambda: broker.depth(broker.brokers.queue) == 0)
        site.nodes.silent = False
    assert broker.depth(broker.brokers.queue) == 0


def test_what_was_not_acknowledged_comes_again(broker: Broker, site: Watched) -> None:
    """
    A process that dies with messages in hand leaves them to the next one, which reads the same and tells once.
    """
    uuid = uuid_of(site)
    first = Ear(site, broker.brokers)
    first.listening._connect()
    site.nodes.lead(uuid, maintenance=True)
    broker.tell(notification(uuid=uuid))
    connection = first.listening._connection
    assert connection is not None
    wait_until(
        "it was given the message", lambda: (connection.process_data_events(0.1), first.listening._owed)[1] != []
    )
    site.observer.look([uuid])
    site.observer.judge()
    assert len(site.told(uuid)) == 1
    first.listening.close()  # killed before it said so

    reads = site.nodes.reads
    with Ear(site, broker.brokers):
        wait_until("it came again", lambda: site.nodes.reads > reads)
        wait_until("the message is done with", lambda: broker.depth(broker.brokers.queue) == 0)
    assert len(site.told(uuid)) == 1


def test_after_a_restart_of_the_broker_it_listens_again_and_lists(
    broker: Broker, site: Watched, logged: list[dict[str, Any]]
) -> None:
    """
    Exchange and bindings are gone with it: they are made anew, whatever was told meanwhile is listed. No password
    stands in a line of the log. A host of the URL that is away is passed over.
    """
    uuid = uuid_of(site)
    dead = Host("127.0.0.1", free_port(), "cloud", PASSWORD)
    brokers = Brokers(Cluster((dead, *broker.brokers.cluster.hosts)))
    with Ear(site, brokers) as ear:
        heard(ear)
        broker.down()
        wait_until("it notices", lambda: any(event["event"] == "notifications.away" for event in logged))
        before = ear.listings
        broker.up()
        wait_until("it listens again", lambda: ear.listings > before, 120)
        site.nodes.lead(uuid, maintenance=True)
        broker.tell(notification(uuid=uuid))
        wait_until("it is told", lambda: site.told(uuid) != [])

    assert PASSWORD not in repr(logged)
    assert [event for event in logged if event["event"] == "notifications.host_away"]


def test_an_exchange_that_is_there_is_taken_as_it_is(broker: Broker, site: Watched) -> None:
    """
    Ironic declared it as durable; to declare it otherwise would be refused, and would break Ironic if it came first.
    """
    uuid = uuid_of(site)
    with broker.channel() as channel:
        channel.exchange_declare("ironic-durable", "topic", durable=True)
    brokers = Brokers(broker.brokers.cluster, exchange="ironic-durable", queue="bms-test-durable")
    with Ear(site, brokers) as ear:
        heard(ear)
        site.nodes.lead(uuid, maintenance=True)
        with broker.channel() as channel:
            channel.basic_publish("ironic-durable", "ironic_versioned_notifications.error", notification(uuid=uuid))
        wait_until("it is told", lambda: site.told(uuid) != [])
