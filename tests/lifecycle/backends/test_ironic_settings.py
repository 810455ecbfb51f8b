# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys

import pytest

from services.kernel.errors import InvalidField
from services.lifecycle.settings import IronicSettings, LifecycleSettings

IRONIC = {"BMS_LIFECYCLE_BACKEND": "ironic"}
CLOUD = {"BMS_LIFECYCLE_IRONIC_CLOUD": "site"}
ENDPOINT = {"BMS_LIFECYCLE_IRONIC_ENDPOINT": "http://ironic:6385/"}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({**IRONIC, **CLOUD}, IronicSettings(cloud="site")),
        ({**IRONIC, **ENDPOINT, "BMS_LIFECYCLE_REDFISH_CA": "none"}, IronicSettings("", "http://ironic:6385", "none")),
        (CLOUD, IronicSettings()),
    ],
)
def test_an_ironic_is_a_cloud_or_an_endpoint(environ: dict[str, str], expected: IronicSettings) -> None:
    """
    Either names it; without the backend neither matters.
    """
    assert LifecycleSettings.read(environ).ironic == expected


@pytest.mark.parametrize("environ", [IRONIC, {**IRONIC, **CLOUD, **ENDPOINT}])
def test_neither_or_both_is_refused(environ: dict[str, str]) -> None:
    """
    Lifecycle does not start on a guess.
    """
    with pytest.raises(InvalidField) as refused:
        LifecycleSettings.read(environ)

    assert refused.value.violations[0].field == "BMS_LIFECYCLE_IRONIC_CLOUD"


def test_nobody_who_did_not_choose_it_loads_the_sdk() -> None:
    """
    Importing the service, and even its backend, brings in nothing of OpenStack.
    """
    script = (
        "import sys, services.lifecycle.__main__, services.lifecycle.backends.ironic;"
        "print([name for name in sys.modules if name.split('.')[0] in ('openstack', 'keystoneauth1', 'requests')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.strip() == "[]"
