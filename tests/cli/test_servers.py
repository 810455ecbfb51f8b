# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pytest

from bms.inventory.v1.server_pb2 import Bmc, Location
from services.kernel.errors import OperationFailed
from tests.cli.conftest import Shell
from tests.cli.fakes.world import World


def test_servers_and_their_states_are_one_table(bms: Shell, world: World) -> None:
    """
    The list joins what inventory records with what lifecycle knows, sorted as people count.
    """
    for name in ("r1-10", "r1-2"):
        world.add_server(name, "active", location=Location(rack="R1"), resource_class="gold")
    world.statuses["servers/00000000-0000-4000-8000-000000000001"].instance = "projects/p/instances/web"
    world.add_server("new", "")

    said = bms("server list")

    assert said.code == 0
    assert said.out.splitlines() == [
        "NAME   STATE   POWER  INSTANCE  WAITS FOR  RACK  CLASS  MAINT",
        "new    -       -",
        "r1-2   active  off                         R1    gold",
        "r1-10  active  off    p/web                R1    gold",
    ]


def test_lists_are_whole(bms: Shell, world: World) -> None:
    """
    However many pages there are, all rows are shown.
    """
    for number in range(1203):
        world.add_server(f"n{number}")

    said = bms("server list -o name")

    assert len(said.out.splitlines()) == 1203
    assert len(world.asked("ListServers")) == 3


def test_a_selector_goes_to_inventory_and_the_rest_is_sifted_here(bms: Shell, world: World) -> None:
    """
    Rack, class and labels are inventory's filter; state and power are looked at after joining.
    """
    world.add_server("a", "available", location=Location(rack="R1"), labels={"env": "lab"})
    world.add_server("b", "quarantined", location=Location(rack="R1"), labels={"env": "lab"})
    world.add_server("c", "available", location=Location(rack="R2"), labels={"env": "lab"})

    said = bms("server list -o name -l rack=R1,env=lab,state!=quarantined")

    assert said.out.splitlines() == ["servers/00000000-0000-4000-8000-000000000001"]
    assert world.asked("ListServers")[0].filter == 'rack = "R1" AND labels.env = "lab"'


def test_a_server_answers_to_any_of_its_names(bms: Shell, world: World) -> None:
    """
    The name people use, the UUID and the resource name show the same server.
    """
    full = world.add_server("web-1").name

    shown = {bms("server", "show", name).out for name in ("web-1", full, full.removeprefix("servers/"))}

    assert len(shown) == 1
    assert "web-1" in shown.pop()


def test_json_holds_both_sides(bms: Shell, world: World) -> None:
    """
    For programs a server is inventory's record with lifecycle's state below `status`.
    """
    world.add_server("a", "cleaning")

    listed = json.loads(bms("server list -o json").out)
    shown = json.loads(bms("server show a -o json").out)

    assert listed == [shown]
    assert shown["display_name"] == "a"
    assert shown["status"]["state"] == "STATE_CLEANING"
    assert "display_name: a" in bms("server show a -o yaml").out


def test_a_name_that_is_nobodys_is_told(bms: Shell) -> None:
    """
    An unknown name is refused with where to look.
    """
    said = bms("server show ghost")

    assert said.code == 1
    assert "Error NOT_FOUND: there is no server 'ghost'" in said.err
    assert "bms server list" in said.err


def test_nothing_is_done_unless_all_can_be(bms: Shell, world: World) -> None:
    """
    Every server is planned before one is touched: one refusal, and nothing happens.
    """
    world.add_server("a", "enrolled")
    world.add_server("b", "")

    said = bms("server provide a b --yes")

    assert said.code == 1
    assert "does not exist" in said.err
    assert all(request.validate_only for request in world.asked("ProvideServer"))


