# SPDX-License-Identifier: Apache-2.0
"""Warnings and errors reach analytics without what is kept out of the log, and without echo."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import structlog

from services.runtime import logs
from services.runtime.settings import LogSettings
from telemetry import systemlog
from telemetry.sandesh.actions import Fate
from telemetry.sandesh.encode import body_text
from telemetry.sandesh.schema import Kind, Level, Message
from telemetry.systemlog import BMS_SERVICE_LOG
from tests.telemetry.fakes import until


class Generator:
    """Takes logs, and complains of each."""

    def __init__(self) -> None:
        self.taken: list[tuple[int, dict[str, Any]]] = []

    def log(self, message: Message, values: Mapping[str, Any]) -> Fate:
        body_text(message, values)
        self.taken.append((message.level, dict(values)))
        structlog.get_logger("t").warning("sandesh.fitted")
        return Fate.QUEUED


@pytest.fixture(params=[True, False], ids=["json", "text"])
def configured(request: pytest.FixtureRequest) -> Iterator[None]:
    before = structlog.get_config()
    logs.configure(LogSettings("info", json=request.param), "telemetry")
    yield
    structlog.configure(**before)


def heard(speak: Callable[[], object], count: int) -> list[tuple[int, dict[str, Any]]]:
    generator = Generator()

    async def play() -> None:
        with systemlog.told(generator, "host:Config:bms-telemetry:0"):
            speak()
            await until(lambda: len(generator.taken) >= count)
        structlog.get_logger("t").error("afterwards")
        await asyncio.sleep(0)

    asyncio.run(play())
    return generator.taken


@pytest.mark.usefixtures("configured")
def test_warnings_and_errors_are_sent() -> None:
    """
    With their urgency and facts; what is less is not, nor what the generator says of its sending, nor a secret.
    """
    log = structlog.get_logger("t")

    def speak() -> None:
        log.info("calm")
        log.warning("log.unreachable", log="ipam", password="hunter2")
        log.error("broken", number=7)

    warning, error = heard(speak, 2)

    assert (warning[0], error[0]) == (Level.WARN, Level.ERR)
    assert warning[1]["event"] == "log.unreachable"
    assert warning[1]["service"] == "telemetry"
    assert json.loads(warning[1]["detail"]) == {"log": "ipam", "password": "[redacted]"}
    assert json.loads(error[1]["detail"]) == {"number": 7}


@pytest.mark.usefixtures("configured")
def test_from_another_thread() -> None:
    """
    Whoever logs, the generator is called on its own loop.
    """
    log = structlog.get_logger("t")

    def speak() -> None:
        thread = threading.Thread(target=lambda: log.warning("x" * 10, text="y" * 10_000))
        thread.start()
        thread.join()

    ((_, values),) = heard(speak, 1)

    assert len(values["detail"]) == systemlog.MAX_DETAIL


class Speechless:
    """An object that cannot be told."""

    def __str__(self) -> str:
        raise KeyError


@pytest.mark.parametrize(
    ("fact", "shown"),
    [
        (2**70, str(2**70)),
        (-(2**63) - 1, str(-(2**63) - 1)),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (b"\xff\0", "[2 bytes]"),
        ({"b", "a"}, ["a", "b"]),
        ("a\udcff", "a\\udcff"),
        ({(1, 2): {2**70}}, {"(1, 2)": [str(2**70)]}),
        ({"password": {"hunter2"}, "x": {"a-registered-secret"}}, {"password": "[redacted]", "x": ["[redacted]"]}),
        (KeyError("a-registered-secret"), "'[redacted]'"),
        (Speechless(), "[Speechless: KeyError]"),
    ],
    ids=[
        *("huge", "very small", "no number", "without end", "bytes", "a set", "a surrogate", "a key that is no text"),
        *("secrets", "a secret in an object", "no text at all"),
    ],
)
@pytest.mark.usefixtures("configured")
def test_facts_that_are_no_json(monkeypatch: pytest.MonkeyPatch, fact: Any, shown: Any) -> None:
    """
    They are told in words, beside the others; the line is never sent without its facts, and no secret gets out so.
    """
    monkeypatch.setattr(logs, "_registered", {"a-registered-secret"})
    ((level, values),) = heard(lambda: structlog.get_logger("t").critical("odd", fact=fact, number=7), 1)

    assert (level, values["event"]) == (Level.CRIT, "odd")
    assert json.loads(values["detail"]) == {"fact": shown, "number": 7}


def test_they_are_system_logs() -> None:
    """
    For their rate is limited, and operators switch them off apart.
    """
    assert BMS_SERVICE_LOG.kind is Kind.SYSTEM
    assert not BMS_SERVICE_LOG.keys
