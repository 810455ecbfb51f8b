# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import stat
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest

from bms.inventory.v1.catalogue_pb2 import Image
from bms.ipam.v1.lease_pb2 import Owner
from bms.network.v1 import network_pb2
from bms.telemetry.v1.telemetry_pb2 import SourcedEvent, UveChange, WatchEventsResponse, WatchUvesResponse
from services.cli.nouns import Span
from tests.cli.conftest import Shell
from tests.cli.fakes.world import World


def test_flavors(bms: Shell, world: World) -> None:
    """
    A flavor is made, changed in what is given, shown and removed.
    """
    assert bms("flavor create bm.large --class gold --min-cpus 8 --capability boot_mode=uefi").code == 0
    assert ">= 8 cores, boot_mode=uefi" in bms("flavor list").out
    assert bms("flavor set bm.large --min-cpus 16 --capability boot_mode- --label a=b").code == 0
    changed = world.flavors["flavors/bm.large"]
    assert (changed.min_cpus, changed.resource_class, dict(changed.capabilities), dict(changed.labels)) == (
        16,
        "gold",
        {},
        {"a": "b"},
    )
    assert "gold" in bms("flavor show bm.large").out
    assert "removed" in bms("flavor delete bm.large").out
    assert bms("flavor show bm.large").code == 1


def test_images(bms: Shell, world: World) -> None:
    """
    An image belongs to the login's project unless it is the site's; a kernel makes it a partition image.
    """
    bms("--as tenant-a image create mine --source https://h/x --checksum sha256:00")
    bms("image create all --site --visibility public --source https://h/x --checksum sha256:00 --kernel https://h/k")

    mine, everybodys = world.images["images/mine"], world.images["images/all"]
    assert (mine.project, mine.type) == ("tenant-a", Image.TYPE_WHOLE_DISK)
    assert (everybodys.project, everybodys.type, everybodys.visibility) == (
        "",
        Image.TYPE_PARTITION,
        Image.VISIBILITY_PUBLIC,
    )
    assert "partition" in bms("image list").out


def test_pools_and_placement(bms: Shell) -> None:
    """
    Pools say why the others are not available; explain says which constraints each server fails.
    """
    assert "2 CLEANING" in bms("pool list").out
    out = bms("explain --flavor bm").out
    assert "min_cpus wants 32, has 16; manufacturer wants Dell Inc., has none known" in out
    assert "1 would do now." in out


def test_networks_and_prefixes(bms: Shell, world: World) -> None:
    """
    Both are made in the login's project; a prefix's ranges and cool-down are typed as people write them.
    """
    assert bms("network create clean --class cleaning --vlan 77").code == 0
    assert world.networks["projects/site/networks/clean"].network_class == network_pb2.PORT_CLASS_CLEANING
    assert "site/clean" in bms("network list").out
    made = bms(
        "prefix create p --network blue --cidr 10.0.0.0/24 --pool 10.0.0.9-10.0.0.99 --cool-down 5m --dns 9.9.9.9"
    )
    prefix = world.prefixes["projects/site/prefixes/p"]
    assert made.code == 0
    assert prefix.network == "projects/site/networks/blue"
    assert (prefix.pools[0].start, prefix.pools[0].end, prefix.cool_down.seconds) == ("10.0.0.9", "10.0.0.99", 300)
    assert "site/p" in bms("prefix list").out
    assert bms("prefix create p --network blue --cidr 10.0.0.0/24 --pool 10.0.0.9").code == 2


def test_containers(bms: Shell, world: World) -> None:
    """
    A container needs no network, and a part of it no range but a length.
    """
    assert bms("prefix create pool --container --cidr 10.0.0.0/8 --vrf site.all").code == 0
    assert bms("prefix create p --parent pool --length 24 --network blue").code == 0

    assert world.prefixes["projects/site/prefixes/pool"].container
    assert world.prefixes["projects/site/prefixes/p"].parent_prefix == "projects/site/prefixes/pool"
    assert world.asked("CreatePrefix")[1].prefix_length == 24
    assert "(container)" in bms("prefix list").out
    assert "Cool-down" not in bms("prefix show pool").out
    assert "Part of    projects/site/prefixes/pool" in bms("prefix show site/p").out
    assert "Cool-down  none" in bms("prefix show p").out


