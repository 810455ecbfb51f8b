# SPDX-License-Identifier: Apache-2.0
"""RabbitMQ for those who listen to OpenStack's notifications: where it is, and a connection to it."""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import structlog

from services.kernel.errors import InvalidField

if TYPE_CHECKING:
    from pika.adapters.blocking_connection import BlockingConnection

_TIMEOUT = 5.0
_HEARTBEAT = 60
_LEAST, _MOST = timedelta(seconds=1), timedelta(seconds=60)
_SCHEMES = {"amqp": 5672, "rabbit": 5672, "amqps": 5671}
_WRONG = "Give it as rabbit://USER:PASSWORD@HOST:5672,USER:PASSWORD@HOST:5672/VHOST."

_log = structlog.get_logger("bms.notifications")


@dataclass(frozen=True, slots=True)
class Host:
    """One broker of a cluster."""

    name: str
    port: int
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Tls:
    """How TLS is spoken.

    Attributes:
        ca: the CA of the brokers (PEM); None: the machine's.
        certificate, key: what we show to them, if they want to see something.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Cluster:
    """Brokers, one after the other.

    Attributes:
        vhost: the virtual host.
        tls: None: plain TCP.
    """

    hosts: tuple[Host, ...]
    vhost: str = "/"
    tls: Tls | None = None


def parse(url: str, field: str) -> tuple[tuple[Host, ...], str, bool]:
    """Hosts, virtual host, and whether TLS is spoken.

    ``rabbit://user:password@host1:5672,user:password@host2:5672/vhost``, as OpenStack's services have it; schemes
    rabbit and amqp, or amqps for TLS.

    Raises:
        InvalidField: *url*, the value of *field*, cannot be understood; nothing of it is repeated, since it holds
            passwords.
    """
    scheme, separator, rest = url.partition("://")
    # What a service of OpenStack's may have behind it, such as its own TLS options, is not ours.
    rest = rest.partition("?")[0]
    place, _, path = rest.partition("/")
    if not separator or scheme not in _SCHEMES or not place:
        raise InvalidField(field, "is no URL of a message broker", remedy=_WRONG)
    hosts = tuple(_host(part, _SCHEMES[scheme], field) for part in place.split(","))
    return hosts, unquote(path) or "/", scheme == "amqps"


def connect(cluster: Cluster, name: str) -> BlockingConnection:
    """A connection to the first host of *cluster* that takes one; *name* is how the broker shows us.

    Raises:
        AMQPError, OSError: none does; of the last of them. What these say may quote the login.
    """
    import pika
    from pika.exceptions import AMQPError

    # Its own lines are many, and may quote the login; what it warns of we say ourselves.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    last: Exception = OSError("no broker")
    for host in cluster.hosts:
        try:
            return pika.BlockingConnection(_parameters(cluster, host, name))
        except (AMQPError, OSError) as error:
            last = error
            _log.info("notifications.host_away", host=host.name, port=host.port, error=type(error).__name__)
    raise last


def backoff(failures: int, chance: float) -> timedelta:
    """How long to wait after so many failures in a row; *chance*, from 0 to 1, spreads those who wait."""
    full = min(_MOST, _LEAST * int(2 ** min(failures - 1, 10)))
    return full * (0.5 + chance / 2)


def _parameters(cluster: Cluster, host: Host, name: str) -> Any:  # pika's own types say nothing
    import pika

    tls = None
    if cluster.tls is not None:
        context = ssl.create_default_context(cafile=str(cluster.tls.ca) if cluster.tls.ca else None)
        if cluster.tls.certificate is not None:
            context.load_cert_chain(cluster.tls.certificate, cluster.tls.key)
        tls = pika.SSLOptions(context, host.name)
    return pika.ConnectionParameters(
        host=host.name, port=host.port, virtual_host=cluster.vhost, ssl_options=tls,
        credentials=pika.PlainCredentials(host.user, host.password, erase_on_connect=True),
        heartbeat=_HEARTBEAT, blocked_connection_timeout=_TIMEOUT, socket_timeout=_TIMEOUT, stack_timeout=2 * _TIMEOUT,
        connection_attempts=1, client_properties={"connection_name": name},
    )  # fmt: skip


def _host(part: str, port: int, field: str) -> Host:
    login, _, place = part.rpartition("@")
    user, _, password = login.partition(":")
    if place.startswith("["):
        name, _, tail = place[1:].partition("]")
        number = tail.removeprefix(":")
    else:
        name, _, number = place.partition(":")
    if not name or (number and not (number.isascii() and number.isdigit() and 0 < int(number) < 65536)):
        raise InvalidField(field, "names a broker without host or with a port that is none", remedy=_WRONG)
    return Host(name, int(number or port), unquote(user) or "guest", unquote(password) or "guest")
