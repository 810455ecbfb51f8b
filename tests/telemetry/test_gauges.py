# SPDX-License-Identifier: Apache-2.0
"""What Prometheus is shown, and that the rules we give people ask for nothing else."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import yaml

from services.runtime.database import Database
from services.runtime.metrics import Metrics
from telemetry.alarms import TYPES
from telemetry.sandesh.alarms import Severity
from telemetry.store import Store
from telemetry.store.audits import Tally, add, tally
from tests.telemetry.builders import stored
from tests.telemetry.rig import rig
from tests.telemetry.test_app import a_life, a_server

RULES = Path(__file__).parents[2] / "docs" / "alerts" / "bms.rules.yml"
SAMPLE = re.compile(r'[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [0-9.e+-]+')


def test_a_site_with_a_server_in_quarantine(sqlite_database: Database) -> None:
    """
    Sessions, what was sent, and alarms by type, severity and whether somebody knows; in Prometheus' own form.
    """
    logs, metrics = a_life(), Metrics()
    logs["lifecycle"].append(stored(position=4, before="active", after="quarantined"))

    def lines() -> list[str]:
        return metrics.text().splitlines()

    async def play() -> None:
        async with rig(sqlite_database, logs, a_server(), metrics=metrics) as given:
            wanted = {
                "bms_telemetry_generating 1",
                "bms_telemetry_session_established 1",
                "bms_telemetry_lag_seconds 0",
                'bms_sandesh_sent_total{type="BmsLifecycleEventLog"} 6',
                'bms_alarms{alarm="bms-server-quarantined",severity="major",acknowledged="false"} 1',
            }

            async def shown() -> set[str]:
                return wanted & set(lines())

            assert await given.eventually(shown, lambda found: found == wanted)

    asyncio.run(play())
    assert all(line.startswith("#") or SAMPLE.fullmatch(line) for line in lines() if "bms_rpc" not in line)


def test_rules_ask_for_what_there_is() -> None:
    """
    Each rule has a name of its own, a remedy, and metrics, alarms and severities that exist.
    """
    sources = "".join(path.read_text() for path in (RULES.parents[2] / "telemetry").glob("*.py"))
    (group,) = yaml.safe_load(RULES.read_text())["groups"]

    rules = group["rules"]
    assert len({rule["alert"] for rule in rules}) == len(rules) > 5
    for rule in rules:
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["remedy"]
        assert rule["labels"]["severity"].upper() in {*(severity.name for severity in Severity), "WARNING"}
        names = set(re.findall(r"\bbms_[a-z_]+", rule["expr"]))
        assert names
        assert all(name in sources for name in names)
        assert set(re.findall(r'alarm="([^"]*)"', rule["expr"])) <= set(TYPES)


def test_what_was_read_back_adds_up(store: Store) -> None:
    """
    Over processes and replicas.
    """

    async def play() -> None:
        first, second = Tally(3, 1, 2, 0, 10), Tally(1, 0, 0, 1, 20)
        for each in (first, second):
            await store.write(lambda tx, each=each: add(tx, each), "test")  # type: ignore[misc]  # a default
        assert await store.read(tally) == first + second == Tally(4, 1, 2, 1, 20)

    asyncio.run(play())