def test_erasing_names_the_disks_and_asks(bms: Shell, world: World) -> None:
    """
    Without --yes and without anybody to ask, nothing is erased; the disks are named all the same.
    """
    world.add_server("a", "enrolled")

    said = bms("server provide a")

    assert said.code == 2
    assert "SER1" in said.out
    assert "CONFIRMATION_NEEDED" in said.err
    assert "--yes" in said.err
    assert [request.validate_only for request in world.asked("ProvideServer")] == [True]


def test_a_dry_run_shows_the_plan(bms: Shell, world: World) -> None:
    """
    --dry-run prints every step and what it erases, and changes nothing.
    """
    world.add_server("a", "enrolled")

    said = bms("server provide a --dry-run")

    assert said.code == 0
    assert said.out.splitlines()[0].split() == ["TARGET", "STEP", "AT", "MOST", "ERASES", "WHAT"]
    assert "SER1" in said.out
    assert [request.validate_only for request in world.asked("ProvideServer")] == [True]


def test_waiting_shows_each_stage_and_what_it_waits_for(bms: Shell, world: World) -> None:
    """
    Piped, progress is a line for each change; the end says done.
    """
    world.add_server("a", "enrolled")
    world.steps = 3

    said = bms("server provide a --yes --wait")

    assert said.code == 0
    assert "50%  second  (at most 5m)  waits for BMC_SILENT: it does not answer" in said.out
    assert "a  done" in said.out


def test_a_failed_operation_is_a_failed_line(bms: Shell, world: World) -> None:
    """
    What an operation failed of is told with its remedy, and the exit code is 1.
    """
    world.add_server("a", "enrolled")
    world.operation_error = OperationFailed("the disk is broken", remedy="Swap it.")

    said = bms("server provide a --yes --wait")

    assert said.code == 1
    assert "a: the disk is broken" in said.err
    assert "Remedy: Swap it." in said.err


def test_what_is_not_done_in_time_goes_on(bms: Shell, world: World) -> None:
    """
    After --timeout the exit code is 4, and the line to go on with is named.
    """
    world.add_server("a", "enrolled")
    world.steps = 10_000_000

    said = bms("server provide a --yes --wait --timeout 1s")

    assert said.code == 4
    assert "bms operation wait operations/lifecycle-" in said.err


def test_without_wait_the_operation_is_named(bms: Shell, world: World) -> None:
    """
    A verb that is not waited for prints its operation, and how to follow it.
    """
    world.add_server("a", "enrolled")

    said = bms("server recover a --yes")

    (name,) = world.operations
    assert said.code == 0
    assert name in said.out
    assert f"bms operation wait {name}" in said.err


def test_one_request_id_serves_many_servers(bms: Shell, world: World) -> None:
    """
    Of one --request-id each server's call gets one of its own, the same every time.
    """
    for name in ("a", "b"):
        world.add_server(name, "enrolled")
    line = "server provide a b --yes --request-id 9f1c2b1e-7b1f-4c1e-9d0a-3f6f2f4f8a11"

    bms(line)
    bms(line)

    ids = [request.request_id for request in world.asked("ProvideServer") if not request.validate_only]
    assert ids[:2] == ids[2:]
    assert len(set(ids)) == 2


def test_labels_are_put_on_and_taken_off(bms: Shell, world: World) -> None:
    """
    `set` changes the labels named and keeps the others; the etag that was read goes with it.
    """
    world.add_server("a", labels={"keep": "1", "drop": "2"})

    said = bms("server set a --label new=3 --label drop- --rack R9")

    (request,) = world.asked("UpdateServer")
    assert said.code == 0
    assert dict(request.server.labels) == {"keep": "1", "new": "3"}
    assert request.server.location.rack == "R9"
    assert request.server.etag == '"1"'
    assert sorted(request.update_mask.paths) == ["labels", "location"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("server set a", "nothing to change"),
        ("server provide", "which servers?"),
        ("server provide a -l rack=R1", "which servers?"),
        ("server provide -l rack", "is not KEY=VALUE"),
        ("server provide a --request-id nonsense", "is not a UUID"),
        ("server create x --bmc-address h --port 0c:c4:7a:00:00:01,fast", "is not understood"),
        ("server frobnicate", "has no verb 'frobnicate'"),
        ("server wait a --for rack=R1", "nothing to wait for"),
    ],
)
def test_lines_that_make_no_sense_are_usage_errors(bms: Shell, world: World, line: str, says: str) -> None:
    """
    A line that is not understood ends with 2, and says how to write it.
    """
    world.add_server("a", "enrolled")

    said = bms(line)

    assert said.code == 2
    assert says in said.err
    assert "Remedy:" in said.err


