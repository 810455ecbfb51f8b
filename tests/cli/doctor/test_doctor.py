# SPDX-License-Identifier: Apache-2.0
"""The command over a cloud in memory: what it asks, what it says, and how it ends."""

from __future__ import annotations

import json
import os
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Said, Shell
from tests.cli.doctor.certificates import issue
from tests.cli.doctor.fakes import NODE, TYPES, FakeCloud, fake_cloud

OPENSTACK = ("keystone", *TYPES)


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in the environment chooses a cloud or a way to it."""
    for name in [name for name in os.environ if name.startswith(("OS_", "BMS_")) or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture
def cloud(offline: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCloud]:
    """A sound cloud that clouds.yaml calls ``site``."""
    with fake_cloud() as running:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(running.write_clouds(tmp_path / "clouds.yaml")))
        yield running


def examine(shell: Shell, *more: str, sections: tuple[str, ...] = OPENSTACK) -> tuple[Said, dict[str, Any]]:
    """What a line says, and its JSON."""
    chosen = [word for section in sections for word in ("--section", section)]
    said = shell("doctor", "--os-cloud", "site", "-o", "json", *chosen, *more)
    return said, json.loads(said.out)


def verdicts(told: dict[str, Any]) -> dict[str, set[str]]:
    """The verdicts by code."""
    found: dict[str, set[str]] = {}
    for each in told["findings"]:
        found.setdefault(each["code"], set()).add(each["verdict"])
    return found


def test_a_sound_cloud_passes(offline: Shell, cloud: FakeCloud) -> None:
    """
    Everything that is asked of a sound cloud is PASS; the exit code is 0, with --strict as well.
    """
    said, told = examine(offline, "--strict")

    others = [each for each in told["findings"] if each["verdict"] != "PASS"]
    assert [each["code"] for each in others] == ["KEYSTONE_SETTINGS"], others
    assert said.code == 5
    assert examine(offline)[0].code == 0
    assert {each["section"] for each in told["findings"]} == set(OPENSTACK)


def test_it_only_reads(offline: Shell, cloud: FakeCloud) -> None:
    """
    Beside its login it sends GET alone: the cloud in memory knows nothing else, and would fail.
    """
    _, told = examine(offline)

    assert cloud.asked
    assert told["counts"]["FAIL"] == 0


@pytest.mark.parametrize("name", list(TYPES))
def test_one_that_fails_costs_its_own_section(offline: Shell, cloud: FakeCloud, name: str) -> None:
    """
    A service that answers nothing but errors is one FAIL; only what compares with it cannot be seen.
    """
    cloud.statuses[f"/{name}/"] = 503

    said, told = examine(offline)

    assert said.code == 1
    assert [each["code"] for each in told["findings"] if each["verdict"] == "FAIL"] == [f"{name.upper()}_ANSWERS"]
    assert not [each for each in told["findings"] if "the doctor failed" in each["text"]]


def test_one_that_is_silent_is_waited_for_no_longer_than_its_time(offline: Shell, cloud: FakeCloud) -> None:
    """
    The others are told of all the same.
    """
    cloud.slow = ("neutron",)
    began = time.monotonic()

    _, told = examine(offline, "--request-timeout", "1")

    assert time.monotonic() - began < 10
    assert [each["text"] for each in told["findings"] if each["verdict"] == "FAIL"] == [
        f"{cloud.url}/neutron: no answer within 1 s"
    ]
    assert verdicts(told)["IRONIC_NODES"] == {"PASS"}


def test_all_of_it_has_an_end(offline: Shell, cloud: FakeCloud) -> None:
    """
    --limit is kept whatever anybody does.
    """
    cloud.slow = ("neutron", "glance")
    began = time.monotonic()

    _, told = examine(offline, "--limit", "2")

    assert time.monotonic() - began < 5
    late = [each for each in told["findings"] if "longer than 2 s in all" in each["text"]]
    assert {each["section"] for each in late} == {"neutron", "glance"}


def test_a_wrong_password_is_told(offline: Shell, cloud: FakeCloud) -> None:
    """
    Keystone's refusal is one FAIL with the line that repairs it; the rest could not be seen. The password is nowhere.
    """
    wrong, cloud.password = cloud.password, "another"

    said, told = examine(offline)
    text = offline("doctor --os-cloud site --section keystone --section ironic").out

    failed = [each for each in told["findings"] if each["verdict"] == "FAIL"]
    assert [each["code"] for each in failed] == ["KEYSTONE_LOGIN"]
    assert verdicts(told)["IRONIC_ANSWERS"] == {"UNKNOWN"}
    assert "clouds.yaml [clouds.site.auth] password = ..." in text
    assert wrong not in said.out + said.err + text


def test_no_secret_is_shown(offline: Shell, cloud: FakeCloud) -> None:
    """
    Neither password nor token stands in anything that is said, also when services fail.
    """
    cloud.statuses["/nova/"] = 500
    said, _ = examine(offline, "-v")
    table = offline("doctor --os-cloud site -v")

    text = said.out + said.err + table.out + table.err
    assert cloud.tokens
    assert not [secret for secret in (cloud.password, *cloud.tokens) if secret in text]


def test_nodes_that_are_hidden_are_told_from_none(offline: Shell, cloud: FakeCloud) -> None:
    """
    Whoever sees no node while Placement has providers is told of the setting that hides them.
    """
    cloud.pages["/ironic/v1/nodes"] = {"nodes": []}

    said = offline("doctor --os-cloud site --section ironic --section placement")

    assert said.code == 1
    assert "nodes are hidden from it" in said.out
    assert "ironic.conf [DEFAULT] rbac_service_role_elevated_access = true" in said.out


def test_a_tenants_cleaning_network_is_found(offline: Shell, cloud: FakeCloud) -> None:
    """
    Whose a network is says Keystone; a tenant's fails, by the name that people know.
    """
    cloud.pages["/neutron/v2.0/networks"]["networks"][0]["project_id"] = "7e" * 16
    cloud.pages["/v3/projects/" + "7e" * 16] = {"project": {"id": "7e" * 16, "name": "tenant-a"}}

    _, told = examine(offline)

    (found,) = [each for each in told["findings"] if each["verdict"] == "FAIL"]
    assert (found["code"], found["subject"]) == ("NEUTRON_PRIVATE", "cleaning")
    assert "belongs to project tenant-a" in found["text"]
    assert {"file": "ironic.conf", "section": "neutron", "key": "cleaning_network",
            "value": "UUID of a private network"} in found["lines"]  # fmt: skip


def test_projects_that_the_settings_trust(offline: Shell, cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A project that network's settings trust with private networks is no tenant's.
    """
    cloud.pages["/neutron/v2.0/networks"]["networks"][0]["project_id"] = "7e" * 16
    monkeypatch.setenv("BMS_NETWORK_NEUTRON_PRIVATE_PROJECTS", f"x, {'7e' * 16}")

    _, told = examine(offline)

    assert verdicts(told)["NEUTRON_PRIVATE"] == {"PASS"}


