# SPDX-License-Identifier: Apache-2.0
"""docs/runbook.md, written from the registry: ``python -m services.lifecycle.domain.runbook > docs/runbook.md``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta

from services.lifecycle.domain.blocker import Blocker, Cure, Kind
from services.lifecycle.domain.waits import BLOCKERS, FAULT_SLA, STEP_SLA

PAGE = "docs/runbook.md"
"""Where the page stands in the tree."""

_HEAD = """# What to do when a server stands still

Written from `services/lifecycle/domain/waits.py`, and held to it by a test: do not edit it here.

`bms server diagnose SERVER` names the code, since when, who must act and the commands with the server's own names in
them; `bms top` counts servers by code and lists those that are overdue. A **wait** ends by itself once its cause is
gone. A **fault** keeps the server in quarantine until an administrator leads it out. A **rest** is as somebody left it.

*Overdue* is a server whose wait, fault or state lasts longer than it may: it is listed by `bms top`, and a wait's event
`server.overdue` says so once. A step that is never given up, such as taking ports off their networks, is overdue after
{step} whatever it waits for; a server in quarantine after {fault}.

*By itself* says which safe remedy runs without anybody: each try is an event, `remedy.tried`. When the budget is spent,
a step that may fail fails with that code; one that is never given up goes on under the alarm, and tries seldom.
"""

_WHO = {
    "administrator": "An administrator must act",
    "network administrator": "A network administrator must act",
    "tenant": "The tenant must act",
    "nobody": "Nobody must act, as long as it is not overdue",
}
_KINDS = {Kind.WAIT: "wait", Kind.FAULT: "fault", Kind.REST: "rest"}
_CURES = {
    Cure.ASK_POWER: "asks the BMC for the same power once more",
    Cure.REGISTER_PORTS: "tells network of the server's ports anew, and asks for the same once more",
    Cure.RESET_BMC: "restarts the BMC, once, where its backend can: the simulated rack's does, Ironic's does not",
    Cure.BEGIN_ANEW: "begins the step anew, once",
}


def anchor(code: str) -> str:
    """Where the runbook says what to do for *code*: a path from the tree's root."""
    return f"{PAGE}#{code.lower()}"


def cure_text(cure: Cure) -> str:
    """What *cure* does, in a few words."""
    return _CURES[cure]


def page() -> str:
    """The whole page."""
    head = _HEAD.format(step=span(STEP_SLA), fault=span(FAULT_SLA))
    return "\n".join([head, *_contents(), *(line for who in _WHO for line in _group(who))])


def _contents() -> Iterator[str]:
    yield "| code | kind | who | overdue after |"
    yield "|---|---|---|---|"
    for blocker in sorted(BLOCKERS.values(), key=lambda one: one.code):
        link = f"[`{blocker.code}`](#{blocker.code.lower()})"
        yield f"| {link} | {_KINDS[blocker.kind]} | {blocker.who} | {_overdue(blocker)} |"
    yield ""


def _group(who: str) -> Iterator[str]:
    yield f"## {_WHO[who]}"
    yield ""
    for blocker in sorted((one for one in BLOCKERS.values() if one.who == who), key=lambda one: one.code):
        yield from _entry(blocker)


def _entry(blocker: Blocker) -> Iterator[str]:
    yield f"### {blocker.code}"
    yield ""
    yield f"{blocker.meaning}"
    yield ""
    yield f"- **Kind:** {_KINDS[blocker.kind]}"
    yield f"- **Overdue after:** {_overdue(blocker)}"
    yield f"- **By itself:** {cure_text(blocker.cure) if blocker.cure else 'nothing'}"
    yield f"- **Do:** {blocker.remedy}"
    yield ""
    if blocker.commands:
        yield "```sh"
        for command in blocker.commands:
            yield command.format(server="SERVER", instance="INSTANCE", project="PROJECT")
        yield "```"
        yield ""


def _overdue(blocker: Blocker) -> str:
    if blocker.kind is Kind.FAULT:
        return span(FAULT_SLA)
    return span(blocker.sla) if blocker.sla is not None else "never"


def span(length: timedelta) -> str:
    """*length* for people: ``at once``, ``5 min``, ``2 h``, ``7 d``."""
    minutes = int(length.total_seconds()) // 60
    if not minutes:
        return "at once"
    if minutes % 1440 == 0:
        return f"{minutes // 1440} d"
    return f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"


if __name__ == "__main__":
    sys.stdout.write(page())
