# SPDX-License-Identifier: Apache-2.0
"""Things go wrong on stage. The server with the label stage=yes is r11-11, and the flavor bm.stage wants that label."""

from __future__ import annotations

from services.cli.story.script import Line, Scene

_CREATE = "bms {tenant} instance create %s --flavor bm.stage --image debian-12 --network blue"

FAULTS = Scene(
    "4. Things go wrong: what waits, since when, who must act, and the very command",
    (
        # A failure that passes.
        Line("bms rack fault inject image-write-fails r11-11 --count 1", note="The next image write will fail, once."),
        Line(
            f"{_CREATE % 'flaky'} --wait --timeout 2m",
            note="The deploy is tried again by itself.",
            says=("active",),
            never=("Error",),
        ),
        # A disk that cannot be erased.
        Line(
            "bms rack fault inject disk-erase-fails r11-11 --count 1", note="When it comes back, a disk will not erase."
        ),
        Line("bms {tenant} instance delete flaky --yes --wait", note="The tenant is done with it:", says=("done",)),
        Line(
            "bms server wait r11-11 --for state=quarantined",
            note="but a server whose disk holds his data is not given to anybody.",
            says=("quarantined",),
        ),
        Line(
            "bms server diagnose r11-11",
            says=("DISK_ERASE_FAILED", "administrator", "bms server recover"),
            keep={"stage": r"bms server recover (\S+)"},
        ),
        Line(
            "bms server recover {stage} --yes --wait --timeout 2m",
            note="The command it named (--yes, since this is a script):",
            says=("ERASED", "done"),
            never=("Error",),
        ),
        Line("bms server wait r11-11 --for state=available", note="Back in the pool.", says=("available",)),
        # A BMC that falls silent in the middle of a deploy.
        Line(
            "bms rack set-profile genuine --speed 75",
            note="Genuine durations on a fast clock: 15 minutes of deploy in 12 seconds.",
            says=("speed 75",),
        ),
        Line(f"{_CREATE % 'quiet'}", keep={"quiet": r"(projects/\S+/operations/lifecycle-[0-9a-f-]+)"}),
        Line("bms server wait r11-11 --for state=provisioning", says=("provisioning",)),
        Line("bms rack fault inject bmc-silent r11-11", note="In the middle of it, the BMC falls silent."),
        Line("bms server wait r11-11 --for wait=BMC_SILENT", says=("BMC_SILENT",)),
        Line(
            "bms server diagnose r11-11",
            says=("BMC_SILENT", "does not answer", "administrator"),
        ),
        Line("bms {tenant} operation show {quiet}", note="The tenant sees it too.", says=("BMC_SILENT", "running")),
        Line("bms top", note="And so does whoever watches the fleet.", says=("BMC_SILENT",)),
        Line("bms rack fault clear r11-11", note="Somebody plugs the BMC in again.", says=("1 fault mended",)),
        Line("bms {tenant} operation wait {quiet} --timeout 2m", note="It goes on by itself.", says=("done",)),
        Line("bms rack set-profile demo --speed 1", note="Cleaning takes two hours; not today.", says=("demo",)),
        Line("bms {tenant} instance delete quiet --yes --wait", says=("done",)),
        Line("bms server wait r11-11 --for state=available", says=("available",)),
        # A service that dies in the middle of a deploy.
        Line(f"{_CREATE % 'steady'}", keep={"steady": r"(projects/\S+/operations/lifecycle-[0-9a-f-]+)"}),
        Line("bms server wait r11-11 --for instance=steady", says=("r11-11",)),
        Line(
            "kill -9 $(cat $BMS_DATA_DIR/run/lifecycle.pid)",
            note="The very service that walks the deploy dies. Its successor goes on where it was.",
        ),
        Line("bms {tenant} operation wait {steady} --timeout 2m", says=("done",), never=("Error",)),
        Line("bms {tenant} instance show steady", says=("active", "connected")),
        Line("bms {tenant} instance delete steady --yes --wait", says=("done",), never=("Error",)),
        Line("bms server wait r11-11 --for state=available", says=("available",)),
        # An image that cannot be written at all.
        Line(
            "bms rack fault inject image-write-fails r11-11 --count 3", note="An image that cannot be written at all:"
        ),
        Line(f"{_CREATE % 'doomed'} --wait --timeout 2m", code=1, says=("OPERATION_FAILED", "does not take the image")),
        Line("bms {tenant} instance show doomed", says=("error", "write_image")),
        Line(
            "bms server diagnose r11-11",
            note="Now the tenant must act first.",
            says=("quarantined", "INSTANCE_FAILED", "tenant", "bms instance delete doomed"),
        ),
        Line("bms {tenant} instance delete doomed --yes --wait", says=("done",)),
        Line("bms server recover r11-11 --yes --wait --timeout 2m", says=("done",), never=("Error",)),
        Line("bms server wait r11-11 --for state=available", says=("available",)),
    ),
)
