# SPDX-License-Identifier: Apache-2.0
"""While somebody is asked who a caller is, telemetry serves the others."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import grpc
import pytest

from bms.telemetry.v1.telemetry_pb2 import GetPipelineStatusRequest
from services.kernel.calls import Caller
from services.kernel.errors import PeerUnavailable, Unauthenticated
from services.runtime import status as statuses
from services.runtime.auth import AskingCallers
from services.runtime.database import Database
from telemetry import callers as module
from telemetry.callers import AioCallers
from tests.support.wire import admin
from tests.telemetry.rig import bearer, rig


class Asking:
    """Knows ``admin`` by itself; of ``slow`` and ``away`` it asks somebody who answers once *open* is set."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.threads: set[str] = set()

    def known(self, bearer: str) -> Caller | None:
        if bearer == "bad":
            msg = "the token is not known"
            raise Unauthenticated(msg)
        return admin() if bearer == "admin" else None

    def caller_of(self, bearer: str) -> Caller:
        self.threads.add(threading.current_thread().name)
        assert self.open.wait(20)
        if bearer == "away":
            msg = "Keystone does not answer"
            raise PeerUnavailable(msg, remedy="Try again.")
        return admin("slow")


def test_the_loop_goes_on_while_somebody_is_asked(sqlite_database: Database) -> None:
    """
    A caller who has to be asked for waits alone: over gRPC and REST others are served meanwhile, by the same loop. When
    nobody answers he is told UNAVAILABLE and 503.
    """

    async def play() -> None:
        asking = Asking()
        assert isinstance(asking, AskingCallers)
        async with rig(sqlite_database, callers=asking) as site:

            def ask(token: str) -> asyncio.Future[Any]:
                call = site.stub.GetPipelineStatus(GetPipelineStatusRequest(), metadata=bearer(token), timeout=20)
                future: asyncio.Future[Any] = asyncio.ensure_future(call)
                return future

            async def get(token: str) -> int:
                url = f"http://127.0.0.1:{site.ports.rest}/analytics"
                async with site.http.get(url, headers={"X-Auth-Token": token}) as response:
                    return response.status

            waiting: list[asyncio.Future[Any]] = [
                ask("slow"),
                ask("away"),
                *(asyncio.ensure_future(get(each)) for each in ("slow", "away")),
            ]
            await ask("admin")
            assert (await get("admin"), await get("bad")) == (200, 401)
            assert not any(each.done() for each in waiting)

            asking.open.set()
            good, away, good_rest, away_rest = await asyncio.gather(*waiting, return_exceptions=True)

        assert not isinstance(good, BaseException)
        assert (good_rest, away_rest) == (200, 503)
        assert isinstance(away, grpc.aio.AioRpcError)
        assert away.code() is grpc.StatusCode.UNAVAILABLE
        status = statuses.details_of(away.trailing_metadata())
        assert status is not None
        assert any(detail.type_url.endswith("RetryInfo") for detail in status.details)
        assert all(name.startswith("callers") for name in asking.threads)

    asyncio.run(play())


def test_no_more_wait_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Beyond a number of callers who wait, the next is told at once to come again.
    """

    async def play() -> None:
        monkeypatch.setattr(module, "_MOST_WAITING", 2)
        asking = Asking()
        callers = AioCallers(asking)
        waiting = [asyncio.create_task(callers.caller_of("slow")) for _ in range(2)]
        await asyncio.sleep(0)

        with pytest.raises(PeerUnavailable, match="too many"):
            await callers.caller_of("slow")
        assert (await callers.caller_of("admin")).is_admin
        asking.open.set()
        assert {(await each).subject for each in waiting} == {"slow"}
        assert (await callers.caller_of("slow")).subject == "slow"
        callers.close()

    asyncio.run(play())