def test_prefixes_are_changed(bms: Shell, world: World) -> None:
    """
    Only what is given changes; what shall be empty is said by its name, and nothing at all is refused.
    """
    bms("prefix create p --network blue --cidr 10.0.0.0/24 --reserve 10.0.0.2-10.0.0.5 --dns 9.9.9.9 --shared")
    prefix = world.prefixes["projects/site/prefixes/p"]
    assert (prefix.shared, prefix.reserved[0].end) == (True, "10.0.0.5")

    changed = bms(
        "prefix set p --not-shared --clear reserved --pool 10.0.0.9-10.0.0.99 --cool-down 1m --sticky 2m --domain a.b"
    )

    assert changed.code == 0
    assert (prefix.shared, len(prefix.reserved), prefix.pools[0].end) == (False, 0, "10.0.0.99")
    assert (list(prefix.dns_servers), prefix.cool_down.seconds) == (["9.9.9.9"], 60)
    assert (prefix.sticky_time.seconds, prefix.domain) == (120, "a.b")
    assert bms("prefix set p").code == 2
    assert bms("prefix set p --clear pools --pool 10.0.0.9-10.0.0.99").code == 2
    assert bms("prefix list --shared").code == 0
    assert world.asked("ListPrefixes")[-1].shared


def test_leases(bms: Shell, world: World) -> None:
    """
    A virtual machine leases and gives back; the epoch is looked up unless it is given.
    """
    bms("lease create --network blue --owner vm-7 --address 10.0.0.7")
    (name,) = world.leases

    assert world.leases[name].owner.kind == Owner.KIND_VIRTUAL_MACHINE
    assert "vm-7" in bms("lease list --network blue --state leased").out
    assert world.asked("ListLeases")[0].filter == 'network = "projects/site/networks/blue" AND state = "leased"'
    assert "cooling" in bms("lease", "release", name.removeprefix("projects/").replace("/leases/", "/")).out
    assert world.asked("ReleaseLease")[0].epoch == 3


def test_leases_are_found_as_tables_show_them(bms: Shell, world: World) -> None:
    """
    An owner or a network is PROJECT/ID, as shown; what is listed is in order of addresses, and not of their text.
    """
    for address in ("10.1.0.10", "10.1.0.9", "2001:db8::9"):
        bms(f"lease create --network blue --owner vm-7 --address {address}")
    rows = bms("lease list -A --network tenant-a/blue --owner tenant-a/web").out.splitlines()[1:]

    assert [row.split()[0] for row in rows] == ["10.1.0.9", "10.1.0.10", "2001:db8::9"]
    asked = world.asked("ListLeases")[0].filter
    assert asked == 'network = "projects/tenant-a/networks/blue" AND owner = "projects/tenant-a/instances/web"'


def test_leases_of_both_versions(bms: Shell, world: World) -> None:
    """
    A virtual machine's both addresses are leased in one call, with its host name; a version beside it is refused.
    """
    out = bms("lease create --network blue --owner vm-7 --both --host-name web-1").out

    assert "10.1.0.9" in out
    assert "2001:db8::9" in out
    assert world.asked("LeaseAddresses")[0].host_name == "web-1"
    assert bms("lease create --network blue --owner vm-7 --both --ip-version 6").code == 2


def test_events_are_listed(bms: Shell, world: World) -> None:
    """
    An event is a row: when, whose, what about, its place, what, from which state to which, who, why.
    """
    world.events.append(event(1))

    out = bms("event list --type port. --limit 5").out

    assert "server 00000000" in out
    assert "enrolled -> verifying" in out
    assert world.asked("QueryEvents")[0].type_prefix == "port."
    assert json.loads(bms("event list -o json").out)[0]["event"]["header"]["type"] == "server.state_changed"


def event(number: int) -> SourcedEvent:
    made = SourcedEvent(service="lifecycle")
    header = made.event.header
    header.stream, header.sequence = "servers/00000000-0000-4000-8000-000000000001", number
    header.type, header.state_before, header.state_after = "server.state_changed", "enrolled", "verifying"
    header.time.FromDatetime(datetime(2026, 1, 1, tzinfo=UTC))
    made.event.body.message = f"number {number}"
    return made