def test_networks_are_named_by_nodes_and_by_the_line(offline: Shell, cloud: FakeCloud) -> None:
    """
    What the line names counts before what nodes name, that before common names.
    """
    cloud.pages["/ironic/v1/nodes"]["nodes"][0]["driver_info"] = {"cleaning_network": "id-rescuing"}

    _, by_node = examine(offline)
    _, by_line = examine(offline, "--cleaning-network", "id-cleaning", "--rescuing-network", "nowhere")

    assert verdicts(by_node)["NEUTRON_DISTINCT"] == {"FAIL"}
    assert verdicts(by_line)["NEUTRON_PRIVATE_NETWORKS"] == {"PASS", "FAIL"}
    assert verdicts(by_line)["NEUTRON_DISTINCT"] == {"UNKNOWN"}


def test_a_clock_that_is_ahead_is_told(offline: Shell, cloud: FakeCloud) -> None:
    """
    An answer's date tells its server's clock.
    """
    cloud.ahead = 120

    _, told = examine(offline)

    assert verdicts(told)["IRONIC_CLOCK"] == {"FAIL"}
    assert verdicts(told)["KEYSTONE_CLOCK"] == {"FAIL"}


def test_long_lists_are_read_to_their_end(offline: Shell, cloud: FakeCloud) -> None:
    """
    Nodes come in pages; behind a proxy the next one's address may be of another host.
    """
    (node,) = cloud.pages["/ironic/v1/nodes"]["nodes"]
    cloud.pages["/ironic/v1/nodes"]["next"] = "http://elsewhere:6385/ironic/v1/more?marker=x"
    cloud.pages["/ironic/v1/more"] = {
        "nodes": [{**node, "uuid": NODE[:-1] + "2", "name": "r2", "network_interface": "flat"}]
    }

    _, told = examine(offline)

    (found,) = [
        each for each in told["findings"] if each["code"] == "IRONIC_NODE_NETWORK" and each["verdict"] == "FAIL"
    ]
    assert "(r2)" in found["text"]


