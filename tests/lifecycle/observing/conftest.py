# SPDX-License-Identifier: Apache-2.0
"""What the tests of observing share."""

from __future__ import annotations

from tests.lifecycle.observing.broker import broker

__all__ = ["broker"]
