# SPDX-License-Identifier: Apache-2.0
"""What a service has signed is kept out of its reach, and held against it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from bms.event.v1 import event_log_service_pb2_grpc, event_pb2
from services.runtime.checkpoint_servicer import EventLogServicer
from services.runtime.database import Database, open_database
from telemetry.anchors import FLUSH_SECONDS, SEND_MICROS, Anchors, fields
from telemetry.peers import AioPeer
from telemetry.sandesh.encode import body_text
from telemetry.sandesh.messages import BMS_LOG_CHECKPOINT
from telemetry.sandesh.schema import Level, Message
from telemetry.store import Store
from tests.runtime.signed import SAMPLE
from tests.runtime.signed import Rig as Signing
from tests.support.clocks import SequentialIds
from tests.support.loopback import running
from tests.support.stores import MakeDatabase, _sqlite_copy
from tests.support.wire import service
from tests.telemetry.fakes import FakeLog
from tests.telemetry.rig import rig


def signed(number: int, log: str = "log-1", root: bytes = b"r" * 32) -> event_pb2.SignedCheckpoint:
    checkpoint = event_pb2.Checkpoint(
        service="ipam", log=log, number=number, position=10 * number, heads_root=root, streams=3
    )
    return event_pb2.SignedCheckpoint(checkpoint=checkpoint.SerializeToString(), key_id="k", signature=b"s" * 64)


class Site:
    """A service, and analytics that takes what it is sent; time stands until it is told to go on."""

    def __init__(self, database: Database) -> None:
        self.log = FakeLog("ipam")
        self.sent: list[Mapping[str, Any]] = []
        self.levels: list[int] = []
        self.doubts: list[tuple[str, str]] = []
        self.now = 1
        self.away = False
        self.store = Store(database)
        self.start()

    def start(self) -> None:
        """A fresh process."""
        self.anchors = Anchors(
            {"ipam": self.log}, self.store, self.deliver, lambda: self.now, lambda *said: self.doubts.append(said)
        )

    async def deliver(self, message: Message, values: Mapping[str, Any]) -> int:
        if self.away:
            await asyncio.Event().wait()
        body_text(message, values)
        self.sent.append(values)
        self.levels.append(message.level)
        return 1

    def look(self, seconds: float = 10) -> list[int]:
        """A round, that much later; answers the numbers sent so far."""
        self.now += int(seconds * 1_000_000)
        asyncio.run(self.anchors.look("ipam"))
        return [values["number"] for values in self.sent]


@pytest.fixture
def site(make_database: MakeDatabase) -> Site:
    return Site(make_database("telemetry"))


def test_the_newest_is_sent_at_a_bounded_pace(site: Site) -> None:
    """
    At once, then the newest once a minute, none if there is no newer one; at the end what is newest.
    """
    assert site.look() == []
    site.log.signed.append(signed(1))
    assert site.look() == [1]
    for number in range(2, 7):
        site.log.signed.append(signed(number))
        assert site.look() == [1]
    assert site.look() == [1, 6]
    assert site.look(2 * SEND_MICROS / 1e6) == [1, 6]
    site.log.signed.append(signed(7))
    assert site.look() == [1, 6, 7]
    site.log.signed.append(signed(8))
    site.look()
    asyncio.run(site.anchors.flush())
    assert site.look() == [1, 6, 7, 8]


def test_a_service_that_stands_by_its_word_is_believed(site: Site) -> None:
    """
    Restarts of either side, and a service that is away, are no contradiction; a restarted process sends again.
    """
    site.log.signed.append(signed(1))
    with capture_logs() as lines:
        site.look()
        site.log.down = True
        site.look(100)
        site.log.down = False
        site.start()
        site.look(100)

    assert [values["number"] for values in site.sent] == [1, 1]
    assert not [line for line in lines if line["log_level"] == "error"]


@pytest.mark.parametrize(
    ("now", "what"),
    [
        ([signed(1), signed(2, root=b"x" * 32)], "checkpoint 2 of log log-1 is another one than it was"),
        ([signed(1)], "checkpoint 2 of log log-1 is gone"),
        ([signed(1, "log-2")], "checkpoint 2 of log log-1 is gone"),
        ([], "checkpoint 2 of log log-1 is gone"),
    ],
    ids=["rewritten", "cut off", "another log", "empty"],
)
def test_a_contradiction_is_said(site: Site, now: list[event_pb2.SignedCheckpoint], what: str) -> None:
    """
    A log that no longer has what it has signed is said once and loudly, and to analytics with what it says now; also
    by a process that has only the store to remember by.
    """
    site.log.signed += [signed(1), signed(2)]
    site.look()
    site.start()
    site.log.signed[:] = now

    with capture_logs() as lines:
        site.look()
        site.look()

    assert [line["what"] for line in lines if line["log_level"] == "error"] == [what]
    assert site.sent[-1]["complaint"] == what
    assert site.levels == [Level.INFO, Level.ALERT]
    assert site.doubts == [("ipam", what)]


def test_a_log_that_goes_on_under_another_name_is_said(site: Site) -> None:
    """
    A service that noticed a restore by itself keeps its word, under another log's name: analytics hears of it at once.
    """
    site.log.signed.append(signed(2))
    site.look()
    site.log.signed.append(signed(1, "log-2"))
    with capture_logs() as lines:
        site.look()
        site.look()

    what = "log log-1 goes on as log log-2, after its checkpoint 2: it was restored or renewed"
    assert [(line["event"], line["what"]) for line in lines] == [("log.renewed", what)]
    assert (site.sent[-1]["log"], site.sent[-1]["complaint"], site.levels[-1]) == ("log-2", what, Level.ALERT)
    assert site.doubts == [("ipam", what)]


def test_what_was_kept_is_not_overwritten_by_less(site: Site) -> None:
    """
    The newest of a log stays kept when the service shows an older one: it goes on contradicting it.
    """
    site.log.signed += [signed(1), signed(2)]
    site.look()
    site.log.signed[:] = [signed(1)]
    site.look()
    site.start()

    with capture_logs() as lines:
        site.look()

    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["log.contradicts_itself"]


def test_the_end_waits_for_no_collector(site: Site) -> None:
    """
    Without a session the end of telemetry is not held up.
    """
    site.log.signed.append(signed(1))
    site.look()
    site.log.signed.append(signed(2))
    site.look()
    site.away = True

    async def end() -> float:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await site.anchors.flush()
        return loop.time() - begun

    assert asyncio.run(end()) < FLUSH_SECONDS + 1
    assert [values["number"] for values in site.sent] == [1]


def test_analytics_can_prove_it_alone() -> None:
    """
    The message holds the signed bytes themselves.
    """
    one = signed(5)

    said = fields("ipam", one, "")

    assert base64.b64decode(said["checkpoint"]) == one.checkpoint
    assert base64.b64decode(said["signature"]) == one.signature
    assert (said["name"], said["number"], said["position"], said["streams"]) == ("logs/ipam", 5, 50, 3)
    assert set(said) == {field.name for field in BMS_LOG_CHECKPOINT.fields}


async def _in_our_store(database: Database) -> Any:
    log = FakeLog("lifecycle")
    log.signed.append(signed(3))
    async with rig(database, {"lifecycle": log}) as telemetry:
        return await telemetry.eventually(
            lambda: telemetry.stub.ListSandeshMessages(_asked(), metadata=(("authorization", "Bearer admin"),)),
            lambda answer: bool(answer.messages),
        )


def _asked() -> Any:
    from bms.telemetry.v1 import telemetry_pb2

    return telemetry_pb2.ListSandeshMessagesRequest(
        object_key="ObjectServerTable:logs/lifecycle", message_type="BmsLogCheckpoint"
    )


def test_our_store_can_be_asked(make_database: MakeDatabase) -> None:
    """
    Through a genuine session and collector, a checkpoint is found by its log and its message's name.
    """
    answer = asyncio.run(_in_our_store(make_database("telemetry")))

    assert "<number" in answer.messages[0].xml
    assert base64.b64encode(signed(3).checkpoint).decode() in answer.messages[0].xml


async def _over_the_wire(address: str, log: str) -> list[list[int]]:
    peer = AioPeer("ipam", address, token="good", tls=None, ids=SequentialIds())
    try:
        answers = [await peer.checkpoints(*asked) for asked in ((), (1, log), (3, log), (1, "another"))]
    finally:
        await peer.close()
    return [[event_pb2.Checkpoint.FromString(each.checkpoint).number for each in answer] for answer in answers]


def test_a_genuine_service_is_asked(tmp_path: Path) -> None:
    """
    The newest, the one behind a number, nothing behind the last, and nothing of a log that is not there.
    """
    database = open_database(_sqlite_copy(SAMPLE, tmp_path / "sample.sqlite"))
    made = Signing(database, tmp_path)
    for _ in range(3):
        made.append("a")
        made.tick_on()
    servicer = EventLogServicer("ipam", database, made.checkpointer)
    add = event_log_service_pb2_grpc.add_EventLogServiceServicer_to_server
    with running([(add, servicer)], service()) as server:
        found = asyncio.run(_over_the_wire(server.address, made.checkpoints()[0].log))
    database.close()

    assert found == [[3], [2], [], []]
