# SPDX-License-Identifier: Apache-2.0
"""docs/states.md, drawn from the table: ``python -m services.lifecycle.domain.drawing > docs/states.md``."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise

from services.lifecycle.domain.states import LIMITS, TRANSITIONS, State, Trigger

_HEAD = """# The states of a server

Drawn from `services/lifecycle/domain/states.py`, and held to it by a test: do not edit it here.

Beside what is drawn, `quarantine` leads from every state to `quarantined`; out of it lead `recover` and, where two
administrators answer for it, `force`. Power, port classes, health, maintenance and the instance are facts beside the
state, not states.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, "```mermaid", "stateDiagram-v2", *_arrows(), "```", "", *_table(), "", *_moves(), ""])


def _arrows() -> Iterator[str]:
    yield "    [*] --> enrolled: import"
    for state, row in TRANSITIONS.items():
        for trigger, target in row.items():
            if trigger is not Trigger.QUARANTINE:
                yield f"    {state} --> {target}: {trigger}"


def _table() -> Iterator[str]:
    yield "| state | meaning | how long at most |"
    yield "|---|---|---|"
    meanings = _meanings()
    for state in State:
        limit = LIMITS.get(state)
        yield f"| `{state}` | {meanings[state.name]} | {_span(limit) if limit else 'as long as it likes'} |"


def _moves() -> Iterator[str]:
    yield "| from | trigger | to |"
    yield "|---|---|---|"
    for state, row in TRANSITIONS.items():
        for trigger, target in row.items():
            yield f"| `{state}` | `{trigger}` | `{target}` |"


def _meanings() -> dict[str, str]:
    """What stands below each state in the source; an enum keeps no docstrings of its members."""
    body = next(node.body for node in ast.walk(ast.parse(inspect.getsource(State))) if isinstance(node, ast.ClassDef))
    found = {}
    for before, after in pairwise(body):
        if isinstance(before, ast.Assign) and isinstance(after, ast.Expr) and isinstance(before.targets[0], ast.Name):
            found[before.targets[0].id] = str(ast.literal_eval(after.value))
    return found


def _span(limit: timedelta) -> str:
    minutes = int(limit.total_seconds()) // 60
    return f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"


if __name__ == "__main__":
    sys.stdout.write(page())
