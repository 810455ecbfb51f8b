# SPDX-License-Identifier: Apache-2.0
"""Images and a running site, made once for all tests of containers. What cannot be made fails; nothing is skipped."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.containers.engine import IMAGE, POSTGRES_IMAGE, ROOT, Site, build


@pytest.fixture(scope="session")
def image() -> str:
    build(IMAGE, ROOT / "docker" / "Dockerfile", ROOT)
    return IMAGE


@pytest.fixture(scope="session")
def postgres_image() -> str:
    folder = ROOT / "tests" / "containers" / "postgres"
    build(POSTGRES_IMAGE, folder / "Dockerfile", folder)
    return POSTGRES_IMAGE


@pytest.fixture(scope="session")
def site(image: str, postgres_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(f"bms-test-{os.getpid()}", tmp_path_factory.mktemp("site"))
    try:
        made.up()
        yield made
    finally:
        made.down()
