# SPDX-License-Identifier: Apache-2.0
"""What the log tells of a prefix: it was made, changed or removed.

Whoever reads the log reads the names of all streams, so a prefix's is that of its uid: its name tells a project.
"""

from __future__ import annotations

from collections.abc import Sequence

from services.ipam.domain.addresses import address_of
from services.ipam.domain.prefixes import Prefix, Range
from services.kernel.calls import Call
from services.kernel.events import Event

_NONE = "none"


def made(prefix: Prefix, call: Call) -> Event:
    """It was made, with all that holds for it."""
    return _event(prefix, call, "prefix.created", {**_lasting(prefix), **_tuning(prefix)})


def changed(prefix: Prefix, was: Prefix, call: Call) -> Event | None:
    """What of it is other than it *was*; None if nothing is."""
    before, after = _tuning(was), _tuning(prefix)
    facts: dict[str, str] = {}
    for name in {**before, **after}:
        now, then = after.get(name, _NONE), before.get(name, _NONE)
        if now != then:
            facts |= {name: now, f"{name}_before": then}
    return _event(prefix, call, "prefix.changed", facts) if facts else None


def removed(prefix: Prefix, call: Call) -> Event:
    """It is gone; the streams of its addresses remain."""
    return _event(prefix, call, "prefix.deleted", _lasting(prefix))


def _event(prefix: Prefix, call: Call, type_: str, facts: dict[str, str]) -> Event:
    return Event(
        stream=f"prefixes/{prefix.uid}",
        type=type_,
        time=call.now,
        actor=call.caller.subject,
        project=prefix.project,
        request_id=call.request_id,
        facts={"prefix": prefix.name, **{name: text for name, text in facts.items() if text}},
    )


def _lasting(prefix: Prefix) -> dict[str, str]:
    return {
        "cidr": str(prefix.cidr),
        "vrf": prefix.vrf,
        "network": prefix.network,
        "gateway": str(prefix.gateway or ""),
        "container": "true" if prefix.container else "",
        "parent_prefix": prefix.parent,
    }


def _tuning(prefix: Prefix) -> dict[str, str]:
    tuning = prefix.tuning
    told = {
        "pools": _shown(prefix, tuning.pools),
        "reserved": _shown(prefix, tuning.reserved),
        "dns_servers": ", ".join(str(one) for one in tuning.dns_servers),
        "domain": tuning.domain,
        "cool_down": f"{tuning.cool_down.total_seconds():g}s",
        "sticky_time": f"{tuning.sticky.total_seconds():g}s" if tuning.sticky else "",
        "shared": "true" if tuning.shared else "",
    }
    return {name: text for name, text in told.items() if text}


def _shown(prefix: Prefix, ranges: Sequence[Range]) -> str:
    version = prefix.version
    return ", ".join(f"{address_of(one.first, version)}-{address_of(one.last, version)}" for one in ranges)
