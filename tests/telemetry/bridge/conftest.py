# SPDX-License-Identifier: Apache-2.0
"""What the bridge's tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lifecycle.observing.broker import broker
from tests.openstack.shared_ironic import shared
from tests.telemetry.bridge.fake_ironic import FakeIronic, fake_ironic

__all__ = ["broker", "shared"]


@pytest.fixture
def ironic() -> Iterator[FakeIronic]:
    with fake_ironic() as running:
        yield running
