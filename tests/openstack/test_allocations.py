# SPDX-License-Identifier: Apache-2.0
"""Whom a genuine Ironic holds a node for: one winner of every race, and what undeploying leaves of a hold."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from services.kernel.clock import SystemClock
from services.kernel.errors import PeerUnavailable
from services.lifecycle.backends.ironic import IronicHardware
from services.lifecycle.backends.ironic_api import Deadline, IronicApi, Node
from services.lifecycle.bmc import Bmc as BmcLogin
from services.lifecycle.ports import ImageOrder, JobKind, JobOrder, JobPhase, TakenElsewhere, Target
from tests.openstack.bed import BMC_USER, Bed, digest_of, running_bed
from tests.openstack.images import Images

pytestmark = [
    pytest.mark.openstack,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"),
]

WAIT = 120.0
LOST = 45.0
"""Seconds after which an allocation comes to nothing: Ironic tries a locked node three times in as many seconds."""

WEB = "projects/demo/instances/web"
IMAGE = b"an image of a system\n" * 500


class Held:
    """One node of an Ironic that others ask as well, and our backend for it."""

    def __init__(self, bed: Bed) -> None:
        (self.bmc,) = bed.bmcs
        self.server = str(uuid.uuid4())
        self.target = Target(self.server, fence=1)
        self.api = IronicApi(cloud="bed")
        self.hardware = IronicHardware(self.api, self, SystemClock(), redfish_ca=str(bed.ca))

    def of(self, server: str) -> BmcLogin:
        """The login of its BMC."""
        return BmcLogin("127.0.0.1", self.bmc.port, "redfish", BMC_USER, self.bmc.password)

    @property
    def node(self) -> Node:
        """The node now."""
        return self.api.node(self.server, Deadline())

    @property
    def holder(self) -> str:
        """Whom Ironic holds it for."""
        return self.node.text("instance_uuid")

    def asks(self, *operations: dict[str, object]) -> None:
        """Somebody else changes the node."""
        self.api.call("PATCH", f"/nodes/{self.server}", Deadline(), operations)

    def done(self, order: JobOrder) -> JobPhase:
        """Does a job and waits for its end."""
        identity = str(uuid.uuid4())
        self.patiently(lambda: self.hardware.start_job(self.target, order, request_id=identity))
        ends = time.monotonic() + WAIT
        while (reading := self.hardware.read_job(self.target, request_id=identity)).phase is JobPhase.RUNNING:
            assert time.monotonic() < ends, reading
            time.sleep(0.3)
        return reading.phase

    def patiently(self, act: Callable[[], object]) -> None:
        """Does *act*, again while Ironic is at something else."""
        ends = time.monotonic() + WAIT
        while True:
            try:
                act()
            except PeerUnavailable:
                assert time.monotonic() < ends
                time.sleep(0.3)
            else:
                return


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    """A node that was cleaned for us and is offered."""
    with running_bed(tmp_path_factory.mktemp("held"), 1) as bed, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OS_CLIENT_CONFIG_FILE", str(bed.clouds))
        patch.setenv("no_proxy", "127.0.0.1")
        made = Held(bed)
        made.patiently(lambda: made.hardware.verify(made.target))
        made.api.patch(made.server, {"/resource_class": "held"}, Deadline())
        assert made.done(JobOrder(JobKind.CLEAN)) is JobPhase.PASSED
        made.hardware.unreserve(made.target)
        yield made


def test_one_wins_the_race_for_a_node(held: Held) -> None:
    """
    Ours, two callers as Nova is, and at times an allocation ask at once, again and again: each time exactly one
    has the node, and was told so.
    """
    winners = []
    for number in range(6):
        mine, others = str(uuid.uuid4()), [str(uuid.uuid4()) for _ in range(2)]
        told = _at_once(
            {mine: partial(held.hardware.reserve, held.target, WEB, request_id=mine)},
            {name: partial(_as_nova, held, name) for name in others},
            {"": partial(_allocate, held)} if number % 2 else {},
        )
        _allocations_settle(held)
        winner = held.holder
        assert winner
        assert {name for name in (mine, *others) if told[name]} == {winner} & {mine, *others}
        winners.append("ours" if winner == mine else "another" if winner in others else "an allocation")
        held.hardware.unreserve(held.target)
        if winner != mine:
            assert held.holder == winner, "what others hold is left"
            held.patiently(lambda: held.asks({"op": "remove", "path": "/instance_uuid"}))
        assert not held.holder
    print(f"\nwon: {', '.join(winners)}")  # noqa: T201 -- for whoever asks with -s


def _at_once(*groups: dict[str, Callable[[], object]]) -> dict[str, bool]:
    """Who was not refused, of all that ask at the same moment."""
    acts = {name: act for group in groups for name, act in group.items()}
    start, told = threading.Barrier(len(acts)), dict.fromkeys(acts, False)

    def ask(name: str) -> None:
        start.wait()
        with contextlib.suppress(TakenElsewhere, PeerUnavailable):
            acts[name]()
            told[name] = True

    threads = [threading.Thread(target=ask, args=(name,)) for name in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def _as_nova(held: Held, name: str) -> None:
    """Looks, and sets its name if nobody's is there, as Nova's driver does before it deploys."""
    if held.holder:
        raise TakenElsewhere(name)
    held.asks({"op": "add", "path": "/instance_uuid", "value": name})


def _allocate(held: Held) -> None:
    body = {"resource_class": "held", "candidate_nodes": [held.server]}
    held.api.call("POST", "/allocations", Deadline(), body)


def _allocations_settle(held: Held) -> None:
    """
    Waits until none is being made, and removes those that failed: those too of which Ironic could not write that they
    did, because its SQLite was locked to it, and which it would be making for ever.
    """
    began = time.monotonic()
    while True:
        raw = held.api.call("GET", "/allocations", Deadline())
        rows: list[dict[str, Any]] = json.loads(raw)["allocations"]
        for row in rows:
            lost = row["state"] == "allocating" and time.monotonic() - began > LOST
            if row["state"] == "error" or lost:
                held.api.call("DELETE", f"/allocations/{row['uuid']}", Deadline())
        if not any(row["state"] == "allocating" for row in rows):
            return
        assert time.monotonic() - began < WAIT, rows
        time.sleep(0.2)


def test_a_hold_lasts_through_the_instances_life_and_ends_with_undeploying(held: Held, images: Images) -> None:
    """
    Deployed, switched off and on, it is held for the same; the undeploy ends it, and no trace of it stays.
    """
    images.contents["/held.raw"] = IMAGE
    mine = str(uuid.uuid4())
    held.hardware.reserve(held.target, WEB, request_id=mine)
    order = ImageOrder("images/held", f"{images.url}/held.raw", digest_of(IMAGE))
    assert held.done(JobOrder(JobKind.DEPLOY, image=order, config_drive=b"{}")) is JobPhase.PASSED
    assert (held.node.state, held.holder) == ("active", mine)
    held.hardware.set_power(held.target, on=True, request_id="on")
    assert held.holder == mine
    assert held.hardware.reserve(held.target, WEB, request_id=mine) == mine

    assert held.done(JobOrder(JobKind.CLEAN)) is JobPhase.PASSED
    assert (held.node.state, held.holder) == ("available", "")
    held.hardware.unreserve(held.target)
    assert "hold" not in held.node.ours
    assert held.node.ours["offered"] == held.node.moved


def test_what_others_used_meanwhile_is_not_taken_for_clean(held: Held) -> None:
    """
    Somebody took the node, led it elsewhere and gave it back: free in Ironic, and not as our log has it.
    """
    other = str(uuid.uuid4())
    held.asks({"op": "add", "path": "/instance_uuid", "value": other})
    with pytest.raises(TakenElsewhere, match=other):
        held.hardware.verify(held.target)
    held.api.provision(held.server, "manage", Deadline())
    held.asks({"op": "remove", "path": "/instance_uuid"})
    held.api.provision(held.server, "provide", Deadline())
    held.patiently(lambda: _available(held))

    with pytest.raises(TakenElsewhere, match="used since"):
        held.hardware.reserve(held.target, WEB, request_id=str(uuid.uuid4()))


def _available(held: Held) -> None:
    if held.node.state != "available":
        raise PeerUnavailable(held.node.state)
