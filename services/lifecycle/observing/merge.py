# SPDX-License-Identifier: Apache-2.0
"""Which of two readings of a node counts: any order, repetition or loss of readings ends in the same record. Pure."""

from __future__ import annotations

from services.lifecycle.domain.nodes import NodeSeen


def merged(known: NodeSeen | None, seen: NodeSeen) -> NodeSeen:
    """The later of the two.

    By the time at which we asked, not by the controller's own time of the last change: its conductors' clocks may
    differ, and a reading that lost by such a difference would never be made good. Between clocks of ours the next
    listing makes it good.
    """
    if known is None:
        return seen
    return max(known, seen, key=lambda one: (one.read_time, repr(one)))


def same(one: NodeSeen, other: NodeSeen) -> bool:
    """Whether the two say the same of the node, whenever they were read."""
    return _content(one) == _content(other)


def _content(one: NodeSeen) -> tuple[object, ...]:
    return (
        one.state, one.moved, one.power, one.maintenance, one.maintenance_reason, one.fault, one.protected,
        one.retired, one.holder, one.job, one.gone,
    )  # fmt: skip
