# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from bms.inventory.v1 import pool_pb2, server_pb2
from tests.inventory.rig import ADMIN, AUDITOR, DEMO, HOLDER, LIFECYCLE, OTHER, Rig, server
from tests.support.wire import detail, fields, reason, remedy


def order(holder: str = HOLDER, **fields_: Any) -> pool_pb2.ReserveServersRequest:
    return pool_pb2.ReserveServersRequest(**{"holder": holder, "flavor": "flavors/any", **fields_})


def test_all_or_nothing(rig: Rig) -> None:
    """
    As many servers as asked for, or none, with the most frequent reasons why the others would not do.
    """
    rig.flavor()
    for number in (1, 2):
        rig.available(number)
    rig.create(3)
    rig.create(4)
    rig.create(5, node_type=server_pb2.NODE_TYPE_ESXI)

    reply = rig.refused("ReserveServers", order(count=3), LIFECYCLE)

    assert (reply.code, reason(reply.status)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "EXHAUSTED")
    info = detail(reply.status, error_details_pb2.ErrorInfo)
    assert info is not None
    assert info.metadata["reasons"] == "2 ENROLLED, 1 NOT_BAREMETAL"
    assert (info.metadata["wanted"], info.metadata["eligible"], info.metadata["total"]) == ("3", "2", "5")
    assert "bms explain" in remedy(reply.status)
    assert "server.reserved" not in rig.types()
    assert len(rig.reserve(count=2)) == 2


def test_the_same_holder_gets_the_same_servers(rig: Rig) -> None:
    """
    Asking again, by a new request, takes nothing more; asking for more takes the rest.
    """
    rig.flavor()
    for number in range(1, 5):
        rig.available(number)

    first = rig.reserve(count=2)

    assert sorted(rig.reserve(count=2)) == sorted(first)
    more = rig.reserve(count=3)
    assert set(first) < set(more)
    assert rig.types().count("server.reserved") == 3
    found = rig.get(first[0])
    assert (found.pool.reserved_by, found.pool.available, found.pool.unavailable_reason) == (HOLDER, False, "RESERVED")


def test_released_servers_may_be_taken_by_others(rig: Rig) -> None:
    """
    What a holder gives back is free; of servers in use nothing is given back.
    """
    rig.flavor()
    for number in (1, 2):
        rig.available(number)
    used, unused = rig.reserve(count=2)
    rig.report(used, 2, unavailable_reason="PROVISIONING", held_by=HOLDER)

    rig.release()
    rig.release()

    assert rig.get(used).pool.reserved_by == HOLDER
    assert rig.get(unused).pool.available
    assert rig.types().count("server.released") == 1
    assert rig.reserve("projects/other/instances/x") == [unused]


def test_a_refused_server_is_exchanged(rig: Rig) -> None:
    """
    A holder who excludes a server that he has reserved gives it back and gets another.
    """
    rig.flavor()
    for number in (1, 2):
        rig.available(number)
    (first,) = rig.reserve()

    (second,) = rig.reserve(excluded_servers=[first])

    assert first != second
    assert rig.get(first).pool.available


def test_a_server_on_its_way_back_is_not_offered_to_its_holder_again(rig: Rig) -> None:
    """
    A holder who excludes a server that lifecycle still counts as his gets another, and that one stays his.
    """
    rig.flavor()
    for number in (1, 2):
        rig.available(number)
    (first,) = rig.reserve()
    rig.report(first, 2, unavailable_reason="IN_USE", held_by=HOLDER)

    (second,) = rig.reserve(excluded_servers=[first])

    assert first != second
    assert rig.get(first).pool.reserved_by == HOLDER


def test_only_these_servers(rig: Rig) -> None:
    """
    An order that names servers gets one of these, or none.
    """
    rig.flavor()
    names = [rig.available(number).name for number in (1, 2, 3)]

    assert rig.reserve(servers=[names[1]]) == [names[1]]
    reply = rig.refused("ReserveServers", order("projects/demo/instances/b", servers=[names[1]]), LIFECYCLE)
    assert "2 EXCLUDED" in reply.status.message
    assert "1 RESERVED" in reply.status.message


