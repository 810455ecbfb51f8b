# SPDX-License-Identifier: Apache-2.0
"""RabbitMQ: whether Ironic tells of what happens to its nodes."""

from __future__ import annotations

from collections.abc import Iterator

from services.cli.doctor.checks.endpoints import DAYS
from services.cli.doctor.facts import Facts
from services.cli.doctor.verdicts import Check, Line, Said, check, failed, passed, unseen, warned

CONF = "ironic.conf"
NOTIFICATIONS = (
    Line(CONF, "DEFAULT", "notification_level", "info"),
    Line(CONF, "oslo_messaging_notifications", "driver", "messagingv2"),
    Line(CONF, "DEFAULT", "transport_url", "rabbit://USER:PASSWORD@HOST:5672/"),
)


@check(
    "RABBITMQ_ANSWERS",
    "The broker answers.",
    "Start it, or correct the address in the file that --rabbitmq names.",
    commands=("rabbitmqctl status",),
)
def answers(facts: Facts) -> Iterator[Said]:
    """It speaks AMQP."""
    if facts.rabbitmq is not None:
        found = facts.rabbitmq.endpoint
        yield passed(found.url) if found.answers else failed(f"{found.url}: {found.why}" if found.url else found.why)


@check(
    "RABBITMQ_TLS",
    "The broker is asked over TLS, or on this machine: messages hold what nodes are and where.",
    "Let it listen with TLS, and have Ironic use that.",
    lines=(Line(CONF, "oslo_messaging_rabbit", "ssl", "true"),),
)
def tls(facts: Facts) -> Iterator[Said]:
    """The way to it."""
    if facts.rabbitmq is None or not facts.rabbitmq.endpoint.url:
        return
    found = facts.rabbitmq.endpoint
    if not found.tls:
        yield passed("on this machine, in clear") if found.local else failed("it is asked in clear, login included")
    elif found.days is not None and found.days < DAYS:
        yield warned(f"its certificate ends in {found.days:.0f} days")
    elif found.days is not None:
        yield passed(f"its certificate is valid for {found.days:.0f} days")


@check(
    "RABBITMQ_LOGIN",
    "It takes our login, and shows us its virtual host.",
    "Correct the login in the file, or allow it.",
    commands=("rabbitmqctl set_permissions -p / USER 'bms.*' 'bms.*' '.*'",),
)
def login(facts: Facts) -> Iterator[Said]:
    """With the URL's user."""
    if facts.rabbitmq is None or not facts.rabbitmq.endpoint.answers:
        return
    yield passed("taken") if facts.rabbitmq.login.value else failed(facts.rabbitmq.login.why)


@check(
    "RABBITMQ_EXCHANGE",
    "Exchange `ironic` is there: Ironic makes it when it first tells of something.",
    "Have Ironic send notifications, and restart its API and conductors.",
    lines=NOTIFICATIONS,
)
def exchange(facts: Facts) -> Iterator[Said]:
    """Without notifications we learn by asking, later."""
    if facts.rabbitmq is None or not facts.rabbitmq.login.value:
        return
    if facts.rabbitmq.exchange.value is None:
        yield unseen(facts.rabbitmq.exchange.why)
    elif facts.rabbitmq.exchange.value:
        yield passed("it is there")
    else:
        yield failed("it is not there: Ironic sends no notifications to this broker")


@check(
    "RABBITMQ_MESSAGE",
    "A change of a node is told within seconds. Tried only with --probe, which notes and removes `extra.bms_doctor` on "
    "a node.",
    "Have Ironic send notifications of level info, versioned ones.",
    lines=(*NOTIFICATIONS, Line(CONF, "DEFAULT", "versioned_notifications_topics", "ironic_versioned_notifications")),
)
def message(facts: Facts) -> Iterator[Said]:
    """The only proof."""
    if facts.rabbitmq is None or not facts.rabbitmq.exchange.value:
        return
    heard = facts.rabbitmq.heard
    if heard.value is None:
        yield unseen(heard.why)
    elif heard.value:
        yield passed(heard.value)
    else:
        yield failed("a node was changed, and nobody told of it")


CHECKS: tuple[Check, ...] = (answers, tls, login, exchange, message)
