# SPDX-License-Identifier: Apache-2.0
"""`bms doctor` before a genuine Ironic that stands alone, and before a whole genuine cloud."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.cli.doctor.facts import SECTIONS
from tests.openstack.bed import Bed
from tests.openstack.cloud.fixture import Cloud, cloud
from tests.site.rig import Site

__all__ = ["cloud"]

pytestmark = [
    pytest.mark.timeout(900),
    # Of the SDK's own parts.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"),
]

alone, whole = pytest.mark.openstack, pytest.mark.openstack_full


@dataclass(frozen=True, slots=True)
class Told:
    """What a line told.

    Attributes:
        found: the findings by code.
        text: all that it wrote.
    """

    code: int
    found: Mapping[str, list[dict[str, Any]]]
    text: str

    def of(self, *verdicts: str) -> set[str]:
        """Codes that have one of *verdicts*."""
        return {code for code, rows in self.found.items() if any(row["verdict"] in verdicts for row in rows)}

    def texts(self, code: str) -> str:
        """What is said by *code*."""
        return "; ".join(row["text"] for row in self.found.get(code, ()))


def doctor(clouds: Path, *line: str, **environ: str) -> Told:
    """`bms doctor` as an operator runs it, in a process of its own."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("BMS_", "OS_"))}
    around = {"OS_CLIENT_CONFIG_FILE": str(clouds), "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1", **environ}
    done = subprocess.run(
        [sys.executable, "-m", "services.cli", "doctor", "-o", "json", *line],
        capture_output=True, text=True, check=False, timeout=90, env={**kept, **around},
    )  # fmt: skip
    found: dict[str, list[dict[str, Any]]] = {}
    for row in json.loads(done.stdout)["findings"]:
        found.setdefault(row["code"], []).append(row)
    assert "Traceback" not in done.stderr
    return Told(done.returncode, found, done.stdout + done.stderr)


def only(*sections: str) -> list[str]:
    """The options that choose *sections*."""
    return [word for section in sections for word in ("--section", section)]


@alone
def test_an_ironic_that_stands_alone(bed: Bed, site: Site) -> None:
    """
    Our five genuine services and their Ironic: what is asked is answered, and nothing of Keystone's is looked at.
    """
    told = doctor(bed.clouds, "--os-cloud", "bed", "--data", str(site.data.path))

    assert {row["section"] for rows in told.found.values() for row in rows} == {"services", "ironic"}
    assert told.of("FAIL") == set(), told.text
    passed = {"SERVICES_ANSWER", "SERVICES_CONTRACT", "SERVICES_LOGIN", "SERVICES_FOLLOWED"}
    passed |= {"IRONIC_ANSWERS", "IRONIC_VERSION", "IRONIC_CONDUCTORS", "IRONIC_DRIVERS"}
    assert passed <= told.of("PASS") - told.of("WARN", "UNKNOWN")
    # There is no rescue on the bed, and no switch.
    assert "rescue" in told.texts("IRONIC_INTERFACES")
    assert bed.password not in told.text


@alone
def test_what_is_wrong_before_it(bed: Bed, tmp_path: Path) -> None:
    """
    A wrong password, and an address where nobody listens, are told from each other.
    """
    (known,) = json.loads(bed.clouds.read_text())["clouds"].values()
    wrong = tmp_path / "clouds.yaml"
    nobody = {**known, "baremetal_endpoint_override": "http://127.0.0.1:9"}
    refused = {**known, "auth": {**known["auth"], "password": "not-the-password"}}
    wrong.write_text(json.dumps({"clouds": {"nobody": nobody, "refused": refused}}))

    away = doctor(wrong, "--os-cloud", "nobody", *only("ironic"))
    stranger = doctor(wrong, "--os-cloud", "refused", *only("ironic"))

    assert (away.code, away.of("FAIL")) == (1, {"IRONIC_ANSWERS"})
    assert "nobody listens there" in away.text
    assert stranger.code == 1
    assert "our login is refused" in stranger.text
    assert "not-the-password" not in away.text + stranger.text


