# SPDX-License-Identifier: Apache-2.0
"""An import that is killed anywhere was done whole or not at all."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import grpc
import pytest
import structlog

from bms.inventory.v1 import server_pb2
from services.kernel.effect import observed
from services.runtime.database import open_database
from services.runtime.secrets import Vault
from tests.inventory.rig import Rig
from tests.inventory.test_import import file, importing, row


class Crash(Exception):
    """The call ends here, as if its process did; what was committed is, and nobody gets an answer."""


class At:
    """Kills at the point with this number."""

    def __init__(self, number: int) -> None:
        self._left = number

    def __call__(self, _label: str, _when: str) -> None:
        self._left -= 1
        if self._left == -1:
            raise Crash


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_kill_anywhere_leaves_all_or_nothing(
    make_url: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """
    Killed before and after every effect of an import that makes, changes and leaves servers: started again, every
    server and event of it is there or none is; and the same request, sent again, ends as the undisturbed one.
    """
    vault = Vault(tmp_path_factory.mktemp("vault") / "data.key")
    first = importing(file(row(1), row(2)))
    second = importing(file(row(1), row(2, description="moved"), row(3), row(4)))
    second.request_id = str(uuid.UUID(int=7, version=4))

    def begun() -> tuple[str, Rig]:
        url = make_url("services.inventory")
        rig = Rig(open_database(url), vault)
        rig.ok("ImportServers", first)
        return url, rig

    def told(rig: Rig) -> tuple[list[str], list[str]]:
        servers = rig.ok("ListServers", server_pb2.ListServersRequest()).servers
        return sorted(f"{one.display_name} {one.description}" for one in servers), rig.types()

    _, rig = begun()
    nothing = told(rig)
    points: list[tuple[str, str]] = []
    with observed(lambda label, when: points.append((label, when))):
        rig.ok("ImportServers", second)
    everything = told(rig)
    rig.database.close()
    assert nothing != everything
    ends = set()

    for number, point in enumerate(points):
        url, rig = begun()
        # Captured: drawing the defect's traceback takes longer than everything else here.
        with structlog.testing.capture_logs(), observed(At(number)):
            assert rig.wire.call("ImportServers", second).code is grpc.StatusCode.INTERNAL
        rig.database.close()
        again = Rig(open_database(url), vault, process=" again")
        found = told(again)
        assert found in (nothing, everything), point
        ends.add(found == everything)
        answer = again.ok("ImportServers", second)
        assert (answer.created_count, told(again)) == (2, everything), point
        again.database.close()
    assert ends == {True, False}