def test_constraints_of_flavor_and_image_hold(rig: Rig) -> None:
    """
    A server is taken only if it satisfies flavor and image; an image that the project may not use does not exist.
    """
    rig.flavor("large", min_cpus=64)
    rig.flavor()
    rig.available(1)
    (good,) = [rig.available(2, properties=server_pb2.HardwareProperties(cpus=64, cpu_arch="aarch64")).name]
    rig.image("arm", cpu_arch="aarch64")
    rig.image("x86", cpu_arch="x86_64")
    rig.image("theirs", OTHER, project="other")

    assert rig.reserve("projects/demo/instances/a", "flavors/large", image="images/arm") == [good]
    rig.release("projects/demo/instances/a")
    reply = rig.refused("ReserveServers", order(flavor="flavors/large", image="images/x86"), LIFECYCLE)
    assert reply.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    for missing in ({"image": "images/theirs"}, {"image": "images/none"}, {"flavor": "flavors/none"}):
        assert rig.refused("ReserveServers", order(**missing), LIFECYCLE).code is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"holder": "web-1"}, "holder"),
        ({"count": 101}, "count"),
        ({"count": -1}, "count"),
        ({"flavor": "any"}, "flavor"),
        ({"excluded_servers": ["x"]}, "excluded_servers[0]"),
        ({"servers": ["servers/11111111-1111-4111-8111-111111111111"] * 1001}, "servers"),
    ],
)
def test_malformed_orders(rig: Rig, said: dict[str, Any], field: str) -> None:
    """
    What is wrong with an order is told by its field.
    """
    assert fields(rig.refused("ReserveServers", order(**said), LIFECYCLE).status) == [field]


def test_reports_are_applied_if_newer(rig: Rig) -> None:
    """
    An older or equal report changes nothing; a newer one that says the same makes no event.
    """
    made = rig.create(1)

    assert rig.report(made.name, 5, available=True).applied
    assert not rig.report(made.name, 5, unavailable_reason="CLEANING").applied
    assert not rig.report(made.name, 4, unavailable_reason="CLEANING").applied
    answer = rig.report(made.name, 6, available=True)
    assert (answer.applied, answer.pool.state_version, answer.pool.available) == (True, 6, True)
    assert rig.types() == ["server.created", "server.pool_changed"]
    assert rig.get(made.name).pool.state_version == 6


def test_a_reservation_ends_when_the_server_is_available_again(rig: Rig) -> None:
    """
    From reserved over held and cleaning to available: the holder stays named until the last of these.
    """
    rig.flavor()
    name = rig.available(1).name
    rig.reserve()

    for version, said, expected in (
        (2, {"unavailable_reason": "PROVISIONING", "held_by": HOLDER}, (False, "PROVISIONING", HOLDER)),
        (3, {"unavailable_reason": "IN_USE", "held_by": HOLDER}, (False, "IN_USE", HOLDER)),
        (4, {"unavailable_reason": "CLEANING"}, (False, "CLEANING", HOLDER)),
        (5, {"available": True}, (True, "", "")),
    ):
        pool = rig.report(name, version, **said).pool
        assert (pool.available, pool.unavailable_reason, pool.reserved_by) == expected
    assert [event.body.instance for event in rig.events(name)][-4:] == [HOLDER, HOLDER, HOLDER, ""]


def test_lifecycles_word_on_the_holder_counts(rig: Rig) -> None:
    """
    If lifecycle lets another instance have the server, that one holds it.
    """
    rig.flavor()
    name = rig.available(1).name
    rig.reserve()

    assert rig.report(name, 2, unavailable_reason="IN_USE", held_by="projects/b/instances/y").pool.reserved_by == (
        "projects/b/instances/y"
    )


