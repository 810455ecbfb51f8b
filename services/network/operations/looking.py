# SPDX-License-Identifier: Apache-2.0
"""What many servers' ports showed at one look, of which most are as they were."""

from __future__ import annotations

from collections.abc import Sequence

from services.network.domain import Attachment, Reading
from services.network.operations.attachments import reading_of
from services.network.operations.store import Store
from services.network.ports import PortFact


def keep_same(
    store: Store, facts: Sequence[tuple[Attachment, PortFact]]
) -> tuple[dict[str, list[tuple[str, Reading]]], list[str]]:
    """Records that ports were read which show what they showed before.

    Answers all readings by server, and the servers of which a port shows something else: `observe` is for them, and
    nothing of them is recorded here. What is the same changes neither events nor which networks a port is on, so no
    server is locked; a port that somebody changed since it was looked up keeps what he wrote.

    Args:
        facts: each port as it was registered when the reading began, and what the fabric answered.
    """
    networks = store.networks_on({one for _, fact in facts if fact.config for one in fact.config.networks})
    seen: dict[str, list[tuple[str, Reading]]] = {}
    same: dict[str, list[tuple[Attachment, Reading]]] = {}
    moved: dict[str, None] = {}
    for attachment, fact in facts:
        reading, before = reading_of(fact, networks, attachment.asked), attachment.observed
        seen.setdefault(attachment.server, []).append((attachment.link.port, reading))
        if before is None or (before.port_class, before.tags, before.asked) != (
            reading.port_class,
            reading.tags,
            reading.asked,
        ):
            moved[attachment.server] = None
        else:
            same.setdefault(attachment.server, []).append((attachment, reading))
    still = [pair for server, pairs in same.items() if server not in moved for pair in pairs]
    if still:
        store.save_same(still)
    return seen, list(moved)
