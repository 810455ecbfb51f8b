# SPDX-License-Identifier: Apache-2.0
"""And it can be proved: the day's logs are judged on this side of the wire, and nothing leaked."""

from __future__ import annotations

from services.cli.story.script import Line, Scene

PROOF = Scene(
    "7. And all of it can be proved",
    (
        Line(
            "bms audit isolation --server r11-11",
            note="The signed log of the server that had bad luck, judged here and not by the service.",
            says=("PASS", "judged up to position"),
            never=("FAIL", "UNKNOWN"),
        ),
        Line(
            "bms audit isolation",
            note="Every server and every address of the day: no server was on a tenant's network unclean.",
            says=("lifecycle: PASS", "ipam: PASS"),
            never=("FAIL",),
        ),
        Line(
            "bms server certificate r11-11",
            note="What was erased, how, when, and which signature covers it.",
            says=("CERTIFICATE OF ERASURE", "Signed with"),
        ),
        Line(
            "bms audit export --to $BMS_DATA_DIR/evidence.jsonl && bms-verify $BMS_DATA_DIR/evidence.jsonl",
            note="The evidence as a file, for somebody who trusts nobody here.",
            says=("lifecycle: PASS", "ipam: PASS"),
        ),
        Line("bms audit leaks", note="And nothing was left behind anywhere.", says=("No leaks",)),
    ),
)
