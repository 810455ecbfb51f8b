# SPDX-License-Identifier: Apache-2.0
"""Two callers in the one order that could go wrong: the second comes while the first is about to commit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bms.ipam.v1 import lease_pb2, prefix_pb2
from services.kernel.clock import RandomIds
from services.kernel.effect import observed
from services.kernel.errors import AlreadyExists, StillInUse
from tests.ipam.rig import Rig, creation, verify, wish
from tests.ipam.test_concurrency import served
from tests.support.stores import MakeDatabase

_OVERTAKEN_SECONDS = 0.5
"""How long the first gives the second to overtake it, which a right second does not."""


class LostError(Exception):
    """The first caller's process, at its commit."""


def overtake(
    first: Callable[[], Any], second: Callable[[], Any], *, verb: str = "LeaseAddress", lost: bool = False
) -> tuple[Any, Any]:
    """Runs *first*, a *verb*, up to its commit, then *second*; then lets *first* commit, or fail there.

    What came of both is answered, exceptions too.
    """
    at_commit, overtaken = threading.Event(), threading.Event()

    def observer(label: str, when: str) -> None:
        if label == f"db.{verb}.commit" and when == "before" and not at_commit.is_set():
            at_commit.set()
            overtaken.wait(_OVERTAKEN_SECONDS)
            if lost:
                raise LostError

    def and_tell() -> Any:
        try:
            return second()
        finally:
            overtaken.set()

    with observed(observer), ThreadPoolExecutor(2) as pool:
        ahead = pool.submit(first)
        assert at_commit.wait(10)
        behind = pool.submit(and_tell)
        done = behind.exception(timeout=20) or behind.result()
        return ahead.exception(timeout=20) or ahead.result(), done


@pytest.mark.parametrize("address", ["", "10.1.0.2", "10.1.0.99"])
def test_a_prefix_is_not_deleted_under_a_grant(make_database: MakeDatabase, address: str) -> None:
    """
    Deleting the prefix of an address that is just being granted waits for the grant, and is refused for it.
    """
    rig = Rig(make_database("services.ipam"), ids=RandomIds())
    rig.prefix()
    rig.release(rig.lease("somebody", address="10.1.0.7"))
    rig.clock.advance(3600)
    served(rig, "LeaseAddress", wish("before"))  # addresses are rows now
    served(rig, "ReleaseLease", _release(rig, "before"))
    rig.clock.advance(3600)

    granted, refused = overtake(
        lambda: served(rig, "LeaseAddress", wish("vm-1", address=address)),
        lambda: served(rig, "DeletePrefix", prefix_pb2.DeletePrefixRequest(name="projects/demo/prefixes/p1")),
    )

    assert isinstance(refused, StillInUse)
    assert granted.prefix == "projects/demo/prefixes/p1"
    verify(rig.events())


def test_the_last_address_is_waited_for(make_database: MakeDatabase) -> None:
    """
    While the last address is being granted to a caller who then fails, the next is not told that there is none.
    """
    rig = Rig(make_database("services.ipam"), ids=RandomIds())
    rig.prefix("10.1.0.0/31", gateway="none")
    rig.lease("vm-0")

    lost, granted = overtake(
        lambda: served(rig, "LeaseAddress", wish("vm-1")),
        lambda: served(rig, "LeaseAddress", wish("vm-2")),
        lost=True,
    )

    assert isinstance(lost, LostError)
    assert granted.address == "10.1.0.1"
    assert len(verify(rig.events())) == 2


def test_an_owner_is_granted_one_of_two(make_database: MakeDatabase) -> None:
    """
    The same owner asked for by two callers gets the address of the one who commits first.
    """
    rig = Rig(make_database("services.ipam"), ids=RandomIds())
    rig.prefix()

    first, second = overtake(
        lambda: served(rig, "LeaseAddress", wish("vm-1")),
        lambda: served(rig, "LeaseAddress", wish("vm-1")),
    )

    assert first == second
    assert len(rig.of_addresses()) == 1


def test_overlapping_prefixes_wait_for_each_other(make_database: MakeDatabase) -> None:
    """
    A prefix made while one that overlaps is about to be committed is refused for it.
    """
    rig = Rig(make_database("services.ipam"), ids=RandomIds())
    rig.prefix("192.168.0.0/24", "old", network="projects/demo/networks/old", vrf="demo.blue")

    made, refused = overtake(
        lambda: served(rig, "CreatePrefix", creation("10.1.0.0/16", "wide")),
        lambda: served(
            rig,
            "CreatePrefix",
            creation("10.1.7.0/24", "narrow", network="projects/demo/networks/old", vrf="demo.blue"),
        ),
        verb="CreatePrefix",
    )

    assert made.cidr == "10.1.0.0/16"
    assert isinstance(refused, AlreadyExists)


def _release(rig: Rig, resource: str) -> Any:
    lease = rig.lease(resource)
    return lease_pb2.ReleaseLeaseRequest(name=lease.name, epoch=lease.epoch)
