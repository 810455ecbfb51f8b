# SPDX-License-Identifier: Apache-2.0
"""The tenant gives his server back, and the administrator takes servers out."""

from __future__ import annotations

from services.cli.story.script import Line, Scene

ENDING = Scene(
    "5. Given back, cleaned in private, and in the pool again",
    (
        Line(
            "bms server delete {server} --yes",
            note="A server that somebody holds cannot be removed.",
            code=1,
            says=("Remedy:", "web"),
        ),
        Line("bms {tenant} instance delete web", note="Not by accident:", code=2, says=("--yes",)),
        Line("bms {tenant} instance delete web --yes --wait", says=("done",), never=("Error",)),
        Line(
            "bms {tenant} lease list --state cooling",
            note="Off his network first; then his address rests.",
            says=("10.1.0.", "cooling"),
        ),
        Line("bms server wait {server} --for state=available --timeout 1m", says=("available",)),
        Line("bms server show {server}", says=("available", "Last clean", "Isolated", "yes")),
        Line("bms server maintenance set r11-03 --reason 'fan replaced on Friday'", says=("fan replaced",)),
        Line("bms server quarantine r11-08 --reason 'smells burnt' --yes --wait", says=("done",)),
        Line(
            "bms explain --flavor bm.large",
            note="Neither is offered, and it is said why.",
            says=("MAINTENANCE", "QUARANTINED"),
        ),
        Line("bms server maintenance unset r11-03", says=("ended",)),
        Line("bms server recover r11-08 --yes --wait --timeout 2m", says=("done",), never=("Error",)),
        Line(
            "bms server delete {server} --yes --wait --timeout 1m",
            note="Nobody holds it now: it may go.",
            says=("done",),
            never=("Error",),
        ),
        Line("bms server show {server}", code=1, says=("NOT_FOUND",)),
    ),
)