def test_inspection_replaces_what_was_declared(rig: Rig) -> None:
    """
    What inspection found is shown and counts for placement; what it did not find stays as declared.
    """
    made = rig.create(1)
    disk = server_pb2.Disk(serial="S1", size_bytes=10**12, model="PM9A3", media="nvme")

    rig.report(
        made.name,
        1,
        available=True,
        properties=server_pb2.HardwareProperties(cpus=64, manufacturer="Acme"),
        disks=[disk],
    )

    found = rig.get(made.name)
    assert (found.properties.cpus, found.properties.memory_mb, found.properties.manufacturer) == (64, 131072, "Acme")
    assert dict(found.properties.capabilities) == {"boot_mode": "uefi"}
    assert list(found.disks) == [disk]
    rig.flavor("big", min_cpus=64, min_disks=1)
    assert rig.reserve(flavor="flavors/big") == [made.name]


def test_a_correction_outweighs_inspection(rig: Rig) -> None:
    """
    An administrator who corrects a property sees his correction; changing anything else leaves inspection's finding.
    """
    made = rig.create(1)
    rig.report(made.name, 1, properties=server_pb2.HardwareProperties(cpus=64))

    rig.ok("UpdateServer", server_pb2.UpdateServerRequest(server=server_pb2.Server(name=made.name, labels={"a": "b"})))
    assert rig.get(made.name).properties.cpus == 64
    change = server_pb2.Server(name=made.name, properties=server_pb2.HardwareProperties(cpus=48))
    rig.ok("UpdateServer", server_pb2.UpdateServerRequest(server=change))
    assert rig.get(made.name).properties.cpus == 48


def test_reports_of_what_is_gone(rig: Rig) -> None:
    """
    A report on a server that does not exist is no failure: there is nothing left to hold.
    """
    answer = rig.report("servers/11111111-1111-4111-8111-111111111111", 7, available=True)

    assert not answer.applied
    assert not answer.HasField("pool")


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"available": True, "held_by": HOLDER}, "held_by"),
        ({"held_by": "nobody"}, "held_by"),
        ({"unavailable_reason": "in use"}, "unavailable_reason"),
        ({"state_version": -1}, "state_version"),
        ({"properties": server_pb2.HardwareProperties(cpus=-1)}, "properties.cpus"),
    ],
)
def test_malformed_reports(rig: Rig, said: dict[str, Any], field: str) -> None:
    """
    A report that contradicts itself or cannot be stored is refused by its field.
    """
    made = rig.create(1)
    request = pool_pb2.ReportServerRequest(**{"server": made.name, "state_version": 1, **said})

    assert fields(rig.refused("ReportServer", request, LIFECYCLE).status) == [field]


def test_pools_and_who_sees_what(rig: Rig) -> None:
    """
    Pools count the same for everybody; which servers they are, tenants are not told.
    """
    rig.flavor()
    rig.available(1)
    made = rig.create(2)
    request = pool_pb2.ListPoolsRequest(kind=pool_pb2.POOL_KIND_CLASS)

    for caller, names in ((ADMIN, [made.name]), (AUDITOR, [made.name]), (DEMO, [])):
        (pool,) = rig.ok("ListPools", request, caller).pools
        assert (pool.name, pool.total_count, pool.available_count) == ("pools/class.compute", 2, 1)
        assert [(each.reason, each.count, list(each.servers)) for each in pool.unavailable] == [("ENROLLED", 1, names)]
    names_seen: list[str] = []
    token = ""
    while True:
        page = rig.ok("ListPools", pool_pb2.ListPoolsRequest(page_size=1, page_token=token))
        names_seen += [each.name for each in page.pools]
        token = page.next_page_token
        if not token:
            break
    assert names_seen == [
        "pools/class.compute",
        "pools/capability.boot_mode=uefi",
        "pools/rack.R1",
        "pools/flavor.any",
    ]


