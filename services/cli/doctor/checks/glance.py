# SPDX-License-Identifier: Apache-2.0
"""Glance: whether images get in, and are known by a hash that is worth something."""

from __future__ import annotations

from collections.abc import Iterator

from services.cli.doctor.checks.endpoints import about
from services.cli.doctor.facts import Facts
from services.cli.doctor.verdicts import Check, Line, Said, check, failed, passed, some, unless_seen, unseen, warned

CONF = "glance-api.conf"


@check(
    "GLANCE_IMPORT",
    "Glance fetches images itself (web-download): images of ours get in by it.",
    "Offer it, and allow the ports and hosts of your images.",
    lines=(
        Line(CONF, "DEFAULT", "enabled_import_methods", "[glance-direct,web-download]"),
        Line("glance-image-import.conf", "import_filtering_opts", "allowed_ports", "[80,443]"),
    ),
    commands=("glance import-info",),
)
def methods(facts: Facts) -> Iterator[Said]:
    """What it offers."""
    found = facts.glance
    if found is None or not found.endpoint.answers:
        return
    yield from unless_seen(found.methods)
    if found.methods.value is None:
        return
    if "web-download" in found.methods.value:
        yield passed(", ".join(found.methods.value))
    else:
        yield warned(f"it offers {', '.join(found.methods.value) or 'nothing'}: images with a URL stay ours alone")


@check(
    "GLANCE_STORES",
    "There is a default store.",
    "Name one.",
    lines=(
        Line(CONF, "DEFAULT", "enabled_backends", "fast:file"),
        Line(CONF, "glance_store", "default_backend", "fast"),
    ),
)
def stores(facts: Facts) -> Iterator[Said]:
    """Where bytes go."""
    found = facts.glance
    if found is None or not found.endpoint.answers:
        return
    yield from unless_seen(found.stores)
    if found.stores.value is None:
        return
    if not found.stores.value:
        yield passed("one store, which has no name")
    elif not found.default:
        yield warned(f"none of {some(found.stores.value)} is the default")
    else:
        yield passed(f"{found.default} of {some(found.stores.value)}")


@check(
    "GLANCE_HASH",
    "Images are known by SHA-256 or SHA-512.",
    "Set it; images that are there keep their hash until they are uploaded again.",
    lines=(Line(CONF, "DEFAULT", "hashing_algorithm", "sha512"),),
)
def algorithm(facts: Facts) -> Iterator[Said]:
    """By the newest image: no API tells the setting."""
    found = facts.glance
    if found is None or not found.endpoint.answers:
        return
    if not found.algorithm.value:
        yield unseen(found.algorithm.why or "there is no image yet, and no API tells the setting")
    elif found.algorithm.value in ("sha256", "sha512"):
        yield passed(found.algorithm.value)
    else:
        yield failed(f"{found.algorithm.value}: what is written to a server cannot be verified by it")


@check(
    "GLANCE_QUOTA",
    "The login's project may have more images.",
    "Raise the limit in Keystone.",
    commands=("openstack limit set --resource-limit N LIMIT",),
)
def quota(facts: Facts) -> Iterator[Said]:
    """Where limits are kept."""
    found = facts.glance
    if found is None or not found.endpoint.answers:
        return
    yield from unless_seen(found.usage)
    full = [each for each in found.usage.value or () if 0 <= each.limit <= each.used]
    if full:
        yield failed(f"all is used: {some(f'{each.what} {each.used} of {each.limit}' for each in full)}")
    elif found.usage.value is not None:
        yield passed(
            "no limits" if not found.usage.value else some(f"{e.what} {e.used} of {e.limit}" for e in found.usage.value)
        )


CHECKS: tuple[Check, ...] = (*about("glance", "Glance"), methods, stores, algorithm, quota)
