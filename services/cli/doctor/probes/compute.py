# SPDX-License-Identifier: Apache-2.0
"""Asks Nova, and Placement of the nodes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from services.cli.doctor.facts import NEEDED, Compute, Endpoint, Flavor, Node, Nova, Placement, Provider, Seen
from services.cli.doctor.probes.http import Answer, Api, ahead, endpoint, pages

NOVA = {"OpenStack-API-Version": f"compute {NEEDED['nova']}"}
PLACEMENT = {"OpenStack-API-Version": f"placement {NEEDED['placement']}"}
LOOKS = 40
"""At so many nodes' offers we look: each takes two requests."""


def look_nova(api: Api | Endpoint) -> Nova:
    """What is seen of Nova."""
    if isinstance(api, Endpoint):
        return Nova(api)
    found = endpoint(api, "/", _nova_versions)
    if not found.answers:
        return Nova(found)
    now = time.time()
    return Nova(
        found,
        flavors=pages(api.rows("/v2.1/flavors/detail?is_public=None&limit=1000", "flavors"), _flavor),
        services=pages(
            api.rows("/v2.1/os-services", "services"),
            lambda row: Compute(
                row["binary"], row["host"], row["state"] == "up", row["status"] == "enabled",
                ahead(row.get("updated_at"), now),
            ),
        ),
    )  # fmt: skip


def look_placement(api: Api | Endpoint, nodes: Sequence[Node]) -> Placement:
    """What is seen of Placement."""
    if isinstance(api, Endpoint):
        return Placement(api)
    found = endpoint(api, "/", _placement_versions)
    if not found.answers:
        return Placement(found)
    known = api.see(
        "/resource_providers", lambda body: frozenset(str(row["uuid"]) for row in body["resource_providers"])
    )
    if known.value is None:
        return Placement(found, known, Seen(None, known.why))
    looked = []
    for node in [each for each in nodes if each.uuid in known.value][:LOOKS]:
        seen = _provider(api, node.uuid)
        if seen.value is None:
            return Placement(found, known, Seen(None, seen.why))
        looked.append(seen.value)
    return Placement(found, known, Seen(tuple(looked)))


def _provider(api: Api, uuid: str) -> Seen[Provider]:
    offers = api.see(f"/resource_providers/{uuid}/inventories", lambda body: dict(body["inventories"]))
    held = api.see(f"/resource_providers/{uuid}/allocations", lambda body: tuple(body["allocations"]))
    if offers.value is None or held.value is None:
        return Seen(None, offers.why or held.why)
    rows = offers.value
    return Seen(
        Provider(
            uuid,
            {name: int(row["total"]) - int(row["reserved"]) for name, row in rows.items()},
            bool(rows) and all(row["reserved"] >= row["total"] for row in rows.values()),
            held.value,
        )
    )


def _flavor(row: Mapping[str, Any]) -> Flavor:
    specs = row.get("extra_specs") or {}
    asked = {key.partition(":")[2]: str(value) for key, value in specs.items() if key.startswith("resources")}
    return Flavor(row["name"], asked)


def _nova_versions(answer: Answer) -> tuple[str, str]:
    found = [each for each in answer.body["versions"] if each["id"].startswith("v2.1")]
    return str(found[0]["min_version"]), str(found[0]["version"])


def _placement_versions(answer: Answer) -> tuple[str, str]:
    (first, *_) = answer.body["versions"]
    return str(first["min_version"]), str(first["max_version"])