def test_every_candidate_is_explained(rig: Rig) -> None:
    """
    Those that would do come first, then the others by name, each with everything that speaks against it.
    """
    rig.flavor("big", min_cpus=64, labels={"env": "prod"})
    good = rig.available(9, properties=server_pb2.HardwareProperties(cpus=64), labels={"env": "prod"})
    rig.create(1)
    rig.available(2)
    request = pool_pb2.ExplainPlacementRequest(flavor="flavors/big", page_size=2)

    first = rig.ok("ExplainPlacement", request)
    request.page_token = first.next_page_token
    second = rig.ok("ExplainPlacement", request)

    assert first.eligible_count == 1
    found = [*first.candidates, *second.candidates]
    assert [(each.display_name, each.eligible) for each in found] == [
        ("rack1-node9", True),
        ("rack1-node1", False),
        ("rack1-node2", False),
    ]
    assert found[0].server == good.name
    assert [(each.constraint, each.wanted, each.found) for each in found[1].failures] == [
        ("min_cpus", "64", "32"),
        ("labels.env", "prod", "test"),
        ("available", "true", "ENROLLED"),
    ]
    assert second.next_page_token == ""


def test_maintenance_and_quarantine_are_not_offered(rig: Rig) -> None:
    """
    A server that lifecycle takes out of the pool is not taken, and is explained by lifecycle's word.
    """
    rig.flavor()
    name = rig.available(1).name
    rig.report(name, 2, unavailable_reason="QUARANTINED")

    assert "1 QUARANTINED" in rig.refused("ReserveServers", order(), LIFECYCLE).status.message
    (found,) = rig.ok("ExplainPlacement", pool_pb2.ExplainPlacementRequest(flavor="flavors/any")).candidates
    assert [(each.constraint, each.found) for each in found.failures] == [("available", "QUARANTINED")]


def at_once(*verbs: Callable[[], Any]) -> list[Any]:
    """What *verbs* answer or raise, begun in the same moment."""
    start = threading.Barrier(len(verbs))

    def run(verb: Callable[[], Any]) -> Any:
        start.wait()
        return verb()

    with ThreadPoolExecutor(len(verbs)) as pool:
        return list(pool.map(run, verbs))


def test_nobody_gets_what_another_got(rig: Rig) -> None:
    """
    Twelve instances want one of ten servers at once: ten get one each, two are refused, none is given twice.
    """
    rig.flavor()
    for number in range(1, 11):
        rig.available(number)
    orders = [order(f"projects/demo/instances/i{at}") for at in range(12)]

    replies = at_once(*(lambda order=each: rig.wire.call("ReserveServers", order, caller=LIFECYCLE) for each in orders))

    taken = [reply.message.servers[0].name for reply in replies if reply.message]
    assert len(taken) == len(set(taken)) == 10
    assert {reply.code for reply in replies if not reply.message} == {grpc.StatusCode.RESOURCE_EXHAUSTED}


def test_sets_are_taken_whole_under_contention(rig: Rig) -> None:
    """
    Whole sets race for too few servers: each holder has all he asked for, or nothing.
    """
    rig.flavor()
    for number in range(1, 8):
        rig.available(number)
    orders = [order(f"projects/demo/instances/i{at}", count=3) for at in range(6)]

    replies = at_once(*(lambda order=each: rig.wire.call("ReserveServers", order, caller=LIFECYCLE) for each in orders))

    assert sorted(len(reply.message.servers) for reply in replies if reply.message) == [3, 3]
    listed = rig.ok("ListServers", server_pb2.ListServersRequest(filter='reserved_by != ""')).servers
    assert len(listed) == 6


def test_one_holder_asking_twice_at_once_takes_one_set(rig: Rig) -> None:
    """
    The same holder in several requests at the same moment gets one set of servers.
    """
    rig.flavor()
    for number in range(1, 9):
        rig.available(number)

    replies = at_once(*(lambda: rig.wire.call("ReserveServers", order(count=2), caller=LIFECYCLE),) * 4)

    assert len({tuple(sorted(each.name for each in reply.message.servers)) for reply in replies}) == 1


def test_a_name_is_taken_once_under_contention(rig: Rig) -> None:
    """
    The same server registered by eight callers at once is there once; the others are told that it exists.
    """
    request = server_pb2.CreateServerRequest(server=server(1))

    replies = at_once(*(lambda: rig.wire.call("CreateServer", request),) * 8)

    assert sorted(reply.code.name for reply in replies) == [*["ALREADY_EXISTS"] * 7, "OK"]
