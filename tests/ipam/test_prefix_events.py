# SPDX-License-Identifier: Apache-2.0
"""What the log tells of prefixes, over both databases; and who may see one that is shared."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from bms.event.v1 import event_pb2
from bms.ipam.v1 import prefix_pb2
from tests.ipam.rig import DEMO, OTHER, Rig, creation, verify
from tests.ipam.test_concurrency import served
from tests.ipam.test_tuning import change, ranges, update
from tests.support.judging import judged
from tests.support.wire import reader

NAME = "projects/demo/prefixes/p1"
GET = prefix_pb2.GetPrefixRequest(name=NAME)


def told(rig: Rig) -> list[tuple[str, int, dict[str, str]]]:
    """Type, sequence and facts of every event of a prefix, without those that say the same of each."""
    found = []
    for stored in rig.events():
        header = event_pb2.EventHeader.FromString(stored.header)
        body = event_pb2.EventBody.FromString(stored.body)
        if header.stream.startswith("prefixes/"):
            assert (body.project, body.facts["prefix"], body.actor) == ("demo", NAME, DEMO.subject)
            facts = {name: text for name, text in body.facts.items() if name != "prefix"}
            found.append((header.type, header.sequence, facts))
    return found


LASTING = {
    "cidr": "10.1.0.0/24", "vrf": "demo.blue", "network": "projects/demo/networks/blue", "gateway": "10.1.0.1",
}  # fmt: skip


def test_a_prefix_tells_its_life(rig: Rig) -> None:
    """
    Made, changed and removed are events, chained, each with what it was about; of a change both sides.
    """
    rig.prefix(pools=(("10.1.0.10", "10.1.0.20"),))
    change(rig, "pools", "reserved", "shared", reserved=ranges(("10.1.0.30", "10.1.0.31")), shared=True)
    change(rig, "cool_down", cool_down=Duration(seconds=5))
    rig.wire.ok("DeletePrefix", prefix_pb2.DeletePrefixRequest(name=NAME, validate_only=True))
    rig.wire.ok("DeletePrefix", prefix_pb2.DeletePrefixRequest(name=NAME))

    assert told(rig) == [
        ("prefix.created", 1, {**LASTING, "pools": "10.1.0.10-10.1.0.20", "cool_down": "600s"}),
        (
            "prefix.changed", 2,
            {
                "pools": "none", "pools_before": "10.1.0.10-10.1.0.20", "reserved": "10.1.0.30-10.1.0.31",
                "reserved_before": "none", "shared": "true", "shared_before": "none",
            },
        ),
        ("prefix.changed", 3, {"cool_down": "5s", "cool_down_before": "600s"}),
        ("prefix.deleted", 4, LASTING),
    ]  # fmt: skip
    verify(rig.events())
    assert not [report.findings for report in judged("ipam", rig.events()).values() if report.findings]


def test_changes_at_the_same_moment_follow_one_another(rig: Rig) -> None:
    """
    Each tells what was there when its turn came; none is lost, and the stream has no fork.
    """
    rig.prefix(domain="d.org")

    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(lambda one: served(rig, "UpdatePrefix", update("domain", domain=f"d{one}.org")), range(24)):
            pass

    _, *changes = told(rig)
    assert [number for _, number, _ in changes] == list(range(2, 26))
    after = [facts["domain"] for _, _, facts in changes]
    assert [facts["domain_before"] for _, _, facts in changes] == ["d.org", *after[:-1]]
    verify(rig.events())


def test_a_name_that_is_given_again_is_another_stream(rig: Rig) -> None:
    """
    The prefix after it has a stream of its own, so that neither's events are taken for the other's.
    """
    for _ in range(2):
        rig.prefix()
        rig.wire.ok("DeletePrefix", prefix_pb2.DeletePrefixRequest(name=NAME))

    assert [(kind, number) for kind, number, _ in told(rig)] == [("prefix.created", 1), ("prefix.deleted", 2)] * 2


@pytest.mark.parametrize(
    "done",
    [
        lambda rig: rig.wire.ok("UpdatePrefix", update("pools", pools=[])),
        lambda rig: rig.wire.ok("UpdatePrefix", update("domain", domain="x.org", validate_only=True)),
        lambda rig: rig.refused("UpdatePrefix", update("reserved", reserved=ranges(("10.1.0.9", "10.1.0.9")))),
        lambda rig: rig.refused("DeletePrefix", prefix_pb2.DeletePrefixRequest(name=NAME)),
        lambda rig: rig.wire.ok("CreatePrefix", creation("10.9.0.0/24", "p9", validate_only=True)),
    ],
    ids=["same", "tried update", "refused update", "refused deletion", "tried creation"],
)
def test_what_was_not_done_is_not_told(rig: Rig, done: Any) -> None:
    """
    A change to what it is, a trial and a refusal leave no event.
    """
    rig.prefix()
    rig.lease("vm-1", address="10.1.0.9")

    done(rig)

    assert [kind for kind, *_ in told(rig)] == ["prefix.created"]


def test_a_shared_prefix_is_everybodys_to_read(rig: Rig) -> None:
    """
    Who may lease from it sees it as its project does, and changes nothing; taken back, it is not there for him.
    """
    rig.prefix(shared=True, cool_down=timedelta(0))
    own = rig.wire.ok("GetPrefix", GET)

    assert rig.wire.ok("GetPrefix", GET, caller=OTHER) == own
    assert rig.wire.ok("GetPrefix", GET, caller=reader("other")) == own
    for method, request in (
        ("UpdatePrefix", update("domain", domain="x.org")),
        ("DeletePrefix", prefix_pb2.DeletePrefixRequest(name=NAME)),
    ):
        assert rig.refused(method, request, OTHER).code is grpc.StatusCode.NOT_FOUND

    change(rig, "shared")
    hidden = rig.refused("GetPrefix", GET, OTHER)
    never = rig.refused("GetPrefix", prefix_pb2.GetPrefixRequest(name="projects/demo/prefixes/never"), OTHER)
    assert hidden.code is never.code is grpc.StatusCode.NOT_FOUND
    assert hidden.status.message.replace("p1", "never") == never.status.message
