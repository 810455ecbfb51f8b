# SPDX-License-Identifier: Apache-2.0
"""An Ironic, and the backend that asks it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.lifecycle.backends.ironic import IronicHardware
from services.lifecycle.backends.ironic_api import IronicApi
from tests.lifecycle.backends.fake_ironic import Fake, serving
from tests.lifecycle.backends.ironic_rig import Login, StepClock, impatient


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    """An Ironic that has never heard of the server; patience is short, so that its end is seen soon."""
    impatient(monkeypatch, locked=0.4)
    with serving() as running:
        yield running


@pytest.fixture
def hardware(fake: Fake) -> IronicHardware:
    return IronicHardware(IronicApi(endpoint=fake.url), Login(), StepClock())
