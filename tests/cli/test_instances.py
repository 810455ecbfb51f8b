# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.cli import waiting
from services.kernel.errors import OperationFailed
from tests.cli.conftest import Shell
from tests.cli.fakes.world import World

CREATE = "--as tenant-a instance create web --flavor bm --image deb --network blue"


def test_one_call_asks_for_everything(bms: Shell, world: World, tmp_path: Path) -> None:
    """
    Short names become resource names of the login's project; files are read.
    """
    keys, data = tmp_path / "keys", tmp_path / "user-data"
    keys.write_text("# mine\nssh-ed25519 AAAA a@b\n\nssh-rsa BBBB c@d\n")
    data.write_bytes(b"#cloud-config\n")

    said = bms(
        "--as", "tenant-a", "instance", "create", "web", "--flavor", "bm", "--image", "deb",
        "--network", "blue,address=10.1.0.7,vlan=100", "--network", "projects/other/networks/green",
        "--ssh-key-file", str(keys), "--user-data", str(data), "--hostname", "www", "--label", "env=lab", "--wait",
    )  # fmt: skip

    (request,) = world.asked("CreateInstance")
    wanted = request.instance
    assert said.code == 0
    assert (request.parent, request.instance_id) == ("projects/tenant-a", "web")
    assert (wanted.flavor, wanted.image, wanted.hostname) == ("flavors/bm", "images/deb", "www")
    assert [network.network for network in wanted.networks] == [
        "projects/tenant-a/networks/blue",
        "projects/other/networks/green",
    ]
    assert (list(wanted.networks[0].fixed_addresses), wanted.networks[0].vlan_tag) == (["10.1.0.7"], 100)
    assert list(wanted.ssh_public_keys) == ["ssh-ed25519 AAAA a@b", "ssh-rsa BBBB c@d"]
    assert wanted.user_data == b"#cloud-config\n"
    assert request.request_id
    assert "10.1.0.7" in said.out


def test_the_address_is_told_at_once(bms: Shell) -> None:
    """
    Without --wait the operation is named, and where to log in later.
    """
    said = bms(CREATE)

    assert said.code == 0
    assert "Log in to 10.1.0.7 when it is active." in said.out
    assert "bms operation wait projects/tenant-a/operations/lifecycle-" in said.err


def test_a_dry_run_shows_the_plan(bms: Shell, world: World) -> None:
    """
    --dry-run prints the steps, and no instance is made.
    """
    said = bms(f"{CREATE} --dry-run")

    assert "first" in said.out
    assert not world.instances


def test_a_deploy_that_fails(bms: Shell, world: World) -> None:
    """
    The exit code is 1, and the cause and remedy are told.
    """
    world.operation_error = OperationFailed("the disk does not take it", remedy="Delete it and try again.")

    said = bms(f"{CREATE} --wait")

    assert said.code == 1
    assert "web: the disk does not take it" in said.err


@pytest.mark.parametrize("verb", ["start", "stop", "reboot", "rescue", "unrescue"])
def test_verbs_take_several_names(bms: Shell, world: World, verb: str) -> None:
    """
    Each name is called by its own request id, and all are followed.
    """
    bms(f"{CREATE} --wait")
    bms(CREATE.replace("web", "db") + " --wait")

    said = bms(f"--as tenant-a instance {verb} web db --wait")

    requests = world.asked(f"{verb.capitalize()}Instance")
    assert said.code == 0
    assert [request.name for request in requests] == [
        "projects/tenant-a/instances/web",
        "projects/tenant-a/instances/db",
    ]
    assert len({request.request_id for request in requests}) == 2
    assert "web  done" in said.out
    assert "db   done" in said.out


@pytest.mark.parametrize("verb", ["delete", "rebuild"])
def test_what_destroys_asks(bms: Shell, world: World, verb: str) -> None:
    """
    Without --yes and without anybody to ask, nothing happens.
    """
    bms(f"{CREATE} --wait")

    said = bms(f"--as tenant-a instance {verb} web")

    assert said.code == 2
    assert "CONFIRMATION_NEEDED" in said.err
    assert not world.asked(f"{verb.capitalize()}Instance")
    assert bms(f"--as tenant-a instance {verb} web --yes --wait").code == 0


def test_networks_come_and_go(bms: Shell, world: World) -> None:
    """
    attach takes a network with address and tag, detach its name.
    """
    bms(f"{CREATE} --wait")

    assert bms("--as tenant-a instance attach web green,vlan=7 --wait").code == 0
    assert bms("--as tenant-a instance detach web green --wait").code == 0
    assert world.asked("AttachNetwork")[0].network.vlan_tag == 7
    assert world.asked("DetachNetwork")[0].network == "projects/tenant-a/networks/green"


@pytest.mark.parametrize("network", ["blue,vlan=x", "blue,colour=red", "blue,address="])
def test_a_network_that_is_not_understood(bms: Shell, network: str) -> None:
    """
    A malformed network is a usage error that shows the form.
    """
    said = bms(CREATE.replace("blue", network))

    assert said.code == 2
    assert "NETWORK[,address=10.1.0.7][,vlan=100]" in said.err


def test_projects(bms: Shell, world: World) -> None:
    """
    A login works in its own project; --project chooses another, -A all.
    """
    bms(f"{CREATE} --wait")

    assert "tenant-a/web" in bms("--as tenant-a instance list").out
    assert "No instances" in bms("instance list").err
    assert "tenant-a/web" in bms("instance list --project tenant-a").out
    assert "tenant-a/web" in bms("instance list -A").out
    assert json.loads(bms("instance list -A -o json").out)[0]["login_address"] == "10.1.0.7"


def test_operations_are_listed_shown_and_followed(bms: Shell, world: World) -> None:
    """
    An operation is found by its name alone: it says whose it is.
    """
    bms(CREATE)
    (name,) = world.operations

    assert "running" in bms("--as tenant-a operation list").out
    shown = bms("operation", "show", name).out
    assert "tenant-a/instances/web" in shown
    assert "what comes first" in shown
    assert bms("operation", "wait", name).code == 0
    assert "100%" in bms("operation", "show", name).out


def test_no_operation_has_such_a_name(bms: Shell) -> None:
    """
    A name that is no operation's is told as such.
    """
    said = bms("operation show web")

    assert said.code == 1
    assert "is not the name of an operation" in said.err


def test_ctrl_c_leaves_the_operation_running(bms: Shell, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Who stops following is told that it goes on, and how to follow it again; the exit code says that it is not done.
    """

    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(waiting, "look", pressed)

    said = bms(f"{CREATE} --wait")

    assert said.code == 4, said
    (name,) = world.operations
    assert "it goes on" in said.err
    assert f"bms operation wait {name}" in said.err
    assert not world.operations[name].done