def batch(token: str, *numbers: int) -> WatchEventsResponse:
    return WatchEventsResponse(token=token, events=[event(number) for number in numbers])


def test_a_watch_goes_on_where_it_was_cut(bms: Shell, world: World) -> None:
    """
    A stream that is cut is taken up behind the last batch seen, and nothing is shown twice.
    """
    world.streams += [
        [batch("t1", 1, 2), grpc.StatusCode.UNAVAILABLE],
        [batch("t2"), grpc.StatusCode.RESOURCE_EXHAUSTED],
        [batch("t3", 3)],
    ]

    said = bms("event watch --after 0 --count 3")

    assert [line.rpartition("  ")[2] for line in said.out.splitlines()] == ["number 1", "number 2", "number 3"]
    assert [request.after for request in world.asked("WatchEvents")] == ["0", "t1", "t2"]
    assert "bms event watch --after t3" in said.err
    assert said.code == 0


def test_a_batch_seen_in_part_is_told_again(bms: Shell, world: World) -> None:
    """
    A watch that ends within a batch names the token before it: repeating is better than losing.
    """
    world.streams.append([batch("t1", 1), batch("t2", 2, 3)])

    assert "--after t1" in bms("event watch --after 0 --count 2").err


def test_a_watch_that_never_began_is_refused(bms: Shell, world: World) -> None:
    """
    Without a token there is nothing to go on from: an error is an error.
    """
    world.streams.append([grpc.StatusCode.UNAVAILABLE])

    assert bms("event watch").code == 3


def test_a_watch_ends_by_time(bms: Shell, world: World) -> None:
    """
    --for ends it well, with the token to go on from.
    """
    world.delays["WatchEvents"] = 2.0

    said = bms("event watch --after t9 --for 0.3s")

    assert said.code == 0
    assert "--after t9" in said.err


def test_uves_are_watched(bms: Shell, world: World) -> None:
    """
    A server by the name people use; each change a line, or JSON; a cut stream is taken up, and the end says how.
    """
    key = world.add_server("a").name.removeprefix("servers/")
    there = UveChange(name=f"uves/server/{key}", struct="IronicNode")
    there.contents.update({"power_state": "power on", "__T": 1})
    gone = UveChange(name=f"uves/server/{key}", struct="IronicNode", gone=True)
    script: list[Any] = [[WatchUvesResponse(token="4", changes=[there]), grpc.StatusCode.UNAVAILABLE]]
    script.append([WatchUvesResponse(token="6", changes=[gone])])
    world.uve_streams += script * 2

    said = bms("uve watch server a --struct IronicNode --count 2")
    machine = bms("--output json uve watch --count 2")

    first, second = said.out.splitlines()
    assert first.endswith(f'server/{key}  IronicNode  {{"power_state": "power on"}}')
    assert second.endswith("IronicNode  gone, and with it the UVE")
    assert f"bms uve watch server {key} --struct IronicNode --after 6" in said.err
    assert [(asked.after, *asked.types, *asked.keys, *asked.structs) for asked in world.asked("WatchUves")[:2]] == [
        ("", "server", key, "IronicNode"),
        ("4", "server", key, "IronicNode"),
    ]
    assert [json.loads(line).get("gone") for line in machine.out.splitlines()] == [None, True]


def test_uves_and_messages(bms: Shell, world: World) -> None:
    """
    A server's UVE is found by the name people use; messages are printed as they came.
    """
    full = world.add_server("a").name

    assert json.loads(bms("uve show server a").out) == {"IronicNode": {"provision_state": "available"}}
    assert world.asked("GetUve")[0].name == f"uves/server/{full.removeprefix('servers/')}"
    assert "k1" in bms("uve list generator").out
    assert "<IronicNodeInfo/>" in bms("message list --server a").out
    assert world.asked("ListSandeshMessages")[0].object_key == f"ObjectServerTable:{full.removeprefix('servers/')}"


