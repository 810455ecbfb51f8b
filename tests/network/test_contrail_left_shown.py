# SPDX-License-Identifier: Apache-2.0
"""A node, port or port group that shows what is no more is found, and removed; what others made there is neither."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from bms.network.v1 import leftover_pb2 as lo
from services.network.operations.leftovers import GRACE
from services.runtime.contrail import MAC, listed
from services.runtime.database import Database
from tests.network.conftest import OTHER, SERVER, link
from tests.network.contrail_rig import CONFIG, Cloud, furnished, ok
from tests.support.clocks import SequentialIds
from tests.support.wire import Reply, reason, service

KEPT = (409, "Delete when resource still referred: ['http://contrail.test:8082/x/y']")
BOND = "bond0"


@pytest.fixture
def cloud(database: Database, tmp_path: Path) -> Iterator[Cloud]:
    made = Cloud(database, tmp_path, furnished())
    yield made
    made.close()


def bonded(index: int, server: str = SERVER) -> Any:
    return link(index, server, group=BOND)


def registered(cloud: Cloud, server: str = SERVER, *, bond: bool = False) -> None:
    """Shows a server with two ports, and lets go of it what nothing was asked of."""
    make = bonded if bond else link
    ok(cloud.register(make(0, server), make(1, server), server=server))
    ok(cloud.read(server))


def forgotten(cloud: Cloud, refused: str, server: str = SERVER) -> None:
    """Removes a server while Contrail refuses to delete any of *refused*, and waits until nothing is on its way."""
    cloud.fake.refuses["DELETE", refused] = KEPT
    ok(cloud.register(server=server, fence=2))
    later(cloud)


def later(cloud: Cloud) -> None:
    cloud.clock.advance(GRACE.total_seconds() + 1)


def left(cloud: Cloud, page_size: int = 0) -> list[lo.Leftover]:
    found: list[lo.Leftover] = []
    token = ""
    while True:
        request = lo.ListLeftoversRequest(page_size=page_size, page_token=token)
        page = ok(cloud.wire.call("ListLeftovers", request, caller=service()))
        found += page.leftovers
        token = page.next_page_token
        if not token:
            return found


def remove(cloud: Cloud, leftover: lo.Leftover, **more: Any) -> Reply:
    request = lo.RemoveLeftoverRequest(name=leftover.name, etag=leftover.etag, **more)
    return cloud.wire.call("RemoveLeftover", request, caller=service())


def kinds(found: list[lo.Leftover]) -> list[str]:
    return [one.kind for one in found]


def there(cloud: Cloud) -> dict[str, int]:
    return {kind: len(cloud.fake.every(kind)) for kind in ("node", "port", "port-group")}


# -- what is


@pytest.mark.parametrize("page_size", [0, 1])
@pytest.mark.parametrize(("refused", "stays"), [("port", ["port", "node"]), ("node", ["node"])])
def test_what_was_refused_to_go_is_found_and_removed(
    cloud: Cloud, refused: str, stays: list[str], page_size: int
) -> None:
    """
    What is below a node is told before it, so that one may be removed after another; each is in the server's log.
    """
    registered(cloud)
    registered(cloud, OTHER)
    assert left(cloud, page_size) == []
    forgotten(cloud, refused)

    found = left(cloud, page_size)
    assert kinds(found) == stays
    assert {one.server for one in found} == {f"servers/{SERVER}"}
    assert all(one.removable and one.HasField("create_time") for one in found)
    for one in found:
        ok(remove(cloud, one))
    assert left(cloud, page_size) == []
    assert there(cloud) == {"node": 1, "port": 2, "port-group": 0}
    assert [event.header.type for event in cloud.told(4)][-2:] == ["leftover.removal_requested", "leftover.removed"]


def test_a_database_that_was_restored(cloud: Cloud) -> None:
    """
    Contrail has all of it again: ports at which its switch ports point, in a group, below a node.
    """
    registered(cloud, bond=True)
    before = [*cloud.fake.objects.things.values()]
    ok(cloud.register(fence=2))
    assert there(cloud) == {"node": 0, "port": 0, "port-group": 0}
    for thing in before:
        cloud.fake.objects.things[thing.uuid] = thing
    later(cloud)

    found = left(cloud)
    assert sorted(kinds(found)) == ["node", "port", "port", "port-group"]
    # The last first: it waits for those below, with what Contrail says.
    refused = remove(cloud, found[-1])
    assert refused.code is grpc.StatusCode.UNAVAILABLE
    assert "children still present" in refused.status.message
    for one in found:
        ok(remove(cloud, one))
    assert there(cloud) == {"node": 0, "port": 0, "port-group": 0}


def test_a_port_that_its_server_has_no_more(cloud: Cloud) -> None:
    """
    The server stays, and so does the rest of it; the group that the port was in loses it.
    """
    ok(cloud.register(bonded(0), bonded(1), bonded(2)))
    ok(cloud.read())
    cloud.fake.refuses["DELETE", "port"] = KEPT
    ok(cloud.register(bonded(0), bonded(1)))
    later(cloud)

    (found,) = left(cloud)
    assert (found.kind, found.removable) == ("port", True)
    ok(remove(cloud, found))
    assert there(cloud) == {"node": 1, "port": 2, "port-group": 1}
    assert left(cloud) == []


def test_a_group_that_its_server_has_no_more(cloud: Cloud) -> None:
    """
    The ports are there, and in no group.
    """
    registered(cloud, bond=True)
    cloud.fake.refuses["DELETE", "port-group"] = KEPT
    ok(cloud.register(link(0), link(1)))
    later(cloud)

    (found,) = left(cloud)
    assert (found.kind, found.removable) == ("port-group", True)
    assert BOND in found.why
    ok(remove(cloud, found))
    assert there(cloud) == {"node": 1, "port": 2, "port-group": 0}


def test_what_is_of_a_server_that_never_was_may_be_anothers(cloud: Cloud) -> None:
    """
    Another manager's node looks the same: it is told, and refused.
    """
    stranger = "00000000-0000-4000-8000-0000000000ff"
    mark = listed({"bms-server": stranger})
    cloud.fake.add("node", [CONFIG, stranger], uuid=stranger, node_type="baremetal", annotations=mark)

    (found,) = left(cloud)
    assert (found.kind, found.removable) == ("node", False)
    assert remove(cloud, found).code is grpc.StatusCode.FAILED_PRECONDITION
    assert there(cloud)["node"] == 1


# -- what is not


def test_what_others_made_is_not_told(cloud: Cloud) -> None:
    """
    A node without our mark, what is below one of ours, and a mark that somebody copied; no password is read.
    """
    info = {"name": "srv", "driver_info": {"ipmi_password": "calvin-the-secret"}}
    cloud.fake.add("node", [CONFIG, "srv"], node_type="baremetal", bms_info=info)
    copied = listed({"bms-server": SERVER, MAC: "", "bms-port": BOND})
    cloud.fake.add("node", [CONFIG, "copied"], node_type="baremetal", annotations=copied, bms_info=info)
    registered(cloud, OTHER)
    cloud.fake.add("port", [CONFIG, OTHER, "ens1"], parent_type="node", annotations=listed({"bms-server": OTHER}))
    cloud.fake.add("port-group", [CONFIG, OTHER, BOND], parent_type="node", annotations=listed({"bms-server": OTHER}))
    later(cloud)
    answers: list[Any] = []
    send = cloud.fake.send

    def heard(*asked: Any, **more: Any) -> Any:
        answers.append(send(*asked, **more))
        return answers[-1]

    cloud.fake.send = heard  # type: ignore[method-assign]  # what goes over the wire is looked at
    assert left(cloud) == []
    assert "calvin-the-secret" not in json.dumps([answer.body for answer in answers])


def test_what_is_young_is_none_yet(cloud: Cloud) -> None:
    """
    By Contrail's own word: it was made a moment ago.
    """
    registered(cloud)
    forgotten(cloud, "node")
    (found,) = left(cloud)
    cloud.clock.advance(found.create_time.ToSeconds() - cloud.clock.now().timestamp())

    assert left(cloud) == []


# -- what changes


def test_what_has_changed_is_not_removed(cloud: Cloud) -> None:
    """
    Somebody wrote to the node since it was judged.
    """
    registered(cloud)
    forgotten(cloud, "node")
    (found,) = left(cloud)
    cloud.fake.do("PUT", f"/node/{SERVER}", {"node": {"hostname": "mine"}})

    reply = remove(cloud, found)
    assert (reply.code, reason(reply.status)) == (grpc.StatusCode.ABORTED, "STALE")
    assert there(cloud)["node"] == 1


def test_what_is_registered_again_is_not_removed(cloud: Cloud) -> None:
    """
    The server came back meanwhile, with its ports.
    """
    registered(cloud)
    forgotten(cloud, "port")
    found = left(cloud)
    ok(cloud.register(link(0), link(1), fence=3))
    before = there(cloud)
    later(cloud)

    for one in found:
        assert remove(cloud, one).code is grpc.StatusCode.NOT_FOUND
    assert there(cloud) == before == {"node": 1, "port": 2, "port-group": 0}


def test_what_is_registered_in_that_moment_is_shown_again(
    cloud: Cloud, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Another process registered it and met what was about to be removed: it is shown once more.
    """
    (tmp_path / "other").mkdir()
    other = Cloud(database, tmp_path / "other", cloud.fake)
    monkeypatch.setattr(other.log, "_ids", SequentialIds("other"))
    registered(cloud)
    cloud.fake.refuses["DELETE", "port"] = KEPT
    ok(cloud.register(link(1)))
    later(cloud)
    other.clock.advance(GRACE.total_seconds() + 1)
    (found,) = left(cloud)
    delete = cloud.api.delete

    def late(kind: str, ident: str) -> None:
        ok(other.register(link(0)))
        delete(kind, ident)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(cloud.api, "delete", late)
        ok(remove(cloud, found))

    shown = [one["bms_port_info"]["address"] for one in cloud.fake.every("port")]
    assert shown == [link(0).mac_address]
    later(cloud)
    assert left(cloud) == []
    other.close()
