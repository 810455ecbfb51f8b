# SPDX-License-Identifier: Apache-2.0
"""Two replicas over one database: both serve, one tells analytics."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from bms.telemetry.v1 import telemetry_pb2 as pb
from services.runtime.database import Database
from telemetry.sandesh.collector import Collector, CollectorSettings
from telemetry.sandesh.header import Identity
from telemetry.sandesh.settings import Address
from tests.telemetry.builders import SERVER, T0, stored
from tests.telemetry.fakes import until
from tests.telemetry.rig import Rig, bearer, rig
from tests.telemetry.sandesh.fakes import FakeSink
from tests.telemetry.test_app import a_life, a_server, status

THEM = Identity("analytics-1", "contrail-collector", "Analytics", "0")


async def sessions(*replicas: Rig) -> list[str]:
    return [(await status(replica)).session_state for replica in replicas]


# A SQLite file belongs to one process.
@pytest.mark.parametrize("database_kind", [pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_one_tells_and_the_other_takes_over(database: Database) -> None:
    """
    Whichever replica reads an event first, the one that tells says so; when it ends, the other says everything, and
    nobody was thrown out meanwhile. Watchers are served by both.
    """

    async def play() -> None:
        sink, logs = FakeSink(), a_life()

        def shown() -> Any:
            return sink.store_.view("ObjectServerTable", SERVER).flat().get("IronicNode", {}).get("provision_state")

        async with (
            Collector(CollectorSettings(THEM, port=0), sink, lambda: T0) as collector,
            AsyncExitStack() as ending,
        ):
            collectors = (Address("127.0.0.1", collector.port),)
            first = rig(database, logs, a_server(), collectors, instance="0")
            one = await first.__aenter__()
            await until(lambda: shown() == "active")
            two = await ending.enter_async_context(rig(database, logs, a_server(), collectors, instance="1"))

            for position in range(4, 24):
                logs["lifecycle"].append(
                    stored(position=position, before="active", after="rescuing" if position % 2 else "active")
                )
                await asyncio.sleep(0.02)
            await until(lambda: shown() == "rescuing")
            assert await sessions(one, two) == ["Established", "Stopped"]
            assert [found.identity.instance for found in sink.admitted] == ["0"]

            await first.__aexit__(None, None, None)
            await until(lambda: len(sink.admitted) == 2)
            await until(lambda: shown() == "rescuing")
            assert [found.identity.instance for found in sink.admitted] == ["0", "1"]
            watching = two.stub.WatchEvents(pb.WatchEventsRequest(after="0"), metadata=bearer("admin"))
            assert len((await watching.read()).events) > 0
            watching.cancel()
            logs["lifecycle"].append(stored(position=24, before="rescuing", after="rescued"))
            await until(lambda: shown() == "rescue")

    asyncio.run(play())
