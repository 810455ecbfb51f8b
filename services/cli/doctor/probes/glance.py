# SPDX-License-Identifier: Apache-2.0
"""Asks Glance."""

from __future__ import annotations

from dataclasses import dataclass

from services.cli.doctor.facts import Endpoint, Glance, Quota, Seen
from services.cli.doctor.probes.http import Answer, Api, endpoint

_ABSENT = "(404)"


@dataclass(frozen=True, slots=True)
class _Store:
    id: str
    default: bool


def look(api: Api | Endpoint) -> Glance:
    """What is seen of Glance."""
    if isinstance(api, Endpoint):
        return Glance(api)
    found = endpoint(api, "/", _versions)
    if not found.answers:
        return Glance(found)
    stores = api.see(
        "/v2/info/stores",
        lambda body: tuple(_Store(row["id"], str(row.get("default", "")).lower() == "true") for row in body["stores"]),
    )
    if stores.value is None and stores.why.endswith(_ABSENT):
        stores = Seen(())
    listed = stores.value
    return Glance(
        found,
        methods=api.see("/v2/info/import", lambda body: tuple(body["import-methods"]["value"])),
        stores=Seen(tuple(each.id for each in listed)) if listed is not None else Seen(None, stores.why),
        default=next((each.id for each in listed or () if each.default), ""),
        algorithm=api.see(
            "/v2/images?limit=1&status=active&sort=created_at:desc",
            lambda body: str((body["images"] or [{}])[0].get("os_hash_algo") or ""),
        ),
        usage=api.see(
            "/v2/info/usage",
            lambda body: tuple(
                Quota(what, int(row["limit"]), int(row["usage"])) for what, row in sorted(body["usage"].items())
            ),
        ),
    )


def _versions(answer: Answer) -> tuple[str, str]:
    found = [str(each["id"]).removeprefix("v") for each in answer.body["versions"]]
    order = sorted(found, key=lambda text: tuple(int(part) for part in text.split(".")))
    return order[0], order[-1]
