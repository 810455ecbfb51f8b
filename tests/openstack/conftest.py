# SPDX-License-Identifier: Apache-2.0
"""A genuine Ironic, our five processes whose lifecycle works on it, a cloud. What cannot be started fails the tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lifecycle.observing.broker import broker
from tests.openstack.bed import Bed, running_bed
from tests.openstack.cloud.fixture import cloud
from tests.openstack.images import Images, serving
from tests.openstack.shared_ironic import shared
from tests.site.rig import Site, running_site

__all__ = ["broker", "cloud", "shared"]

SERVERS = 3


@pytest.fixture(scope="session")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """Ironic with three BMCs."""
    with running_bed(tmp_path_factory.mktemp("bed"), SERVERS) as running:
        yield running


@pytest.fixture(scope="session")
def images() -> Iterator[Images]:
    """A place on the loopback that images are fetched from."""
    with serving() as found:
        yield found


@pytest.fixture(scope="session")
def site(bed: Bed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Five processes: hardware is Ironic's, the fabric is simulated, since Ironic alone has none."""
    settings = {
        "BMS_LIFECYCLE_BACKEND": "ironic",
        "BMS_LIFECYCLE_IRONIC_CLOUD": "bed",
        "BMS_LIFECYCLE_REDFISH_CA": str(bed.ca),
        "BMS_LIFECYCLE_POLL_SECONDS": "1",
        "BMS_LOG_LEVEL": "debug",
        "OS_CLIENT_CONFIG_FILE": str(bed.clouds),
        "no_proxy": "127.0.0.1",
        "NO_PROXY": "127.0.0.1",
    }
    with running_site(tmp_path_factory.mktemp("site"), settings=settings) as running:
        yield running
