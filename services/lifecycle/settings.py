# SPDX-License-Identifier: Apache-2.0
"""Settings of lifecycle's own, beside those of services/runtime/settings.py.

BMS_LIFECYCLE_BACKEND          the hardware: simulated or ironic; simulated
BMS_LIFECYCLE_IRONIC_CLOUD     ironic: the cloud's name in clouds.yaml, which holds endpoint and login
BMS_LIFECYCLE_IRONIC_ENDPOINT  ironic: instead, the URL of an Ironic without authentication
BMS_LIFECYCLE_REDFISH_CA       ironic: a file on its conductors with the CA of Redfish certificates; none: not verified
BMS_LIFECYCLE_NOVA_CLOUD       ironic: the cloud in clouds.yaml whose Nova deploys what flavors ask it to; none
BMS_LIFECYCLE_NOVA_TRAIT       the trait by which flavors ask for that, and the deploy template's name; CUSTOM_BMS_HELD
BMS_LIFECYCLE_NEUTRON_MODE     ironic: who moves ports, as with network: flip (we do, nodes have interface noop) or
                               observed (Ironic does, by its interface neutron); flip
BMS_LIFECYCLE_NEUTRON_CLOUD    ironic: in mode observed, the cloud in clouds.yaml whose Neutron has the leases' ports;
                               that of Nova or Ironic
BMS_LIFECYCLE_IRONIC_LIST_SECONDS  ironic: how often nodes that changed are listed; 30
BMS_LIFECYCLE_IRONIC_NOTIFICATIONS, _FILE  ironic: the URL of the broker that its notifications go to, or a file with it
                               (rabbit://USER:PASSWORD@HOST:5672,.../VHOST, amqps:// for TLS); none: listings alone
BMS_LIFECYCLE_IRONIC_NOTIFICATIONS_CA  the CA (PEM) of brokers that speak TLS; the machine's
BMS_LIFECYCLE_IRONIC_NOTIFICATIONS_DURABLE  1 where Ironic's exchange is durable (amqp_durable_queues); 0
BMS_LIFECYCLE_WORKERS          walks at a time; 8
BMS_LIFECYCLE_POLL_SECONDS     the longest delay between two looks at the same wait; 5
BMS_LIFECYCLE_PATROL_SECONDS   how often a server at rest is looked at; 900
BMS_LIFECYCLE_LIMIT_SCALE      multiplies every step's time limit: below 1 a fast clock for rehearsals; 1
BMS_LIFECYCLE_REMEDY_TRIES     how often a wait's own remedy may run in one step, 0 for never; 3
BMS_LIFECYCLE_REMEDY_SECONDS   how long a wait lasts before its remedy is tried, and between two tries; 60
BMS_LIFECYCLE_BRAKE_MOST       how many servers in use may be set aside by themselves in one window; 3
BMS_LIFECYCLE_BRAKE_SHARE      or this share of them, whichever is larger; 0.05
BMS_LIFECYCLE_BRAKE_SECONDS    the window; 3600
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from services.kernel.errors import InvalidField
from services.lifecycle.domain.brake import Policy
from services.lifecycle.domain.remedies import Budget
from services.lifecycle.observing.brokers import Observing, read_observing
from services.lifecycle.pace import Pace

_HELD = "CUSTOM_BMS_HELD"
_BACKENDS = ("simulated", "ironic")
_MODES = ("flip", "observed")
_TRAIT = re.compile(r"CUSTOM_[A-Z0-9_]{1,248}")


@dataclass(frozen=True, slots=True)
class IronicSettings:
    """Which Ironic, one of the two; and how its conductors know a BMC."""

    cloud: str = ""
    """A name in clouds.yaml."""
    endpoint: str = ""
    """A URL that asks for no login."""
    redfish_ca: str = ""
    """See services/lifecycle/backends/ironic_facts.py."""


@dataclass(frozen=True, slots=True)
class NovaSettings:
    """Which Nova, and which flavors are its."""

    cloud: str = ""
    """A name in clouds.yaml; empty: none."""
    trait: str = _HELD
    """See services/lifecycle/backends/nova.py."""


@dataclass(frozen=True, slots=True)
class LifecycleSettings:
    """What the worker is told."""

    backend: str
    """Which hardware."""
    workers: int
    """Walks at a time."""
    pace: Pace
    """How quickly it looks again."""
    ironic: IronicSettings = IronicSettings()
    """Of backend ironic alone."""
    nova: NovaSettings = NovaSettings()
    """Of backend ironic alone."""
    neutron_cloud: str = ""
    """In whose Neutron Ironic moves ports; empty: we move them, wherever they are."""
    brake: Policy = field(default_factory=Policy)
    """How far it goes by itself with servers in use."""
    observing: Observing = field(default_factory=Observing)
    """How what others do in Ironic is seen; of backend ironic alone."""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> LifecycleSettings:
        """The settings in *environ*.

        Raises:
            InvalidField: a variable cannot be understood; its name is the field.
        """
        backend = environ.get("BMS_LIFECYCLE_BACKEND", "").strip() or _BACKENDS[0]
        if backend not in _BACKENDS:
            raise InvalidField(
                "BMS_LIFECYCLE_BACKEND", f"{backend[:40]!r} is unknown", remedy=f"Give one of: {', '.join(_BACKENDS)}."
            )
        ironic = _ironic(environ) if backend == "ironic" else IronicSettings()
        nova = _nova(environ) if backend == "ironic" else NovaSettings()
        scale = _number(environ, "BMS_LIFECYCLE_LIMIT_SCALE", 1, least=0.0001, most=1000)
        return cls(
            backend=backend,
            workers=_count(environ, "BMS_LIFECYCLE_WORKERS", 8, least=1, most=256),
            pace=Pace(
                most=timedelta(seconds=_number(environ, "BMS_LIFECYCLE_POLL_SECONDS", 5, least=0.05, most=600)),
                patrol=timedelta(seconds=_number(environ, "BMS_LIFECYCLE_PATROL_SECONDS", 900, least=0.1, most=86400)),
                limit_scale=scale,
                budget=_budget(environ, scale, resets_bmc=backend == "simulated"),
            ),
            ironic=ironic,
            nova=nova,
            neutron_cloud=_observed(environ, nova.cloud or ironic.cloud) if backend == "ironic" else "",
            brake=Policy(
                most=_count(environ, "BMS_LIFECYCLE_BRAKE_MOST", 3, least=0, most=100_000),
                share=_number(environ, "BMS_LIFECYCLE_BRAKE_SHARE", 0.05, least=0, most=1),
                window=timedelta(seconds=_number(environ, "BMS_LIFECYCLE_BRAKE_SECONDS", 3600, least=1, most=604800)),
            ),
            observing=read_observing(environ) if backend == "ironic" else Observing(),
        )


def _budget(environ: Mapping[str, str], scale: float, *, resets_bmc: bool) -> Budget:
    cool_down = timedelta(seconds=_number(environ, "BMS_LIFECYCLE_REMEDY_SECONDS", 60, least=0.1, most=86400)) * scale
    tries = _count(environ, "BMS_LIFECYCLE_REMEDY_TRIES", 3, least=0, most=1000)
    return Budget(tries, cool_down, max(cool_down, Budget().seldom * scale), resets_bmc)


def _ironic(environ: Mapping[str, str]) -> IronicSettings:
    found = IronicSettings(
        cloud=environ.get("BMS_LIFECYCLE_IRONIC_CLOUD", "").strip(),
        endpoint=environ.get("BMS_LIFECYCLE_IRONIC_ENDPOINT", "").strip().rstrip("/"),
        redfish_ca=environ.get("BMS_LIFECYCLE_REDFISH_CA", "").strip(),
    )
    if bool(found.cloud) == bool(found.endpoint):
        raise InvalidField(
            "BMS_LIFECYCLE_IRONIC_CLOUD",
            "is given beside BMS_LIFECYCLE_IRONIC_ENDPOINT" if found.cloud else "is missing",
            remedy="Name a cloud of clouds.yaml, or give BMS_LIFECYCLE_IRONIC_ENDPOINT; not both.",
        )
    return found


def _nova(environ: Mapping[str, str]) -> NovaSettings:
    trait = environ.get("BMS_LIFECYCLE_NOVA_TRAIT", "").strip() or _HELD
    if not _TRAIT.fullmatch(trait):
        remedy = "Give a trait's name: CUSTOM_ and capital letters, digits and underscores."
        raise InvalidField(
            "BMS_LIFECYCLE_NOVA_TRAIT", f"{trait[:40]!r} is no trait that a template can have", remedy=remedy
        )
    return NovaSettings(environ.get("BMS_LIFECYCLE_NOVA_CLOUD", "").strip(), trait)


def _observed(environ: Mapping[str, str], default: str) -> str:
    """The cloud in whose Neutron Ironic moves ports; empty in mode flip."""
    mode = environ.get("BMS_LIFECYCLE_NEUTRON_MODE", "").strip() or _MODES[0]
    if mode not in _MODES:
        name, remedy = "BMS_LIFECYCLE_NEUTRON_MODE", f"Give one of: {', '.join(_MODES)}."
        raise InvalidField(name, f"{mode[:40]!r} is not a mode", remedy=remedy)
    cloud = environ.get("BMS_LIFECYCLE_NEUTRON_CLOUD", "").strip() or default
    if mode == _MODES[0]:
        return ""
    if not cloud:
        raise InvalidField(
            "BMS_LIFECYCLE_NEUTRON_CLOUD",
            "is missing: Ironic is told which of Neutron's ports are a server's",
            remedy="Name a cloud of clouds.yaml that has Neutron.",
        )
    return cloud


def _count(environ: Mapping[str, str], name: str, default: int, *, least: int, most: int) -> int:
    value = _number(environ, name, default, least=least, most=most)
    if not value.is_integer():
        description = f"{value:g} is not a whole number from {least} to {most}"
        raise InvalidField(name, description, remedy="Correct it or leave it out.")
    return int(value)


def _number(environ: Mapping[str, str], name: str, default: float, *, least: float, most: float) -> float:
    text = environ.get(name, "").strip()
    try:
        value = float(text or default)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise InvalidField(
            name, f"{text[:40]!r} is not a number from {least:g} to {most:g}", remedy="Correct it or leave it out."
        )
    return value