@whole
def test_a_whole_cloud(cloud: Cloud, tmp_path: Path) -> None:
    """
    A genuine cloud as our own login sees it: nothing FAILs, every section answers, a message comes; what no API tells
    is UNKNOWN, and no secret is said.
    """
    url = tmp_path / "rabbitmq.url"
    url.write_text(cloud.place.messaging)
    sections = [section for section in SECTIONS if section not in ("services", "contrail")]

    told = doctor(
        cloud.place.clouds, "--os-cloud", "site", *only(*sections), "--rabbitmq", str(url), "--probe",
        BMS_LIFECYCLE_IRONIC_CLOUD="site",
    )  # fmt: skip

    assert told.of("FAIL") == set(), told.text
    assert told.code == 0
    for section in sections:
        assert f"{section.upper()}_ANSWERS" in told.of("PASS")
    assert "IRONIC_NODES" in told.of("PASS")
    assert "PASS" in {row["verdict"] for row in told.found["RABBITMQ_MESSAGE"]}
    assert {row["subject"] for row in told.found["NEUTRON_PRIVATE"]} == {"cleaning", "provisioning", "rescuing"}
    assert {"IRONIC_NODE_CLEANING", "IRONIC_INTERFACES"} <= told.of("UNKNOWN")
    assert not [name for name, secret in cloud.place.secrets.items() if secret in told.text]


@whole
def test_others_see_less_and_are_told_so(cloud: Cloud) -> None:
    """
    A tenant's login FAILs for its roles, sees no nodes and is told of both causes; the system's administrator sees
    the drivers' interfaces.
    """
    tenant = doctor(cloud.place.clouds, "--os-cloud", "tenant-a", *only("keystone", "ironic"))
    system = doctor(cloud.place.clouds, "--os-cloud", "admin-system", *only("ironic"))

    assert tenant.of("FAIL") == {"KEYSTONE_ROLES"}
    assert "hidden from it" in tenant.texts("IRONIC_NODES")
    assert "rbac_service_role_elevated_access" in tenant.text
    assert "IRONIC_INTERFACES" not in system.of("UNKNOWN")


@whole
def test_a_shared_cleaning_network_is_found(cloud: Cloud) -> None:
    """
    A network that is shared, and one that is a tenant's, FAIL as private networks; the tenant is named.
    """
    admin = cloud.connect().network
    shared = admin.create_network(name="doctor-shared", is_shared=True)
    try:
        told = doctor(
            cloud.place.clouds, "--os-cloud", "site", *only("neutron"),
            "--cleaning-network", "doctor-shared", "--provisioning-network", "net-a", "--rescuing-network", "nowhere",
        )  # fmt: skip
    finally:
        admin.delete_network(shared.id)

    assert told.code == 1
    assert "doctor-shared is shared with every project" in told.texts("NEUTRON_PRIVATE")
    assert "net-a belongs to project tenant-a" in told.texts("NEUTRON_PRIVATE")
    assert "there is no network 'nowhere'" in told.texts("NEUTRON_PRIVATE_NETWORKS")
    assert "has no subnet" in told.texts("NEUTRON_PRIVATE_NETWORKS")


@whole
def test_a_wrong_password_at_keystone(cloud: Cloud, tmp_path: Path) -> None:
    """
    It is one FAIL; what stands behind is not guessed at.
    """
    clouds = yaml.safe_load(cloud.place.clouds.read_text())
    clouds["clouds"]["site"]["auth"]["password"] = "not-the-password"
    wrong = tmp_path / "clouds.yaml"
    wrong.write_text(yaml.safe_dump(clouds))

    told = doctor(wrong, "--os-cloud", "site", *only("keystone", "ironic", "neutron"))

    assert (told.code, told.of("FAIL")) == (1, {"KEYSTONE_LOGIN"})
    assert {"IRONIC_ANSWERS", "NEUTRON_ANSWERS"} <= told.of("UNKNOWN")
    assert "not-the-password" not in told.text
