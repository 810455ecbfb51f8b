# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from bms.lifecycle.v1 import brake_pb2
from tests.cli.conftest import Shell
from tests.cli.fakes.world import World

PULLED = brake_pb2.Brake(
    pulled=True, pull_time=Timestamp(seconds=1), server="servers/00000000-0000-4000-8000-000000000001",
    cause="PORTS_MOVED_UNPLANNED", backend="leaf1", why="one cause explains them all", held_count=4,
    quarantined_count=2, in_use_count=10, allowance=3, window=Duration(seconds=3600),
)  # fmt: skip


def test_the_brake_is_shown(bms: Shell, world: World) -> None:
    """
    Not pulled it is a line; pulled it says why, whom it holds, and the command.
    """
    assert "not pulled" in bms("brake show").out
    world.brake = PULLED
    out = bms("brake show").out

    for text in ("one cause explains them all", "PORTS_MOVED_UNPLANNED", "leaf1", "4 servers", "bms brake release"):
        assert text in out
    assert "2 of 10 servers in use within 1h, of at most 3" in " ".join(out.split())


def test_top_begins_with_a_brake_that_is_pulled(bms: Shell, world: World) -> None:
    """
    Nobody who looks at the fleet overlooks it.
    """
    assert "BRAKE" not in bms("top").out
    world.brake = PULLED

    assert "BRAKE PULLED" in bms("top").out.splitlines()[1]


def test_releasing_asks_first_and_needs_a_reason(bms: Shell, world: World) -> None:
    """
    Without --yes and without anybody to ask it stays pulled; with it the reason is sent; a check releases nothing.
    """
    world.brake = PULLED
    assert bms("brake release --reason mended").code != 0
    assert bms("brake release --yes").code == 2
    assert world.asked("ReleaseBrake") == []
    assert bms("brake release --reason mended --validate-only").code == 0
    assert world.brake.pulled
    said = bms("brake release --reason mended --yes")

    assert said.code == 0
    assert "not pulled" in said.out
    assert "mended" in said.out
    assert [request.reason for request in world.asked("ReleaseBrake")] == ["mended", "mended"]


def test_a_diagnosis_shows_what_runs_by_itself(bms: Shell, world: World) -> None:
    """
    How long it may last and by how much it did longer, the tries, and where the runbook says more.
    """
    world.add_server("a", "quarantined")
    out = " ".join(bms("server diagnose a").out.split())

    for text in ("asks again; 2 of 3 tries made, 1 left, not again", "docs/runbook.md#bmc_silent", "5m", "1m"):
        assert text in out
