# SPDX-License-Identifier: Apache-2.0
"""`bms pool` and `bms explain`: what may be had, and why not more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from services.cli.nouns import Noun, full_name
from services.cli.screen import Column, as_dict, short, word
from services.cli.session import PAGE, Session, reads

if TYPE_CHECKING:
    from bms.inventory.v1.pool_pb2 import Candidate, Pool

_KINDS = ("class", "capability", "rack", "flavor")


@click.group("pool", cls=Noun)
def pool() -> None:
    """Pools that follow from the servers, and why servers are not available."""


def _kind(each: Pool) -> str:
    from bms.inventory.v1.pool_pb2 import PoolKind

    return word(PoolKind, each.kind, "POOL_KIND_")


def _unavailable(each: Pool) -> str:
    return ", ".join(f"{reason.count} {reason.reason}" for reason in each.unavailable)


@pool.command("list")
@click.option("--kind", type=click.Choice(_KINDS), help="Only pools of this kind.")
@reads
def list_(session: Session, kind: str | None) -> None:
    """List pools by class, capability, rack and flavor."""
    from bms.inventory.v1.pool_pb2 import ListPoolsRequest, PoolKind

    wanted = PoolKind.Value(f"POOL_KIND_{(kind or 'unspecified').upper()}")
    session.screen.rows(
        session.pages(session.inventory.ListPools, ListPoolsRequest(kind=wanted), "pools"),
        (
            Column("KIND", _kind),
            Column("VALUE", lambda each: each.value or "(none)"),
            Column("TOTAL", lambda each: str(each.total_count)),
            Column("AVAILABLE", lambda each: str(each.available_count)),
            Column("HELD", lambda each: str(each.reserved_count)),
            Column("OTHERS ARE", _unavailable),
            Column(
                "SUCH AS",
                lambda each: ", ".join(short(name) for one in each.unavailable for name in one.servers),
                wide=True,
            ),
        ),
        name=lambda each: each.name,
        as_data=as_dict,
        none="No pools: there are no servers yet.",
    )


def _speaks_against(each: Candidate) -> str:
    parts = []
    for failure in each.failures:
        wanted = f" wants {failure.wanted}" if failure.wanted else ""
        parts.append(f"{failure.constraint}{wanted}, has {failure.found or 'none known'}")
    return "; ".join(parts)


@click.command("explain")
@click.option("--flavor", required=True, help="The flavor.")
@click.option("--image", default="", help="The image, whose constraints hold too.")
@click.option("--limit", type=click.IntRange(min=1), default=1000, show_default=True, help="At most how many servers.")
@reads
def explain(session: Session, flavor: str, image: str, limit: int) -> None:
    """Say for each server whether it would do, and which constraints it fails."""
    from bms.inventory.v1.pool_pb2 import ExplainPlacementRequest

    request = ExplainPlacementRequest(
        flavor=full_name(flavor, "flavors"),
        image=full_name(image, "images") if image else "",
        page_size=min(limit, PAGE),
    )
    candidates: list[Candidate] = []
    while True:
        answer = session.inventory.ExplainPlacement(request)
        candidates += answer.candidates
        if not answer.next_page_token or len(candidates) >= limit:
            break
        request.page_token = answer.next_page_token
    session.screen.rows(
        candidates[:limit],
        (
            Column("SERVER", lambda each: each.display_name),
            Column("WOULD DO", lambda each: "yes" if each.eligible else "no"),
            Column("SPEAKS AGAINST IT", _speaks_against),
            Column("UUID", lambda each: short(each.server), wide=True),
        ),
        name=lambda each: each.server,
        as_data=as_dict,
        none="There are no servers.",
    )
    session.screen.print(f"{answer.eligible_count} would do now.")
    eligible = {each.server: each.display_name for each in candidates[:limit] if each.eligible}
    if tainted := _tainted(session, eligible):
        session.screen.print(f"Offered, but tainted by a forced action: {', '.join(tainted)}.")


def _tainted(session: Session, eligible: dict[str, str]) -> list[str]:
    """Those of the servers that would do which two administrators forced into the pool, by the names people use."""
    from bms.lifecycle.v1.server_status_pb2 import ListServerStatusesRequest

    request = ListServerStatusesRequest(page_size=PAGE, filter="state = available")
    statuses = session.pages(session.lifecycle.ListServerStatuses, request, "statuses") if eligible else []
    return sorted(eligible[each.server] for each in statuses if each.tainted_by and each.server in eligible)
