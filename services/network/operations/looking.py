# SPDX-License-Identifier: Apache-2.0
"""What a look at servers' ports showed, of which most are as they were."""

from __future__ import annotations

from collections.abc import Sequence

from services.kernel.calls import Call
from services.network.domain.attachments import Attachment, Reading
from services.network.operations.attachments import observe, readings_of, shown
from services.network.operations.store import Store
from services.network.ports import PortFact


def record(
    store: Store, call: Call, server: str, facts: Sequence[tuple[Attachment, PortFact]], fence: int, highest: int
) -> list[tuple[str, Reading]]:
    """Records what the fabric answered about the ports of a server; answers one reading for each of *facts*, by port.

    What shows nothing new, under a fence that is known, changes neither events nor anything that counts: no server is
    locked, and no disk waited for. The record of it may be lost in a crash; the one before says the same.

    Args:
        facts: each port as it was registered when the reading began.
        highest: the highest fence seen at that time.

    Raises:
        Stale: *fence* is lower than one seen before.
    """
    read = readings_of(store, facts)
    known = bool(read) and fence <= highest and all(_same(*pair) for pair in read)
    if not known or not store.confirm(server, read, fence):
        observe(store, call, server, read, fence)
    return [(one.link.port, reading) for one, reading in read]


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
    read = readings_of(store, facts)
    seen: dict[str, list[tuple[str, Reading]]] = {}
    for one, reading in read:
        seen.setdefault(one.server, []).append((one.link.port, reading))
    moved = {one.server: None for one, reading in read if not _same(one, reading)}
    still = [pair for pair in read if pair[0].server not in moved]
    if still:
        store.save_same(still)
    return seen, list(moved)


def _same(attachment: Attachment, reading: Reading) -> bool:
    """Whether the reading before shows the same, and was made since the port was last asked to be something."""
    before = attachment.observed
    return before is not None and (shown(before), before.asked) == (shown(reading), reading.asked)
