# SPDX-License-Identifier: Apache-2.0
"""Keystone: the login, what it may do, and where it says that the others are."""

from __future__ import annotations

from collections.abc import Iterator

from services.cli.doctor.checks.endpoints import about
from services.cli.doctor.facts import CATALOGUE, Facts
from services.cli.doctor.verdicts import Check, Line, Said, Verdict, check, failed, passed, unseen, warned

WORD = {"baremetal": "Ironic", "network": "Neutron", "placement": "Placement", "compute": "Nova", "image": "Glance"}
"""What people call the service of a type."""


@check(
    "KEYSTONE_LOGIN",
    "Keystone takes the login of the cloud that was named.",
    "Correct user, password and project in clouds.yaml.",
    lines=(Line("clouds.yaml", "clouds.NAME.auth", "password", "..."),),
    commands=("openstack --os-cloud NAME token issue",),
)
def login(facts: Facts) -> Iterator[Said]:
    """Whether there is a token."""
    found = facts.keystone
    if found is None:
        return
    if found.endpoint.kind == "refused":
        lines = (Line("clouds.yaml", f"clouds.{found.cloud}.auth", "password", "..."),)
        command = f"openstack --os-cloud {found.cloud} token issue"
        yield Said(Verdict.FAIL, found.endpoint.why, lines=lines, commands=(command,))
    elif found.endpoint.answers:
        where = "the system" if found.system else f"project {found.project}"
        yield passed(f"user {found.user} in {where}")


@check(
    "KEYSTONE_ROLES",
    "The login has role service, to validate tokens and to see all nodes, and role admin, for flavors and images.",
    "Grant what is missing, in the project that services of the cloud share.",
    commands=(
        "openstack role add --user bms --project service service",
        "openstack role add --user bms --project service admin",
    ),
)
def roles(facts: Facts) -> Iterator[Said]:
    """What its token says of it."""
    found = facts.keystone
    if found is None or not found.endpoint.answers:
        return
    has = {role.lower() for role in found.roles}
    lacks = [role for role in ("service", "admin") if role not in has]
    shown = ", ".join(sorted(has)) or "none"
    if not lacks or (found.system and "admin" in has):
        yield passed(f"{shown}, of the system" if found.system else shown)
    elif has & {"service", "admin"}:
        means = {
            "service": "Keystone lets it validate no tokens, and Ironic may hide nodes of other projects",
            "admin": "it cannot make flavors or images of other projects",
        }
        yield warned(f"it has {shown}, not {lacks[0]}: {means[lacks[0]]}")
    else:
        yield failed(f"it has {shown}: neither service nor admin; it can neither validate tokens nor manage nodes")


@check(
    "KEYSTONE_CATALOGUE",
    "The catalogue has the services that we use: baremetal, network, placement, compute, image.",
    "Make the service and its endpoint, in the region and of the interface that clouds.yaml names.",
    commands=(
        "openstack service create --name NAME TYPE",
        "openstack endpoint create --region REGION TYPE public URL",
    ),
)
def catalogue(facts: Facts) -> Iterator[Said]:
    """Which types it has."""
    found = facts.keystone
    if found is None or not found.endpoint.answers:
        return
    for kind in CATALOGUE.values():
        if kind in found.catalogue:
            yield passed(found.catalogue[kind], kind)
        elif kind in found.wanted:
            yield failed(f"there is none, and {found.wanted[kind]} asks for {WORD[kind]}", kind)
        elif kind == "baremetal":
            yield failed("there is no Ironic for this login", kind)
        else:
            yield warned(f"there is no {WORD[kind]}: what we do with it cannot be done", kind)


@check(
    "KEYSTONE_SETTINGS",
    "The clouds that the services' settings name are the one that is examined here.",
    "Examine the others as well: `bms doctor --os-cloud NAME`.",
)
def settings(facts: Facts) -> Iterator[Said]:
    """As far as the settings are in this environment."""
    found = facts.keystone
    if found is None:
        return
    others = {name: cloud for name, cloud in found.settings.items() if cloud != found.cloud}
    if others:
        yield warned(", ".join(f"{name} names {cloud!r}" for name, cloud in sorted(others.items())))
    elif found.settings:
        yield passed(", ".join(sorted(found.settings)))
    else:
        yield unseen("the settings of the services are not in this environment (BMS_LIFECYCLE_IRONIC_CLOUD and others)")


CHECKS: tuple[Check, ...] = (*about("keystone", "Keystone"), login, roles, catalogue, settings)
