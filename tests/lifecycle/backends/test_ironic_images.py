# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from services.lifecycle.backends.ironic_facts import image
from services.lifecycle.ports import ImageOrder

ID = "6f1b3b2e-9c0e-4a5e-8f0c-0d8a1b5f7c11"
CHECKSUM = "sha512:" + "ab" * 64


@pytest.mark.parametrize("uri", [f"glance:{ID}", f"glance://{ID}"])
def test_an_image_of_glance_is_handed_over_as_its_uuid(uri: str) -> None:
    """
    Ironic takes URLs and Glance's UUIDs and answers anything else with 500: kernel and ramdisk too.
    """
    given = image(ImageOrder("images/a", uri, CHECKSUM, kernel_uri=uri, ramdisk_uri=uri))

    assert (given["image_source"], given["kernel"], given["ramdisk"]) == (ID, ID, ID)


def test_an_image_elsewhere_keeps_its_address() -> None:
    """
    A URL is handed over as it is.
    """
    given = image(ImageOrder("images/a", "https://images/a.raw", CHECKSUM))

    assert given["image_source"] == "https://images/a.raw"
    assert (given["image_os_hash_algo"], given["image_os_hash_value"]) == ("sha512", "ab" * 64)