def test_nothing_selected_is_told(bms: Shell) -> None:
    """
    A selector that selects nobody is refused: a script that erases must not think it did.
    """
    said = bms("server provide -l rack=nowhere --yes")

    assert said.code == 1
    assert "no server has rack=nowhere" in said.err


def test_a_server_is_registered_with_its_ports(bms: Shell, world: World, tmp_path: Path) -> None:
    """
    `create` takes ports in one word each and the password from a file; neither is printed.
    """
    secret = tmp_path / "password"
    secret.write_text("hunter2\n")

    said = bms(
        "server", "create", "a", "--bmc-address", "10.0.0.1", "--bmc-user", "operator7",
        "--bmc-password-file", str(secret), "-v",
        "--port", "0c:c4:7a:00:00:01,switch=leaf1,port=xe-0/0/1,pxe,group=bond0",
    )  # fmt: skip

    (request,) = world.asked("CreateServer")
    assert request.server.bmc.password == "hunter2"
    assert request.server.ports[0].switch_port == "xe-0/0/1"
    assert request.server.ports[0].pxe_enabled
    assert [group.label for group in request.server.port_groups] == ["bond0"]
    assert "hunter2" not in said.out + said.err
    assert "operator7" not in said.err


def test_a_held_server_is_not_removed(bms: Shell, world: World) -> None:
    """
    What inventory refuses is refused before anybody is asked, with the remedy.
    """
    world.add_server("a", "active").pool.reserved_by = "projects/p/instances/web"

    said = bms("server delete a")

    assert said.code == 1
    assert "Error WRONG_STATE: it is held" in said.err
    assert "Delete projects/p/instances/web first." in said.err


def test_maintenance_is_set_and_unset(bms: Shell, world: World) -> None:
    """
    Maintenance is told and seen; it ends by its own verb.
    """
    world.add_server("a")

    assert "new fan" in bms("server", "maintenance", "set", "a", "--reason", "new fan").out
    assert "yes" in bms("server list").out
    assert "ended" in bms("server maintenance unset a").out
    assert "yes" not in bms("server list").out


def test_a_diagnosis_names_the_commands(bms: Shell, world: World) -> None:
    """
    Diagnose says what blocks, who must act and the exact commands.
    """
    world.add_server("a", "quarantined")

    out = bms("server diagnose a").out

    for text in ("BMC_SILENT", "administrator", "Bring it back.", "bms server recover X", "bms status"):
        assert text in out


def test_ports_are_shown_as_read_back(bms: Shell, world: World) -> None:
    """
    A port's class is what was read; a change that is out is shown beside it.
    """
    server = world.add_server("a", "active", bmc=Bmc(address="10.0.0.1"))
    server.ports.add(
        name=f"{server.name}/ports/0cc47a000001", mac_address="0c:c4:7a:00:00:01", switch_name="leaf1", switch_port="p1"
    )
    world.statuses[server.name].ports.add(
        port=f"{server.name}/ports/0cc47a000001", port_class="quarantine", requested_class="tenant"
    )

    assert "quarantine -> tenant" in bms("server port list a").out


def test_waiting_for_a_state(bms: Shell, world: World) -> None:
    """
    `wait` ends when all are there, and with 4 when they are not in time.
    """
    world.add_server("a", "available")

    assert bms("server wait a --for state=available").code == 0
    late = bms("server wait a --for state=active --timeout 1s")
    assert late.code == 4
    assert "not state=active after 1s: a is available" in late.err
