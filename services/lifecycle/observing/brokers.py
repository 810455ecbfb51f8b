# SPDX-License-Identifier: Apache-2.0
"""Where Ironic's notifications are to be had: the broker's URL, in the form that OpenStack's services use.

``rabbit://user:password@host1:5672,user:password@host2:5672/vhost``; schemes rabbit and amqp, or amqps for TLS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote

from services.kernel.errors import InvalidField

_SECONDS = "BMS_LIFECYCLE_IRONIC_LIST_SECONDS"
_URL = "BMS_LIFECYCLE_IRONIC_NOTIFICATIONS"
_SCHEMES = {"amqp": 5672, "rabbit": 5672, "amqps": 5671}
_WRONG = "Give it as rabbit://USER:PASSWORD@HOST:5672,USER:PASSWORD@HOST:5672/VHOST."


@dataclass(frozen=True, slots=True)
class Host:
    """One broker of a cluster."""

    name: str
    port: int
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Brokers:
    """Where and how to listen.

    Attributes:
        vhost: the virtual host.
        tls: whether to speak TLS.
        ca: the CA of the brokers (PEM); None: the machine's.
        durable: whether Ironic declares its exchange as durable (``amqp_durable_queues``): it is declared the same
            where it is missing, else Ironic could not declare it any more.
        exchange: Ironic's ``control_exchange``.
        topic: its ``versioned_notifications_topics``.
        queue: our own queue, which replicas share.
    """

    hosts: tuple[Host, ...]
    vhost: str = "/"
    tls: bool = False
    ca: Path | None = None
    durable: bool = False
    exchange: str = "ironic"
    topic: str = "ironic_versioned_notifications"
    queue: str = "bms-lifecycle-ironic"


@dataclass(frozen=True, slots=True)
class Observing:
    """How Ironic is looked at.

    Attributes:
        every: how often what changed is listed.
        brokers: where its notifications are; None: listings alone.
    """

    every: timedelta = timedelta(seconds=30)
    brokers: Brokers | None = None


def read_observing(environ: Mapping[str, str]) -> Observing:
    """The settings in *environ*.

    Raises:
        InvalidField: one cannot be understood; no password is repeated.
    """
    text = environ.get(_SECONDS, "").strip() or "30"
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 1 <= seconds <= 3600:
        remedy = "Correct it or leave it out."
        raise InvalidField(_SECONDS, f"{text[:40]!r} is not a number from 1 to 3600", remedy=remedy)
    return Observing(timedelta(seconds=seconds), _brokers(environ))


def _brokers(environ: Mapping[str, str]) -> Brokers | None:
    url, file = environ.get(_URL, "").strip(), environ.get(_URL + "_FILE", "").strip()
    if url and file:
        raise InvalidField(_URL, f"is given beside {_URL}_FILE", remedy="Give one of the two.")
    if file:
        try:
            url = Path(file).expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidField(_URL + "_FILE", f"cannot be read: {type(error).__name__}") from None
    if not url:
        return None
    ca = environ.get(_URL + "_CA", "").strip()
    durable = environ.get(_URL + "_DURABLE", "").strip().lower()
    if durable not in ("", "0", "1", "true", "false"):
        raise InvalidField(_URL + "_DURABLE", f"{durable[:40]!r} is neither 1 nor 0")
    hosts, vhost, tls = parse(url)
    return Brokers(hosts, vhost, tls, Path(ca).expanduser() if ca else None, durable in ("1", "true"))


def parse(url: str) -> tuple[tuple[Host, ...], str, bool]:
    """Hosts, virtual host, and whether TLS is spoken.

    Raises:
        InvalidField: *url* cannot be understood; nothing of it is repeated, since it holds passwords.
    """
    scheme, separator, rest = url.partition("://")
    # What a service of OpenStack's may have behind it, such as its own TLS options, is not ours.
    rest = rest.partition("?")[0]
    place, _, path = rest.partition("/")
    if not separator or scheme not in _SCHEMES or not place:
        raise InvalidField(_URL, "is no URL of a message broker", remedy=_WRONG)
    hosts = tuple(_host(part, _SCHEMES[scheme]) for part in place.split(","))
    return hosts, unquote(path) or "/", scheme == "amqps"


def _host(part: str, port: int) -> Host:
    login, _, place = part.rpartition("@")
    user, _, password = login.partition(":")
    if place.startswith("["):
        name, _, tail = place[1:].partition("]")
        number = tail.removeprefix(":")
    else:
        name, _, number = place.partition(":")
    if not name or (number and not (number.isascii() and number.isdigit() and 0 < int(number) < 65536)):
        raise InvalidField(_URL, "names a broker without host or with a port that is none", remedy=_WRONG)
    return Host(name, int(number or port), unquote(user) or "guest", unquote(password) or "guest")
