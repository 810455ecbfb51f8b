# SPDX-License-Identifier: Apache-2.0
"""Whom Ironic holds a node for, as the backend asks and tells."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.kernel.errors import PeerUnavailable
from services.lifecycle.backends.ironic import IronicHardware
from services.lifecycle.backends.ironic_api import IronicApi
from services.lifecycle.ports import TakenElsewhere
from tests.lifecycle.backends.fake_ironic import Fake, serving
from tests.lifecycle.backends.ironic_rig import SERVER, TARGET, impatient

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")

WEB = "projects/demo/instances/web"
FIRST, SECOND, OTHER = (f"{number:08d}-0000-4000-8000-00000000000a" for number in (1, 2, 3))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    """An Ironic with one node that is available, and a backend with little patience."""
    impatient(monkeypatch, locked=0.2)
    with serving() as running:
        running.add(SERVER, "available", provision_updated_at="2026-01-01T00:00:00+00:00")
        yield running


def held(fake: Fake) -> tuple[object, object]:
    """Whom the node is held for, as Ironic and as our note has it."""
    node = fake.nodes[SERVER]
    return node.get("instance_uuid"), (node["extra"].get("bms") or {}).get("hold")


def test_it_is_taken_once_and_given_back(fake: Fake, hardware: IronicHardware) -> None:
    """
    Reserving again changes nothing; what stands beside Ironic's own mark says whose it is; given back, both are gone.
    """
    assert hardware.reserve(TARGET, WEB, request_id=FIRST) == FIRST
    assert held(fake) == (FIRST, {"id": FIRST, "instance": WEB})
    asked = len(fake.asked)
    assert hardware.reserve(TARGET, WEB, request_id=FIRST) == FIRST
    assert len(fake.asked) == asked

    hardware.unreserve(TARGET)
    assert held(fake) == (None, None)
    asked = len(fake.asked)
    hardware.unreserve(TARGET)
    assert len(fake.asked) == asked


def test_who_is_second_is_refused_and_leaves_it_alone(fake: Fake, hardware: IronicHardware) -> None:
    """
    Held for somebody else, whoever set it: neither reserved, nor verified, nor given back by us.
    """
    fake.nodes[SERVER]["instance_uuid"] = OTHER
    with pytest.raises(TakenElsewhere, match=OTHER):
        hardware.reserve(TARGET, WEB, request_id=FIRST)
    with pytest.raises(TakenElsewhere):
        hardware.verify(TARGET)
    assert not fake.asked
    hardware.unreserve(TARGET)
    assert held(fake) == (OTHER, None)


def test_a_race_between_reading_and_asking_is_lost_as_well(
    fake: Fake, hardware: IronicHardware, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Free when it was looked at, taken when it was asked for: Ironic's refusal is told from a lock that stays.
    """
    patch = IronicApi.patch

    def late(self: IronicApi, *args: object, **more: object) -> None:
        fake.nodes[SERVER]["instance_uuid"] = OTHER
        patch(self, *args, **more)  # type: ignore[arg-type]  # handed on as they came

    monkeypatch.setattr(IronicApi, "patch", late)
    with pytest.raises(TakenElsewhere, match=OTHER):
        hardware.reserve(TARGET, WEB, request_id=FIRST)


def test_a_lock_is_no_lost_race(fake: Fake, hardware: IronicHardware) -> None:
    """
    Somebody holds the node's lock for longer than we wait: to come again.
    """
    fake.locked = 1000
    with pytest.raises(PeerUnavailable):
        hardware.reserve(TARGET, WEB, request_id=FIRST)
    fake.locked = 0
    assert hardware.reserve(TARGET, WEB, request_id=FIRST) == FIRST


def test_what_was_used_since_it_was_offered_is_not_taken(fake: Fake, hardware: IronicHardware) -> None:
    """
    Somebody took the node and gave it back between our clean and our instance: its disks are not as our log has them.
    """
    hardware.unreserve(TARGET)
    assert hardware.reserve(TARGET, WEB, request_id=FIRST) == FIRST
    hardware.unreserve(TARGET)
    fake.nodes[SERVER]["provision_updated_at"] = "2026-01-01T01:00:00+00:00"

    with pytest.raises(TakenElsewhere, match="used since"):
        hardware.reserve(TARGET, WEB, request_id=SECOND)
    assert held(fake) == (None, None)
    hardware.unreserve(TARGET)  # it was recovered meanwhile: offered anew, as it stands now
    assert hardware.reserve(TARGET, WEB, request_id=SECOND) == SECOND


def test_a_hold_of_ours_that_nobody_remembers_is_replaced(fake: Fake, hardware: IronicHardware) -> None:
    """
    A restored database asks for a node that we hold under another name: it is ours either way.
    """
    hardware.reserve(TARGET, WEB, request_id=FIRST)

    assert hardware.reserve(TARGET, WEB, request_id=SECOND) == SECOND
    assert held(fake) == (SECOND, {"id": SECOND, "instance": WEB})


@pytest.mark.parametrize(("holder", "left"), [(FIRST, None), (OTHER, OTHER)])
def test_what_leaves_our_care_is_not_held(fake: Fake, hardware: IronicHardware, holder: str, left: str | None) -> None:
    """
    A server that is forgotten while we hold it is held by nobody; and by whom it was, if that was somebody else.
    """
    hardware.reserve(TARGET, WEB, request_id=FIRST)
    fake.nodes[SERVER]["instance_uuid"] = holder
    hardware.forget(TARGET)

    assert held(fake) == (left, None)
    assert fake.nodes[SERVER]["extra"]["bms"] == {}


def test_a_node_that_is_gone_is_held_by_nobody(fake: Fake, hardware: IronicHardware) -> None:
    """
    Giving back what Ironic no longer has is done.
    """
    del fake.nodes[SERVER]

    hardware.unreserve(TARGET)
    with pytest.raises(PeerUnavailable):
        hardware.reserve(TARGET, WEB, request_id=FIRST)
