# SPDX-License-Identifier: Apache-2.0
"""A site of five real processes, shared by the tests that leave it usable."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.site.furnish import Furnished, furnish
from tests.site.rig import Site, running_site


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Five processes on ports of their own, with nothing in them."""
    with running_site(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture(scope="session")
def furnished(site: Site) -> Furnished:
    """The same site, with servers, networks, a catalogue and an instance of each tenant."""
    return furnish(site)
