# SPDX-License-Identifier: Apache-2.0
"""Contrail: whether its API servers show us everything, as they are set up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from services.cli.doctor.checks.endpoints import AHEAD, answers, clock, tls
from services.cli.doctor.contrail_facts import ApiServer, Contrail
from services.cli.doctor.facts import Endpoint, Facts
from services.cli.doctor.verdicts import Check, Line, Said, check, failed, passed, some, unless_seen, unseen, warned

OURS = "environment of network and ipam"
CONF = "contrail-api.conf"
_URLS = "http://CONTROLLER1:8082,http://CONTROLLER2:8082"


def each_of(judge: Callable[[ApiServer], Iterator[Said]]) -> Callable[[Facts], Iterator[Said]]:
    """*judge* of every API server, by its URL."""

    def judged(facts: Facts) -> Iterator[Said]:
        for one in facts.contrail.servers if facts.contrail else ():
            for said in judge(one):
                yield replace(said, subject=one.endpoint.url)

    return judged


def _of_endpoint(judge: Callable[[Endpoint], Iterator[Said]]) -> Callable[[Facts], Iterator[Said]]:
    return each_of(lambda one: judge(one.endpoint))


def _answers(one: ApiServer) -> Iterator[Said]:
    """As `answers`, but for the URL, which is the subject here."""
    for said in answers(one.endpoint):
        text = said.text.removeprefix(one.endpoint.url).removeprefix(": ")
        yield replace(said, text=text or "it answers")


def where_it_answers(judge: Callable[[Contrail], Iterator[Said]]) -> Callable[[Facts], Iterator[Said]]:
    """*judge* of what was seen, if any API server answers."""

    def judged(facts: Facts) -> Iterator[Said]:
        if facts.contrail and facts.contrail.endpoint.answers:
            yield from judge(facts.contrail)

    return judged


@check(
    "CONTRAIL_SETTINGS",
    "The settings of ipam and network can be understood, and both are Contrail's.",
    "Correct them. Servers' ports by Contrail and addresses that it does not know means that its DHCP answers nobody.",
    lines=(
        Line(OURS, "", "BMS_IPAM_BACKEND", "contrail"),
        Line(OURS, "", "BMS_IPAM_CONTRAIL_URLS", _URLS),
        Line(OURS, "", "BMS_NETWORK_BACKEND", "contrail"),
        Line(OURS, "", "BMS_NETWORK_CONTRAIL_URLS", _URLS),
    ),
)
def settings(facts: Facts) -> Iterator[Said]:
    """As far as they are in this environment."""
    found = facts.contrail
    if found is None:
        return
    for name, why in found.faults:
        yield failed(why, name, lines=(Line(OURS, "", name, "..."),))
    if not found.settings and not found.faults:
        yield unseen("the settings of the services are not in this environment (BMS_NETWORK_CONTRAIL_URLS and others)")
    elif found.settings == ("network",):
        lines = (Line(OURS, "", "BMS_IPAM_BACKEND", "contrail"), Line(OURS, "", "BMS_IPAM_CONTRAIL_URLS", _URLS))
        yield warned("network's alone: addresses are not kept in Contrail", lines=lines)
    elif found.settings == ("ipam",):
        lines = (Line(OURS, "", "BMS_NETWORK_BACKEND", "contrail"), Line(OURS, "", "BMS_NETWORK_CONTRAIL_URLS", _URLS))
        yield warned("ipam's alone: addresses are kept in Contrail, and server ports are not moved there", lines=lines)
    elif found.settings:
        yield passed(f"network and ipam, {len(found.servers)} API server{'' if len(found.servers) == 1 else 's'}")


def _login(one: ApiServer) -> Iterator[Said]:
    if not one.endpoint.answers:
        return
    if one.open:
        yield passed("it asks nobody who he is")
    elif "(401)" in one.site.why or "refuses the login" in one.site.why:
        yield failed(f"our login is refused: {one.site.why}")
    elif one.site.value is None and "(403)" not in one.site.why:
        yield unseen(one.site.why)
    else:
        yield passed("it takes our token")


def _admin(one: ApiServer) -> Iterator[Said]:
    if not one.endpoint.answers:
        return
    if one.open:
        yield passed("everybody is, in mode no-auth")
    elif one.admin.value is None:
        yield unseen(one.admin.why)
    elif one.admin.value:
        yield passed("our login has the role")
    else:
        yield failed("our login has not the role: lists leave out what it may not read, and taken addresses look free")


def _mode(one: ApiServer) -> Iterator[Said]:
    if not one.endpoint.answers:
        return
    if one.mode.value is None:
        yield unseen(one.mode.why)
    elif one.open:
        yield warned("no-auth: whoever reaches it may read and change everything")
    else:
        yield passed(one.mode.value)


@check(
    "CONTRAIL_TOKEN",
    "The services show Contrail a token, unless it asks for none.",
    "Name the cloud whose Keystone Contrail asks.",
    lines=(
        Line(OURS, "", "BMS_NETWORK_CONTRAIL_CLOUD", "CLOUD"),
        Line(OURS, "", "BMS_IPAM_CONTRAIL_CLOUD", "CLOUD"),
    ),
)
@where_it_answers
def token(found: Contrail) -> Iterator[Said]:
    """By the settings, and what Contrail says of itself."""
    asking = [one.endpoint.url for one in found.servers if one.endpoint.answers and not one.open]
    if not asking:
        yield passed("it asks for none")
    elif found.tokenless:
        lines = tuple(Line(OURS, "", name, "CLOUD") for name in found.tokenless)
        yield failed(f"{some(found.tokenless)} names none, and {some(asking)} asks for one", lines=lines)
    elif found.settings:
        yield passed("the settings name a cloud")
    else:
        yield unseen("the settings of the services are not in this environment")


@check(
    "CONTRAIL_ONE",
    "All API servers are of one Contrail: whichever is asked, the same networks and addresses are there.",
    "Name the API servers of one Contrail.",
    lines=(
        Line(OURS, "", "BMS_NETWORK_CONTRAIL_URLS", _URLS),
        Line(OURS, "", "BMS_IPAM_CONTRAIL_URLS", _URLS),
    ),
)
@where_it_answers
def one_contrail(found: Contrail) -> Iterator[Said]:
    """By the uuid of their global configuration."""
    sites: dict[str, list[str]] = {}
    for one in found.servers:
        if one.site.value:
            sites.setdefault(one.site.value, []).append(one.endpoint.url)
    if len(sites) > 1:
        yield failed(f"there are {len(sites)}: {'; '.join(some(urls) for urls in sites.values())}")
    elif sites:
        yield passed(f"{len(next(iter(sites.values())))} of one")
    else:
        yield unseen("none shows its global configuration")


@check(
    "CONTRAIL_PROJECTS",
    "Contrail has the projects that the settings name for the site's own networks and addresses.",
    "Make it in Keystone, and let Contrail learn of it; or name one that is there.",
    lines=(
        Line(OURS, "", "BMS_NETWORK_CONTRAIL_PROJECT", "default-domain:bms"),
        Line(OURS, "", "BMS_IPAM_CONTRAIL_PROJECT", "default-domain:bms"),
    ),
)
@where_it_answers
def projects(found: Contrail) -> Iterator[Said]:
    """By their full names."""
    yield from unless_seen(found.projects)
    if found.projects.value == ():
        yield unseen("the settings of the services are not in this environment")
    for one in found.projects.value or ():
        lines = (Line(OURS, "", one.setting, "default-domain:bms"),)
        yield (
            passed(one.name, one.setting) if one.there else failed(f"there is no {one.name}", one.setting, lines=lines)
        )


CHECKS: tuple[Check, ...] = (
    settings,
    check(
        "CONTRAIL_ANSWERS",
        "Every API server that is named answers.",
        "Start it, or correct its URL: where one of several is away the others are asked, after a wait. If its "
        "certificate is not trusted, name its CA.",
        lines=(
            Line(OURS, "", "BMS_NETWORK_CONTRAIL_URLS", _URLS), Line(OURS, "", "BMS_IPAM_CONTRAIL_URLS", _URLS),
            Line("clouds.yaml", "clouds.NAME", "cacert", "/path/to/ca.pem"),
        ),
        commands=("contrail-status",),
    )(each_of(_answers)),
    check(
        "CONTRAIL_TLS",
        "It is asked over TLS, or on this machine; its certificate is verified and does not end soon.",
        "Serve it over TLS, and give its https URL; renew a certificate that ends.",
        lines=(
            Line(CONF, "DEFAULTS", "config_api_ssl_enable", "True"),
            Line(OURS, "", "BMS_NETWORK_CONTRAIL_URLS", "https://CONTROLLER1:8082,https://CONTROLLER2:8082"),
            Line(OURS, "", "BMS_IPAM_CONTRAIL_URLS", "https://CONTROLLER1:8082,https://CONTROLLER2:8082"),
            Line("clouds.yaml", "clouds.NAME", "verify", "true"),
        ),
    )(_of_endpoint(tls)),
    check(
        "CONTRAIL_CLOCK",
        f"The clock of each API server's machine and ours differ by less than {AHEAD:.0f} s.",
        "Let both keep time by NTP: tokens, claims and evidence are judged by it.",
        commands=("chronyc tracking", "timedatectl set-ntp true"),
    )(_of_endpoint(clock)),
    check(
        "CONTRAIL_LOGIN",
        "Each takes the token of the login.",
        "Correct the login, or name the cloud whose Keystone Contrail asks.",
        lines=(
            Line(OURS, "", "BMS_NETWORK_CONTRAIL_CLOUD", "CLOUD"), Line(OURS, "", "BMS_IPAM_CONTRAIL_CLOUD", "CLOUD"),
            Line("clouds.yaml", "clouds.NAME.auth", "password", "..."),
        ),
        commands=("openstack --os-cloud CLOUD token issue",),
    )(each_of(_login)),
    token,
    check(
        "CONTRAIL_ADMIN",
        "The login has the role of Contrail's cloud admin: from anybody else lists hide things without a word.",
        "Grant the role that each API server names so, or have them name one that the login has.",
        lines=(Line(CONF, "DEFAULTS", "cloud_admin_role", "admin"),),
        commands=("openstack role add --user bms --project service admin",),
    )(each_of(_admin)),
    check(
        "CONTRAIL_MODE",
        "Each asks who one is, and lets tenants do what they may alone.",
        "Set the mode, and restart it. In mode no-auth Contrail keeps nobody from servers' networks.",
        lines=(Line(CONF, "DEFAULTS", "aaa_mode", "rbac"),),
    )(each_of(_mode)),
    one_contrail,
    projects,
)  # fmt: skip
