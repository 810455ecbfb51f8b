# SPDX-License-Identifier: Apache-2.0
"""What a ledger has counted, in the forms of `telemetry.sandesh.statistics`."""

from __future__ import annotations

from typing import Any

from telemetry.sandesh.ledger import Ledger
from telemetry.sandesh.states import State
from telemetry.sandesh.statistics import DROPS


def types(ledger: Ledger) -> list[str]:
    """The types of all messages that were sent or dropped."""
    return sorted(ledger.sent.keys() | {name for name, _ in ledger.dropped})


def of_type(ledger: Ledger, only: str | None) -> dict[str, int]:
    """A ``SandeshMessageStats`` of the type *only*, or of all: messages and bytes, of drops those that there were."""
    counts = {
        "messages_sent": ledger.sent.total() if only is None else ledger.sent[only],
        "bytes_sent": ledger.sent_bytes.total() if only is None else ledger.sent_bytes[only],
        "messages_sent_dropped": 0,
        "bytes_sent_dropped": 0,
    }
    for key, messages in ledger.dropped.items():
        name, fate = key
        if only in {None, name}:
            for what, count in (("messages", messages), ("bytes", ledger.dropped_bytes[key])):
                counts[f"{what}_sent_dropped"] += count
                why = f"{what}_sent_dropped_{fate.value}"
                counts[why] = counts.get(why, 0) + count
    return counts


def all_messages(ledger: Ledger) -> dict[str, int]:
    """``tx_msg_agg``: messages sent, and dropped for each reason that the reference knows, as it tells them."""
    counts = of_type(ledger, None)
    dropped = {f"dropped_{why}": counts.get(f"messages_sent_dropped_{why}", 0) for why in DROPS}
    return {"sent": counts["messages_sent"], **dropped}


def by_type(ledger: Ledger) -> dict[str, dict[str, int]]:
    """``msg_type_agg``: the same for each type; like the reference's, without bytes."""
    found = {}
    for name in types(ledger):
        counts = of_type(ledger, name)
        dropped = {f"messages_sent_dropped_{why}": counts.get(f"messages_sent_dropped_{why}", 0) for why in DROPS}
        found[name] = {"messages_sent": counts["messages_sent"], **dropped}
    return found


def states(ledger: Ledger, state: State) -> dict[str, Any]:
    """``sm_stats``: how often each event happened, all together as the one without a name, and how it came to *state*.

    Events are taken as they happen: none waits, and none fails.
    """
    events = [*sorted(ledger.events.items()), ("", ledger.events.total())]
    return {
        "ev_stats": [
            {"event": event, "enqueues": count, "dequeues": count, "enqueue_fails": 0, "dequeue_fails": 0}
            for event, count in events
        ],
        "state": state.value,
        "state_since": ledger.state_since,
        "last_state": ledger.last_state,
        "last_event": ledger.last_event,
        "last_event_at": ledger.last_event_at,
    }
