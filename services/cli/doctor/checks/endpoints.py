# SPDX-License-Identifier: Apache-2.0
"""What is asked of every API of the cloud: whether it answers, over TLS, by the right time, in a version we speak."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from services.cli.doctor.facts import NEEDED, WANTED, Endpoint, Facts
from services.cli.doctor.verdicts import Check, Line, Said, check, failed, passed, unseen, warned

DAYS = 14
"""A certificate that ends sooner is worth a warning."""

AHEAD, FAR = 3.0, 30.0
"""Seconds by which a clock may differ, and by which it may not."""


def about(section: str, title: str) -> tuple[Check, ...]:
    """The checks of the API of *section*, which people call *title*."""
    upper = section.upper()
    first = (
        check(
            f"{upper}_ANSWERS",
            f"{title} answers at the address that the catalogue or the option names.",
            "Start it, or correct its URL in Keystone's catalogue; if its certificate is not trusted, name its CA.",
            lines=(Line("clouds.yaml", "clouds.NAME", "cacert", "/path/to/ca.pem"),),
            commands=() if section == "keystone" else (f"openstack endpoint list --service {title.lower()}",),
        )(_of(section, answers)),
        check(
            f"{upper}_TLS",
            f"{title} is asked over TLS, or on this machine; its certificate is verified and does not end soon.",
            "Serve it over TLS, and give its https URL in the catalogue; renew a certificate that ends.",
            lines=(Line("clouds.yaml", "clouds.NAME", "verify", "true"),),
        )(_of(section, tls)),
        check(
            f"{upper}_CLOCK",
            f"The clock of {title}'s machine and ours differ by less than {AHEAD:.0f} s.",
            "Let both keep time by NTP: tokens, claims and evidence are judged by it.",
            commands=("chronyc tracking", "timedatectl set-ntp true"),
        )(_of(section, clock)),
    )
    if section not in NEEDED:
        return first
    needed, wanted = NEEDED[section], WANTED.get(section, NEEDED[section])
    best = f", and {wanted}, with which all of it works" if wanted != needed else ""
    version = check(
        f"{upper}_VERSION",
        f"{title} speaks version {needed} of its API, without which we do not work{best}.",
        "Upgrade it: what we need was there in release 2023.1.",
    )(_of(section, lambda endpoint: _version(endpoint, needed, wanted)))
    return (*first, version)


def _of(section: str, judge: Callable[[Endpoint], Iterator[Said]]) -> Callable[[Facts], Iterator[Said]]:
    def judged(facts: Facts) -> Iterator[Said]:
        seen = getattr(facts, section)
        if seen is not None:
            yield from judge(seen.endpoint)

    return judged


def answers(endpoint: Endpoint) -> Iterator[Said]:
    """Whether it does."""
    if endpoint.answers or endpoint.kind == "refused":
        # A login that is refused has a check of its own.
        yield passed(endpoint.url)
    elif endpoint.kind in ("unasked", "absent"):
        yield unseen(endpoint.why)
    else:
        where = f"{endpoint.url}: " if endpoint.url else ""
        yield failed(f"{where}{endpoint.why}")


def tls(endpoint: Endpoint) -> Iterator[Said]:
    """Whether what is said to it stays between us."""
    if not endpoint.url:
        return
    if not endpoint.tls:
        yield (
            passed("on this machine, in clear")
            if endpoint.local
            else failed(f"{endpoint.url} is asked in clear: passwords and tokens cross the network")
        )
    elif endpoint.kind == "distrusted":
        yield failed(endpoint.why)
    elif not endpoint.verified:
        yield failed("its certificate is not verified (clouds.yaml says so): anybody may pose as it")
    elif endpoint.days is None:
        if endpoint.answers:
            yield unseen("when its certificate ends")
    elif endpoint.days < DAYS:
        yield warned(f"its certificate ends in {endpoint.days:.0f} days", lines=())
    else:
        yield passed(f"its certificate is valid for {endpoint.days:.0f} days")


def clock(endpoint: Endpoint) -> Iterator[Said]:
    """How far its clock is from ours."""
    if endpoint.answers:
        yield skew(endpoint.skew, endpoint.slack)


def skew(seconds: float | None, slack: float, subject: str = "", *, why: str = "its answers have no date") -> Said:
    """What is said of a clock that differs by *seconds*, known but for *slack*."""
    if seconds is None:
        return unseen(why, subject)
    sure = max(0.0, abs(seconds) - slack)
    text = f"{abs(seconds):.1f} s {'ahead of' if seconds > 0 else 'behind'} ours"
    if sure > FAR:
        return failed(text, subject)
    if sure > AHEAD:
        return warned(text, subject)
    return passed(f"within {max(abs(seconds), slack):.1f} s of ours", subject)


def _version(endpoint: Endpoint, needed: str, wanted: str) -> Iterator[Said]:
    if not endpoint.answers:
        return
    if not endpoint.most:
        yield unseen("it does not say which versions it speaks")
    elif _number(endpoint.most) < _number(needed):
        yield failed(f"it speaks {endpoint.least} to {endpoint.most}; {needed} is needed")
    elif endpoint.least and _number(endpoint.least) > _number(wanted):
        yield failed(f"it speaks {endpoint.least} to {endpoint.most} and no more {wanted}: use a newer release of ours")
    elif _number(endpoint.most) < _number(wanted):
        yield warned(f"it speaks {endpoint.least} to {endpoint.most}: enough to work, not for all that {wanted} brings")
    else:
        yield passed(f"{endpoint.least or '?'} to {endpoint.most}; {wanted} is needed")


def _number(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())
