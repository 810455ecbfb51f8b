# SPDX-License-Identifier: Apache-2.0
"""Whom Ironic holds its nodes for, as audits read it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.kernel.errors import PeerUnavailable
from services.lifecycle.backends.ironic import IronicHardware
from services.lifecycle.backends.ironic_api import IronicApi
from services.lifecycle.backends.ironic_held import IronicHolds
from services.lifecycle.ports import HoldSeen
from tests.lifecycle.backends.fake_ironic import Fake, serving
from tests.lifecycle.backends.ironic_rig import SERVER, TARGET, Login, StepClock, impatient

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")

WEB = "projects/demo/instances/web"
FIRST, OTHER = (f"{number:08d}-0000-4000-8000-00000000000a" for number in (1, 2))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    """An Ironic with one node that is available."""
    impatient(monkeypatch)
    with serving() as running:
        running.add(SERVER, "available", provision_updated_at="2026-01-01T00:00:00+00:00")
        yield running


@pytest.fixture
def holds(fake: Fake) -> IronicHolds:
    return IronicHolds(IronicApi(endpoint=fake.url))


def test_a_hold_of_ours_and_none(fake: Fake, holds: IronicHolds) -> None:
    """
    What the backend itself takes and gives back, as an audit sees it; a node that is not there is None.
    """
    hardware = IronicHardware(IronicApi(endpoint=fake.url), Login(), StepClock())
    assert holds.hold(SERVER) == HoldSeen(SERVER, "available")
    hardware.reserve(TARGET, WEB, request_id=FIRST)
    assert holds.hold(SERVER) == HoldSeen(SERVER, "available", FIRST, FIRST, WEB)
    hardware.unreserve(TARGET)
    assert holds.hold(SERVER) == HoldSeen(SERVER, "available")
    assert holds.hold(OTHER) is None


@pytest.mark.parametrize(
    ("state", "offered", "used"),
    [
        ("available", "", False),
        ("available", "2026-01-01T00:00:00+00:00", False),
        ("available", "2025-12-31T00:00:00+00:00", True),
        ("manageable", "", False),
        *(("active", "", True), ("cleaning", "", True), ("deploy failed", "", True)),
    ],
)
def test_what_was_used_is_known_by_its_state_and_when_it_moved(
    fake: Fake, holds: IronicHolds, state: str, offered: str, used: bool
) -> None:
    """
    A node that is deployed, or has moved since we offered it, is not as it was.
    """
    fake.nodes[SERVER] |= {"provision_state": state, "extra": {"bms": {"offered": offered}}}
    seen = holds.hold(SERVER)

    assert seen is not None
    assert seen.used is used


@pytest.mark.parametrize("extra", [{}, {"bms": None}, {"bms": "x"}, {"bms": {"hold": "x"}}, {"bms": {"hold": {}}}])
def test_notes_that_are_none_are_no_holds(fake: Fake, holds: IronicHolds, extra: dict[str, object]) -> None:
    """
    Whatever others write there, a hold without our note is not ours.
    """
    fake.nodes[SERVER] |= {"extra": extra, "instance_uuid": OTHER}
    assert holds.hold(SERVER) == HoldSeen(SERVER, "available", OTHER)


def test_nodes_come_by_pages(fake: Fake, holds: IronicHolds) -> None:
    """
    In the order of their UUIDs, so many at a time; a page after a node that has gone is no empty page.
    """
    more = [f"{number:08d}-0000-4000-8000-0000000000ff" for number in range(5)]
    for uuid in more:
        fake.add(uuid, "active", instance_uuid=OTHER)
    expected, found, after, asked, going = sorted([SERVER, *more]), [], "", 0, True
    while going:
        page, going = holds.page(after, 4)
        asked += 1
        found += [seen.server for seen in page]
        after = found[-1]
    assert (found, asked) == (expected, 2)
    assert not fake.asked
    with pytest.raises(PeerUnavailable):
        holds.page("ffffffff-0000-4000-8000-000000000000", 4)


def test_an_ironic_that_does_not_show_is_no_empty_one(fake: Fake, holds: IronicHolds) -> None:
    """
    It refuses our login: an error with what to do, for a page as for a node.
    """
    fake.unknown = True
    for ask in (lambda: holds.page("", 5), lambda: holds.hold(SERVER)):
        with pytest.raises(PeerUnavailable) as caught:
            ask()
        assert caught.value.remedy
