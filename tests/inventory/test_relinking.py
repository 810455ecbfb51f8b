# SPDX-License-Identifier: Apache-2.0
"""Where ports are plugged in, as lifecycle changes it for a server that it moves."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from bms.inventory.v1 import pool_pb2, server_pb2
from tests.inventory.rig import ADMIN, HOLDER, LIFECYCLE, Rig, port
from tests.support.wire import Reply, fields, reason, remedy


def links(server: server_pb2.Server, *to: tuple[int, str, str], **more: Any) -> pool_pb2.RelinkServerRequest:
    """A request that plugs ports, by their place, in elsewhere."""
    asked = [
        pool_pb2.ServerLink(port=server.ports[at].name, switch_name=switch, switch_port=there)
        for at, switch, there in to
    ]
    return pool_pb2.RelinkServerRequest(**{"server": server.name, "links": asked, **more})


def held(rig: Rig, number: int = 1) -> server_pb2.Server:
    """A server of two ports that an instance holds."""
    made = rig.available(number, ports=[port(number, 0), port(number, 1)])
    rig.report(made.name, 9, unavailable_reason="IN_USE", held_by=HOLDER.replace("web-1", f"web-{number}"))
    return rig.get(made.name)


def where(server: server_pb2.Server) -> list[tuple[str, str]]:
    return [(one.switch_name, one.switch_port) for one in server.ports]


def test_links_of_a_held_server_change_and_nothing_else(rig: Rig) -> None:
    """
    By lifecycle; its log says from where to where, and the same again changes nothing.
    """
    server = held(rig)
    request = links(server, (0, "leaf9", "xe-1"), etag=server.etag)
    after = rig.ok("RelinkServer", request, LIFECYCLE)

    assert where(after) == [("leaf9", "xe-1"), where(server)[1]]
    before = server_pb2.Server.FromString(server.SerializeToString())
    for one in (before, after):
        one.ClearField("etag")
        one.ClearField("update_time")
        del one.ports[:]
    assert after == before
    told = rig.events(server.name)[-1]
    assert (told.header.type, told.body.reason) == ("server.updated", "MOVED")
    assert told.body.facts[server.ports[0].name].endswith("-> leaf9 xe-1")
    assert rig.ok("RelinkServer", links(server, (0, "leaf9", "xe-1")), LIFECYCLE).etag == rig.get(server.name).etag
    assert rig.types(server.name).count("server.updated") == 1


def test_ports_may_change_places(rig: Rig) -> None:
    """
    Each to where the other was, in one call.
    """
    server = held(rig)
    first, second = where(server)
    after = rig.ok("RelinkServer", links(server, (0, *second), (1, *first)), LIFECYCLE)

    assert where(after) == [second, first]


def test_a_link_that_another_port_has_is_refused_by_its_name(rig: Rig) -> None:
    """
    Of another server, or of this one; what was left may be taken at once.
    """
    server, other = held(rig), held(rig, 2)
    for holder, link in ((other.ports[1].name, where(other)[1]), (server.ports[1].name, where(server)[1])):
        reply = rig.refused("RelinkServer", links(server, (0, *link)), LIFECYCLE)
        assert (reply.code, bool(remedy(reply.status))) == (grpc.StatusCode.FAILED_PRECONDITION, True)
        assert holder in reply.status.message
    left = where(server)[0]
    rig.ok("RelinkServer", links(server, (0, "leaf9", "xe-1")), LIFECYCLE)
    assert where(rig.ok("RelinkServer", links(other, (0, *left)), LIFECYCLE))[0] == left


def test_who_may_and_on_what(rig: Rig) -> None:
    """
    Services alone; a version that was seen; not what is being deleted, or not there; a rehearsal writes nothing.
    """
    server = held(rig)
    request = links(server, (0, "leaf9", "xe-1"))
    assert rig.refused("RelinkServer", request, ADMIN).code is grpc.StatusCode.PERMISSION_DENIED
    stale = rig.refused("RelinkServer", links(server, (0, "a", "b"), etag='"0"'), LIFECYCLE)
    assert stale.code is grpc.StatusCode.ABORTED
    rig.ok("RelinkServer", links(server, (0, "leaf9", "xe-1"), validate_only=True), LIFECYCLE)
    assert rig.get(server.name) == server

    free = rig.create(3, ports=[port(3, 0)])
    rig.ok("DeleteServer", server_pb2.DeleteServerRequest(name=free.name))
    assert reason(rig.refused("RelinkServer", links(free, (0, "a", "b")), LIFECYCLE).status) == "WRONG_STATE"
    gone = links(server, (0, "a", "b"))
    gone.server = "servers/00000000-0000-4000-8000-0000000000ff"
    assert rig.refused("RelinkServer", gone, LIFECYCLE).code is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("to", "field"),
    [
        ((), "links"),
        (((0, "a", ""),), "links[0].switch_port"),
        (((0, "", "b"),), "links[0].switch_name"),
        (((0, "a", "b"), (0, "a", "c")), "links[1].port"),
        (((0, "a", "b"), (1, "a", "b")), "links[1].switch_port"),
    ],
    ids=["none", "no port", "no switch", "port twice", "link twice"],
)
def test_malformed_links_name_the_field(rig: Rig, to: tuple[tuple[int, str, str], ...], field: str) -> None:
    """
    Each has its own refusal.
    """
    reply: Reply = rig.refused("RelinkServer", links(held(rig), *to), LIFECYCLE)
    assert (reply.code, fields(reply.status)) == (grpc.StatusCode.INVALID_ARGUMENT, [field])


def test_an_unknown_port_is_refused(rig: Rig) -> None:
    """
    It is none of the server's.
    """
    request = links(held(rig), (0, "a", "b"))
    request.links[0].port = request.server + "/ports/ffffffffffff"
    assert fields(rig.refused("RelinkServer", request, LIFECYCLE).status) == ["links[0].port"]
