# SPDX-License-Identifier: Apache-2.0
"""What ipam is told of who gives addresses beside it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest

from services.ipam.settings import PlaneSettings
from services.kernel.errors import InvalidField


def test_nobody_unless_told() -> None:
    """
    Without settings nobody gives addresses beside us.
    """
    assert PlaneSettings.read({}) == PlaneSettings.read({"BMS_IPAM_BACKEND": "embedded"}) == PlaneSettings()


def test_neutron() -> None:
    """
    Neutron is named by its cloud; how often it is looked at, and its DHCP, by settings of their own.
    """
    given = {
        "BMS_IPAM_BACKEND": "neutron",
        "BMS_IPAM_NEUTRON_CLOUD": " site ",
        "BMS_IPAM_NEUTRON_SECONDS": "0.5",
        "BMS_IPAM_NEUTRON_DHCP": "1",
    }

    assert PlaneSettings.read(given) == PlaneSettings("site", dhcp=True, period=timedelta(seconds=0.5))


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"BMS_IPAM_BACKEND": "contrail"}, "BMS_IPAM_BACKEND"),
        ({"BMS_IPAM_BACKEND": "neutron"}, "BMS_IPAM_NEUTRON_CLOUD"),
        ({"BMS_IPAM_NEUTRON_CLOUD": "site"}, "BMS_IPAM_NEUTRON_CLOUD"),
        (
            {"BMS_IPAM_BACKEND": "neutron", "BMS_IPAM_NEUTRON_CLOUD": "site", "BMS_IPAM_NEUTRON_SECONDS": "0"},
            "BMS_IPAM_NEUTRON_SECONDS",
        ),
        (
            {"BMS_IPAM_BACKEND": "neutron", "BMS_IPAM_NEUTRON_CLOUD": "site", "BMS_IPAM_NEUTRON_DHCP": "yes"},
            "BMS_IPAM_NEUTRON_DHCP",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(given: Mapping[str, str], field: str) -> None:
    """
    Half a setting is refused by its name, before anything is granted under a wrong idea of who else grants.
    """
    with pytest.raises(InvalidField) as caught:
        PlaneSettings.read(given)

    assert caught.value.facts["field"] == field
