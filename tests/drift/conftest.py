# SPDX-License-Identifier: Apache-2.0
"""Three services over each kind of fabric."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.drift.hands import FABRICS, KINDS, Hands
from tests.drift.rig import Fleet
from tests.support.stores import MakeDatabase


@pytest.fixture
def database_kind() -> str:
    """One will do: what is stored is tested where it is stored."""
    return "sqlite"


@pytest.fixture(params=FABRICS)
def hands(make_database: MakeDatabase, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Hands]:
    """Somebody at a fabric, with network and ipam over it."""
    network, ipam = make_database("services.network"), make_database("services.ipam")
    made: Hands = KINDS[request.param](network, ipam, tmp_path)
    yield made
    made.site.close()


@pytest.fixture
def fleet(make_database: MakeDatabase, hands: Hands) -> Fleet:
    """Lifecycle over those two, with networks and addresses."""
    made = Fleet(make_database("services.lifecycle"), hands.site, hands.ipam)
    made.furnish()
    return made