def test_what_is_no_openstack_is_told(offline: Shell, cloud: FakeCloud) -> None:
    """
    An address where something else answers is a FAIL, not a service without versions.
    """
    cloud.pages["/ironic/"] = {"hello": "world"}

    _, told = examine(offline)

    (found,) = [each for each in told["findings"] if each["verdict"] == "FAIL"]
    assert found["text"] == f"{cloud.url}/ironic: what answers is another service"


def test_a_service_that_is_not_in_the_catalogue_is_no_section(offline: Shell, cloud: FakeCloud) -> None:
    """
    It is told once, by the catalogue's check.
    """
    cloud.offers = ("ironic", "neutron")

    said, told = examine(offline)

    assert said.code == 0
    assert {each["section"] for each in told["findings"]} == {"keystone", "ironic", "neutron"}
    missing = {each["subject"] for each in told["findings"] if each["verdict"] == "WARN"}
    assert missing == {"image", "compute", "placement"}


def test_an_ironic_alone(offline: Shell, cloud: FakeCloud) -> None:
    """
    Without Keystone there is Ironic's section; others are said not to have been looked at.
    """
    said = offline(f"doctor --ironic-endpoint {cloud.url}/ironic --section ironic --section neutron")

    assert said.code == 0, said.out
    assert "IRONIC_NODES" in said.out
    assert said.err == "Not looked at: neutron (an Ironic that stands alone).\n"


@pytest.mark.parametrize(("days", "verdict"), [(90, "PASS"), (5, "WARN")])
def test_certificates_are_trusted_and_counted(
    offline: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, verdict: str
) -> None:
    """
    An unknown CA is one FAIL that names the line; a known one passes, and the days are told.
    """
    pair = issue(tmp_path, days)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    with fake_cloud(context) as running:
        clouds = running.write_clouds(tmp_path / "clouds.yaml")
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds))
        unknown = offline("doctor --os-cloud site --section keystone --section ironic")
        running.write_clouds(clouds, cacert=str(pair.ca))
        _, told = examine(offline)
        running.write_clouds(clouds, verify=False)
        _, unverified = examine(offline)

    assert unknown.code == 1
    assert "its certificate is not trusted" in unknown.out
    assert "cacert = /path/to/ca.pem" in unknown.out
    assert verdicts(told)["IRONIC_ANSWERS"] == {"PASS"}
    assert verdicts(told)["IRONIC_TLS"] == {verdict}
    assert verdicts(unverified)["IRONIC_TLS"] == {"FAIL"}


def test_our_services(bms: Shell, cloud: FakeCloud) -> None:
    """
    Services that serve, know our token and have our contracts pass what can be seen of them.
    """
    _, told = examine(bms, sections=("services",))

    seen = verdicts(told)
    assert seen["SERVICES_ANSWER"] == {"PASS"}
    assert seen["SERVICES_TLS"] == {"PASS"}


def test_our_services_are_away(offline: Shell) -> None:
    """
    Without a cloud our services alone are looked at; each that is away is a FAIL, and the line says what was left out.
    """
    said = offline("doctor")

    assert said.code == 1
    assert said.out.count("nobody listens there (connection refused)") == 1 + 5
    assert "no cloud is named: --os-cloud NAME" in said.err


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("doctor --os-cloud site --ironic-endpoint http://x", "Leave one of the two out"),
        ("doctor --ironic-endpoint x:6385", "http://HOST:6385"),
        ("doctor --probe", "--rabbitmq FILE"),
        ("doctor --section moon", "moon"),
    ],
)
def test_lines_that_make_no_sense(offline: Shell, cloud: FakeCloud, line: str, word: str) -> None:
    """
    They are refused with exit code 2, before anybody is asked.
    """
    said = offline(line)

    assert said.code == 2
    assert word in said.err
    assert not cloud.asked


def test_a_cloud_that_is_not_there(offline: Shell, cloud: FakeCloud) -> None:
    """
    A name that clouds.yaml does not have is refused with those that it has.
    """
    said = offline("doctor --os-cloud nowhere")

    assert said.code == 1
    assert "there are site" in said.err


def test_forms(offline: Shell, cloud: FakeCloud) -> None:
    """
    -o name lists codes that are no PASS; --problems leaves out what passed; the counts are of everything.
    """
    cloud.pages["/ironic/v1/nodes"]["nodes"][0]["network_interface"] = "flat"
    names = offline("doctor --os-cloud site --section ironic --section neutron -o name").out.split()
    table = offline("doctor --os-cloud site --section ironic --problems").out

    assert names == ["IRONIC_NODE_NETWORK"]
    assert "PASS " not in table
    assert "1 FAIL, " in table
    assert table.splitlines()[0].split() == ["VERDICT", "CHECK", "OF", "WHAT"]
