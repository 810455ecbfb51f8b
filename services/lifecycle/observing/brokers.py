# SPDX-License-Identifier: Apache-2.0
"""Where Ironic's notifications are to be had: the broker's URL, in the form that OpenStack's services use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from services.kernel.errors import InvalidField
from services.runtime.rabbitmq import Cluster, Tls, parse

_SECONDS = "BMS_LIFECYCLE_IRONIC_LIST_SECONDS"
_URL = "BMS_LIFECYCLE_IRONIC_NOTIFICATIONS"


@dataclass(frozen=True, slots=True)
class Brokers:
    """Where and how to listen.

    Attributes:
        durable: whether Ironic declares its exchange as durable (``amqp_durable_queues``): it is declared the same
            where it is missing, else Ironic could not declare it any more.
        exchange: Ironic's ``control_exchange``.
        topic: its ``versioned_notifications_topics``.
        queue: our own queue, which replicas share.
    """

    cluster: Cluster
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
    hosts, vhost, tls = parse(url, _URL)
    spoken = Tls(Path(ca).expanduser() if ca else None) if tls else None
    return Brokers(Cluster(hosts, vhost, spoken), durable in ("1", "true"))