def test_the_fleet_at_a_glance(bms: Shell, world: World) -> None:
    """
    top prints states, waits and what is overdue, once where nobody looks on.
    """
    world.add_server("a", "active")
    world.add_server("b", "active")

    out = bms("top").out

    assert "2 servers, 0 in maintenance, 1 overdue" in out
    assert "BMC_SILENT" in out
    assert json.loads(bms("top -o json").out)["total_count"] == 2


def test_status(bms: Shell, offline: Shell) -> None:
    """
    Five that serve are exit code 0.
    """
    said = bms("status")

    assert said.code == 0
    assert said.out.count("serving") == 5


def test_status_of_what_is_down(offline: Shell) -> None:
    """
    One that does not is exit code 3, and it is named.
    """
    said = offline("status")

    assert said.code == 3
    assert said.out.count("down") == 5
    assert "Not serving: inventory" in said.err


def test_every_call_carries_the_token(bms: Shell, world: World) -> None:
    """
    The login's token goes with each call, with an id for the logs.
    """
    bms("--as tenant-a flavor list")

    ((_, _, metadata),) = world.calls
    assert metadata["authorization"] == "Bearer token-of-tenant-a"
    assert len(metadata["x-request-id"]) == 36


def test_verbose_prints_the_line_that_does_the_same(bms: Shell) -> None:
    """
    -v shows each call as a grpcurl line; the token is read by the shell, and never on the screen.
    """
    said = bms("flavor create x --description it's -v --request-id 9f1c2b1e-7b1f-4c1e-9d0a-3f6f2f4f8a11")

    assert said.err.startswith(
        f'grpcurl -plaintext -H "authorization: Bearer $(cat {bms.data.token_file("site")})" -d '
    )
    assert "bms.inventory.v1.InventoryService/CreateFlavor" in said.err
    assert "9f1c2b1e-7b1f-4c1e-9d0a-3f6f2f4f8a11" in said.err
    assert "token-of-site" not in said.err + said.out


def test_tokens(offline: Shell) -> None:
    """
    A token is made with its roles, in a file only its owner reads, and listed without itself.
    """
    said = offline("token create carol --reader tenant-a --expires 30d")

    path = offline.data.token_file("carol")
    assert said.code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(offline.data.tokens_file.stat().st_mode) == 0o600
    assert offline.data.logins()["carol"].project == "tenant-a"
    listed = offline("token list").out
    assert "tenant-a=reader" in listed
    assert path.read_text().strip() not in listed + offline.data.tokens_file.read_text()


@pytest.mark.parametrize(
    "line", ["token create carol", "token create service --admin", "token create BAD/name --admin"]
)
def test_tokens_that_make_no_sense(offline: Shell, line: str) -> None:
    """
    A token for nothing, for the services' own name, or by a name that is no file's is refused.
    """
    said = offline(line)

    assert said.code in (1, 2)
    assert "Error" in said.err


def test_a_new_token_replaces_the_old(offline: Shell) -> None:
    """
    A login has one token.
    """
    offline("token create carol --admin")
    before = offline.data.token_file("carol").read_text()
    offline("token create carol --auditor")

    assert before != offline.data.token_file("carol").read_text()
    assert offline("token list -o name").out.splitlines().count("carol") == 1


def test_other_words_for_verbs(bms: Shell) -> None:
    """
    Plurals, get, ls and rm are what people type elsewhere.
    """
    bms("flavor create x")

    assert bms("flavors ls").out == bms("flavor list").out
    assert bms("flavor get x").code == 0
    assert bms("flavor rm x").code == 0


def test_resources(offline: Shell) -> None:
    """
    api-resources lists the forms of names without asking anybody.
    """
    assert "projects/{project}/instances/{instance}" in offline("api-resources").out


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200), ("1.5d", 129600)])
def test_lengths_of_time(text: str, seconds: int) -> None:
    """
    A time is a number and a unit.
    """
    assert Span().convert(text, None, None).total_seconds() == seconds


@pytest.mark.parametrize("text", ["soon", "5 weeks", "-1s", ""])
def test_what_is_no_time(bms: Shell, text: str) -> None:
    """
    Anything else is refused, with the form.
    """
    said = bms("server", "wait", "a", "--for", "state=active", "--timeout", text)

    assert said.code == 2
    assert "90s, 15m, 2h or 1d" in said.err
