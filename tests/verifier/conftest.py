# SPDX-License-Identifier: Apache-2.0
"""One real life, recorded once for all tests that tamper with it."""

from __future__ import annotations

import pytest

from tests.verifier.evidence import Evidence, live


@pytest.fixture(scope="session")
def life(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """See `tests.verifier.evidence.live`."""
    return live(tmp_path_factory.mktemp("life"))
