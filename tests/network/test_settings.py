# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from services.kernel.errors import InvalidField
from services.network.ports import DhcpOption
from services.network.settings import ContrailSettings, NeutronSettings, read
from services.runtime.contrail_http import Access

P = "BMS_NETWORK_NEUTRON_"
C = "BMS_NETWORK_CONTRAIL_"
URL = "http://192.0.2.7:8082"
CONTRAIL = {"BMS_NETWORK_BACKEND": "contrail", f"{C}URLS": URL}
NEUTRON = {"BMS_NETWORK_BACKEND": "neutron", f"{P}CLOUD": "bms"}


def test_without_settings_it_is_the_rack() -> None:
    """
    Empty variables are none.
    """
    assert read({}) is read({"BMS_NETWORK_BACKEND": "simulated", f"{P}CLOUD": " "}) is None


def test_all_of_them() -> None:
    """
    Each variable is read where it says.
    """
    group, project = "00000000-0000-4000-8000-0000000000aa", "aa" * 16
    environ = {
        **NEUTRON, f"{P}SECONDS": "3.5", f"{P}PHYSICAL_NETWORK": "physnet1", f"{P}PRIVATE_PROJECTS": f"{project}, ",
        f"{P}PRIVATE_GROUPS": group, f"{P}TENANT_GROUPS": f"{group},{group}",
        f"{P}DHCP_OPTIONS": "67=boot.img; tag:ipxe,67=http://192.0.2.1/a?b=c;6:59=tftp://x;",
    }  # fmt: skip

    options = (
        DhcpOption("67", "boot.img"), DhcpOption("tag:ipxe,67", "http://192.0.2.1/a?b=c"),
        DhcpOption("59", "tftp://x", 6),
    )  # fmt: skip
    assert read(environ) == NeutronSettings("bms", 3.5, "physnet1", (project,), (group,), (group, group), options)
    assert read(NEUTRON) == read({**NEUTRON, f"{P}MODE": "flip"}) == NeutronSettings("bms")
    assert read({**NEUTRON, f"{P}MODE": "observed"}) == NeutronSettings("bms", observed=True)


def test_contrails() -> None:
    """
    How it is reached is read as ipam reads it; the rest as for Neutron.
    """
    group, project = "00000000-0000-4000-8000-0000000000aa", "aa" * 16
    environ = {
        **CONTRAIL, f"{C}CLOUD": "bms", f"{C}PROJECT": "default-domain:bms", f"{C}REQUEST_SECONDS": "3.5",
        f"{C}NATIVE_VLAN": "77", f"{C}PRIVATE_PROJECTS": project, f"{C}PRIVATE_GROUPS": group,
        f"{C}TENANT_GROUPS": group, f"{C}DHCP_OPTIONS": "67=boot.img",
    }  # fmt: skip

    access = Access((URL,), "bms", 3.5, "default-domain:bms")
    assert read(environ) == ContrailSettings(
        access, 77, (project,), (group,), (group,), (DhcpOption("67", "boot.img"),)
    )
    assert read(CONTRAIL) == ContrailSettings(Access((URL,)))


@pytest.mark.parametrize(
    ("environ", "field"),
    [
        ({"BMS_NETWORK_BACKEND": "openflow"}, "BMS_NETWORK_BACKEND"),
        ({"BMS_NETWORK_BACKEND": "contrail"}, f"{C}URLS"),
        ({f"{C}URLS": URL}, f"{C}URLS"),
        ({**NEUTRON, f"{C}URLS": URL}, f"{C}URLS"),
        ({**CONTRAIL, f"{P}CLOUD": "bms"}, f"{P}CLOUD"),
        ({**CONTRAIL, f"{C}NATIVE_VLAN": "1"}, f"{C}NATIVE_VLAN"),
        ({**CONTRAIL, f"{C}NATIVE_VLAN": "none"}, f"{C}NATIVE_VLAN"),
        ({**CONTRAIL, f"{C}PRIVATE_GROUPS": "default"}, f"{C}PRIVATE_GROUPS"),
        ({**CONTRAIL, f"{C}DHCP_OPTIONS": "6:59=tftp://x"}, f"{C}DHCP_OPTIONS"),
        ({"BMS_NETWORK_BACKEND": "neutron"}, f"{P}CLOUD"),
        ({f"{P}CLOUD": "bms"}, f"{P}CLOUD"),
        ({**NEUTRON, f"{P}SECONDS": "0"}, f"{P}SECONDS"),
        ({**NEUTRON, f"{P}SECONDS": "soon"}, f"{P}SECONDS"),
        ({**NEUTRON, f"{P}PHYSICAL_NETWORK": "two words"}, f"{P}PHYSICAL_NETWORK"),
        ({**NEUTRON, f"{P}PRIVATE_PROJECTS": "service"}, f"{P}PRIVATE_PROJECTS"),
        ({**NEUTRON, f"{P}TENANT_GROUPS": "default"}, f"{P}TENANT_GROUPS"),
        ({**NEUTRON, f"{P}DHCP_OPTIONS": "67"}, f"{P}DHCP_OPTIONS"),
        ({**NEUTRON, f"{P}MODE": "both"}, f"{P}MODE"),
        ({**NEUTRON, f"{P}MODE": "observed", f"{P}TENANT_GROUPS": "aa" * 16}, f"{P}TENANT_GROUPS"),
        ({**NEUTRON, f"{P}DHCP_OPTIONS": "67=a;=b"}, f"{P}DHCP_OPTIONS"),
    ],
)
def test_what_cannot_be_understood_is_named(environ: dict[str, str], field: str) -> None:
    """
    The variable is the field; one that would be read by nobody is a mistake too.
    """
    with pytest.raises(InvalidField) as caught:
        read(environ)

    assert caught.value.facts["field"] == field


def test_a_wrong_setting_keeps_it_from_starting(tmp_path: Path) -> None:
    """
    The process ends with one line that names the variable and says what to do.
    """
    environ = {"BMS_DATA_DIR": str(tmp_path), "BMS_NETWORK_BACKEND": "neutron", "BMS_LOG_JSON": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "services.network"], env=environ, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 1
    assert f"{P}CLOUD" in done.stdout + done.stderr
    assert "Name a cloud of clouds.yaml." in done.stdout + done.stderr
