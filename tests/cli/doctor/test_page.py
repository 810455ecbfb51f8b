# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import services
from services.cli.doctor import page
from services.cli.doctor.facts import NEEDED, WANTED
from services.cli.doctor.registry import CHECKS
from services.inventory.backends import nova
from services.lifecycle.backends import ironic_api

ROOT = Path(services.__file__).parents[1]


def test_the_page_is_what_the_registry_says() -> None:
    """
    docs/doctor.md is what the registry says today: python -m services.cli.doctor.page > docs/doctor.md
    """
    assert (ROOT / page.PAGE).read_text() == page.page()


def test_codes_are_told_apart() -> None:
    """
    No two checks have one code, and each leads to its place on the page.
    """
    codes = [each.code for each in CHECKS]

    assert len(set(codes)) == len(codes)
    assert all(f"### {code}\n" in page.page() for code in codes)


def test_what_is_needed_is_what_is_spoken() -> None:
    """
    The doctor asks for the versions that the services' backends speak.
    """
    assert (NEEDED["ironic"], WANTED["ironic"]) == tuple(
        ".".join(str(part) for part in version) for version in (ironic_api.OLDEST, ironic_api.NEWEST)
    )
    assert NEEDED["nova"] == nova.MICROVERSION
