# SPDX-License-Identifier: Apache-2.0
"""What ipam is told of who gives addresses beside it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest

from services.ipam.settings import PlaneSettings
from services.kernel.errors import InvalidField
from services.runtime.contrail_http import Access


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


def test_contrail() -> None:
    """
    Contrail is named by its API servers; DHCP is its own unless told otherwise.
    """
    given = {"BMS_IPAM_BACKEND": "contrail", "BMS_IPAM_CONTRAIL_URLS": "http://a:8082,http://b:8082"}

    found = PlaneSettings.read(given)

    assert found == PlaneSettings(contrail=Access(("http://a:8082", "http://b:8082")), dhcp=True)
    assert not PlaneSettings.read({**given, "BMS_IPAM_CONTRAIL_DHCP": "0"}).dhcp


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"BMS_IPAM_BACKEND": "opencontrail"}, "BMS_IPAM_BACKEND"),
        ({"BMS_IPAM_BACKEND": "contrail"}, "BMS_IPAM_CONTRAIL_URLS"),
        ({"BMS_IPAM_CONTRAIL_URLS": "http://controller:8082"}, "BMS_IPAM_CONTRAIL_URLS"),
        (
            {"BMS_IPAM_BACKEND": "contrail", "BMS_IPAM_CONTRAIL_URLS": "http://c", "BMS_IPAM_NEUTRON_DHCP": "1"},
            "BMS_IPAM_NEUTRON_DHCP",
        ),
        (
            {"BMS_IPAM_BACKEND": "contrail", "BMS_IPAM_CONTRAIL_URLS": "http://c", "BMS_IPAM_CONTRAIL_SECONDS": "-1"},
            "BMS_IPAM_CONTRAIL_SECONDS",
        ),
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
