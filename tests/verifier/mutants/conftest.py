# SPDX-License-Identifier: Apache-2.0
"""A lifecycle that is spoiled, over both databases."""

from __future__ import annotations

import pytest

from tests.lifecycle.rig import Rig
from tests.support.stores import MakeDatabase
from tests.verifier.mutants.mutant import Mutant


@pytest.fixture
def mutant(make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch) -> Mutant:
    """A genuine lifecycle in its world of fakes, to be spoiled."""
    return Mutant(Rig(make_database("services.lifecycle")), monkeypatch)
