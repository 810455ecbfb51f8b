# SPDX-License-Identifier: Apache-2.0
"""Our own five services."""

from __future__ import annotations

from collections.abc import Iterator

from services.cli.doctor.checks.endpoints import AHEAD, DAYS, skew
from services.cli.doctor.facts import Facts, Service
from services.cli.doctor.verdicts import Line, Said, check, failed, passed, some, unseen, warned

_ENVIRONMENT = "environment of the services"
RECENT = 120.0
"""A checkpoint older than so many seconds says nothing of the clock: it was quiet since."""


def _each(facts: Facts) -> Iterator[Service]:
    yield from facts.services or ()


@check(
    "SERVICES_ANSWER",
    "Each of the five services serves.",
    "Start it (`bms up`, or its unit), look at its log, or say where it listens: --endpoint SERVICE=HOST:PORT, --data.",
    lines=(Line(_ENVIRONMENT, "", "BMS_<SERVICE>_ADDRESS", "HOST:PORT"),),
    commands=("bms status",),
)
def answer(facts: Facts) -> Iterator[Said]:
    """Health."""
    for each in _each(facts):
        if each.health == "serving":
            yield passed(each.endpoint.url, each.name)
        else:
            yield failed(f"{each.endpoint.url}: {each.endpoint.why or each.health}", each.name)


@check(
    "SERVICES_TLS",
    "Each is called over TLS, or on this machine, and its certificate does not end soon.",
    "Give the services a certificate, and callers the CA.",
    lines=(
        Line(_ENVIRONMENT, "", "BMS_TLS_CERT", "/path/to/cert.pem"),
        Line(_ENVIRONMENT, "", "BMS_TLS_KEY", "/path/to/key.pem"),
        Line(_ENVIRONMENT, "", "BMS_TLS_CA", "/path/to/ca.pem"),
    ),
)
def tls(facts: Facts) -> Iterator[Said]:
    """The way to them."""
    for each in _each(facts):
        found = each.endpoint
        if not found.tls and not found.local:
            yield failed("it is called in clear: tokens cross the network", each.name)
        elif not found.answers and found.days is None:
            continue
        elif not found.tls:
            yield passed("on this machine, in clear", each.name)
        elif found.days is None:
            yield unseen("when its certificate ends", each.name)
        elif found.days < 0:
            yield failed(f"its certificate ended {-found.days:.0f} days ago", each.name)
        elif found.days < DAYS:
            yield warned(f"its certificate ends in {found.days:.0f} days", each.name)
        else:
            yield passed(f"its certificate is valid for {found.days:.0f} days", each.name)


@check(
    "SERVICES_CONTRACT",
    "Each has every method that this command's release knows.",
    "Upgrade the services to this command's release, or use the command of theirs.",
    commands=("bms --version",),
)
def contract(facts: Facts) -> Iterator[Said]:
    """What reflection tells."""
    for each in _each(facts):
        if not each.endpoint.answers:
            continue
        lacks = each.lacks.value
        if lacks is None:
            yield unseen(each.lacks.why, each.name)
        elif lacks:
            yield failed(f"it is of another release: it lacks {some(lacks)}", each.name)
        else:
            yield passed("every method is there", each.name)


@check(
    "SERVICES_LOGIN",
    "Each takes the token that we show.",
    "Show another: --as LOGIN, --token-file FILE; for Keystone's tokens the services need a login of their own.",
    lines=(Line(_ENVIRONMENT, "", "BMS_KEYSTONE_CLOUD", "CLOUD"),),
    commands=("bms token list",),
)
def login(facts: Facts) -> Iterator[Said]:
    """Whether we are known."""
    for each in _each(facts):
        if not each.endpoint.answers:
            continue
        if each.login.value:
            yield passed("our token is taken", each.name)
        else:
            yield failed(each.login.why, each.name)


@check(
    "SERVICES_CLOCK",
    f"Their clocks and ours differ by less than {AHEAD:.0f} s.",
    "Let both keep time by NTP: evidence, claims and cool-downs are judged by it.",
    commands=("chronyc tracking", "timedatectl set-ntp true"),
)
def clock(facts: Facts) -> Iterator[Said]:
    """By the newest checkpoint: signed within a second of the last event, so recent ones tell the time."""
    for each in _each(facts):
        if not each.login.value or each.name == "telemetry":
            continue
        age = each.newest.value
        if age is None:
            yield unseen(each.newest.why, each.name)
        elif age < 0:
            yield skew(-age, 1.0, each.name)
        elif age > RECENT:
            yield unseen("nothing happened lately by which to tell; it is not ahead of ours", each.name)
        else:
            yield passed(f"not ahead of ours, nor more than {age:.0f} s behind", each.name)


@check(
    "SERVICES_FOLLOWED",
    "Telemetry reaches the log of every service.",
    "Say where they are in telemetry's environment, and see that its token is theirs.",
    lines=(
        Line("environment of telemetry", "", "BMS_<SERVICE>_ADDRESS", "HOST:PORT"),
        Line("environment of telemetry", "", "BMS_SERVICE_TOKEN_FILE", "/path/to/service.token"),
    ),
    commands=("tail telemetry.log",),
)
def followed(facts: Facts) -> Iterator[Said]:
    """What its pipeline says."""
    for each in _each(facts):
        if each.name != "telemetry" or not each.login.value:
            continue
        if each.reads.value is None:
            yield unseen(each.reads.why, each.name)
            continue
        lost = sorted(name for name, reached in each.reads.value.items() if not reached)
        if lost:
            yield failed(f"it does not reach {', '.join(lost)}: events are late, none is lost", each.name)
        else:
            yield passed(f"it reads {', '.join(sorted(each.reads.value))}", each.name)


CHECKS = (answer, tls, contract, login, clock, followed)
