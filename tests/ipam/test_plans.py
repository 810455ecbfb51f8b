# SPDX-License-Identifier: Apache-2.0
"""What ipam asks again and again must not cost more, the more leases there are."""

from __future__ import annotations

from typing import cast

import pytest

from services.ipam.store.leases import LeaseTables
from services.runtime.database import Transaction
from services.runtime.eventlog import EventLog
from tests.ipam.rig import Rig
from tests.support.clocks import START
from tests.support.explained import Explained


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_the_sweeper_looks_where_addresses_rest(rig: Rig) -> None:
    """
    Which rest long enough, when the next one does, and which can be forgotten, is read from the index of ends.
    """

    def explain(tx: Transaction) -> list[str]:
        explained = Explained(tx)
        leases = LeaseTables(cast("Transaction", explained), cast("EventLog", None))
        leases.due(START, 16)
        leases.next_due()
        leases.forget_freed(START, 16)
        return explained.plan

    plan = rig.database.read(explain)
    assert [step for step in plan if "SCAN" in step] == []
    assert sum("leases_by_end" in step for step in plan) == 3
