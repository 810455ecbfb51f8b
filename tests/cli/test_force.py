# SPDX-License-Identifier: Apache-2.0
"""`bms server adopt` and `bms force`."""

from __future__ import annotations

import pytest

from bms.lifecycle.v1.forced_action_pb2 import ForcedAction
from bms.lifecycle.v1.server_status_pb2 import ServerStatus
from services.cli.commands.force import MEANINGS
from tests.cli.conftest import Shell
from tests.cli.fakes.world import World

ADOPT = "server adopt a --project p --instance web --flavor f --image i --network blue,address=10.0.0.7,vlan=5"


def test_a_server_is_adopted_with_its_networks_and_addresses(bms: Shell, world: World) -> None:
    """
    What is named goes in one request, names in full; --dry-run shows the plan and changes nothing.
    """
    world.add_server("a", "enrolled")

    assert bms(f"{ADOPT} --dry-run").code == 0
    assert bms(ADOPT).code == 0

    dry, asked = world.asked("AdoptServer")
    assert (dry.validate_only, asked.validate_only) == (True, False)
    assert (asked.parent, asked.instance_id) == ("projects/p", "web")
    assert (asked.instance.flavor, asked.instance.image) == ("flavors/f", "images/i")
    (network,) = asked.instance.networks
    assert (network.network, list(network.fixed_addresses), network.vlan_tag) == (
        "projects/p/networks/blue",
        ["10.0.0.7"],
        5,
    )


@pytest.mark.parametrize("kind", MEANINGS)
def test_what_is_asked_for_says_what_it_means_for_others(bms: Shell, world: World, kind: str) -> None:
    """
    Every kind of the contract can be asked for, and is told with its meaning and the line for the second one.
    """
    world.add_server("a", "quarantined")

    said = bms(f"force request a --kind {kind} --reason fire --yes")

    assert said.code == 0
    assert MEANINGS[kind] in said.out
    assert "tainted" in said.out
    (asked,) = world.asked("CreateForcedAction")
    assert ForcedAction.Kind.Name(asked.forced_action.kind) == f"KIND_{kind.upper().replace('-', '_')}"
    assert f"bms force approve {next(iter(world.forced))}" in said.out


def test_explaining_says_what_is_offered_though_it_is_not_clean(bms: Shell, world: World) -> None:
    """
    A server that was forced into the pool would do, and is named as tainted.
    """
    status = world.statuses.setdefault("servers/a", ServerStatus(server="servers/a"))
    assert "tainted" not in bms("explain --flavor bm").out
    status.tainted_by = "servers/a/forcedActions/x"

    assert "tainted by a forced action: good" in bms("explain --flavor bm").out


def test_the_kinds_are_the_contracts() -> None:
    """
    No kind is missing from the command line.
    """
    names = {name.removeprefix("KIND_").lower().replace("_", "-") for name in ForcedAction.Kind.keys()}  # noqa: SIM118 -- an enum of protobuf

    assert {*MEANINGS} == names - {"unspecified"}


def test_nothing_is_forced_without_being_asked(bms: Shell, world: World) -> None:
    """
    With nobody to ask and without --yes, neither request nor approval is sent.
    """
    world.add_server("a", "quarantined")
    assert bms("force request a --kind release --reason fire").code == 2
    assert not world.forced
    bms("force request a --kind release --reason fire --yes")
    assert bms(f"force approve {next(iter(world.forced))}").code == 2
    assert not world.asked("ApproveForcedAction")


def test_an_approval_is_of_what_was_shown(bms: Shell, world: World) -> None:
    """
    The one who approves sees the meaning, the reason and how the server stood, and approves that etag and no other.
    """
    world.add_server("a", "quarantined")
    bms("force request a --kind release --reason fire --yes")
    (name,) = world.forced

    said = bms(f"force approve {name.rpartition('/')[2][:8]} --yes")

    assert said.code == 0
    for text in ("fire", "ann", "power unknown", MEANINGS["release"]):
        assert text in said.out
    (asked,) = world.asked("ApproveForcedAction")
    assert (asked.name, asked.etag) == (name, '"1"')


def test_pending_ones_are_listed_and_withdrawn(bms: Shell, world: World) -> None:
    """
    The list shows what waits; --all shows the rest; an id that nothing has is refused.
    """
    world.add_server("a", "quarantined")
    bms("force request a --kind attest-power-off --reason fire --yes")
    (name,) = world.forced
    identity = name.rpartition("/")[2][:8]
    listed = bms("force list").out
    assert identity in listed
    assert "attest-power-off" in listed

    assert "Withdrawn by" in bms(f"force withdraw {identity}").out
    assert "Nothing waits" in bms("force list").err
    assert "withdrawn" in bms("force list --all").out
    assert bms("force show ffffffff-none").code == 1
