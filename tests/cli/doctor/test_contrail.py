# SPDX-License-Identifier: Apache-2.0
"""The command over a Contrail in memory: whom it asks, what it says, and what it leaves unjudged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bms.inventory.v1 import server_pb2
from bms.network.v1 import network_pb2
from services.runtime.contrail import MAC, dashed, listed, network_uuid
from tests.cli.conftest import Shell
from tests.cli.doctor.fakes import PROJECT as LOGIN
from tests.cli.doctor.fakes import FakeCloud, fake_cloud
from tests.cli.fakes.world import World
from tests.support.contrail import FakeContrail
from tests.support.contrail_http import served

CONFIG, PROJECT = "default-global-system-config", ["default-domain", "default-project"]
BOOT = "52:54:00:00:00:01"
CLASSES = ("provisioning", "cleaning", "rescue")


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCloud]:
    """A Keystone that clouds.yaml calls ``site``."""
    with fake_cloud() as running:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(running.write_clouds(tmp_path / "clouds.yaml")))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield running


@pytest.fixture
def fake(cloud: FakeCloud) -> FakeContrail:
    """A Contrail with a switch, a network of each private class, and an address in each for one server."""
    made = FakeContrail()
    made.mode, made.tokens = "rbac", cloud.tokens
    made.add("project", ["default-domain", "service"], uuid=dashed(LOGIN))
    made.add("fabric", [CONFIG, "fab1"], fabric_enterprise_style=True)
    made.add("physical-router", [CONFIG, "leaf1"], fabric_refs=[{"to": [CONFIG, "fab1"]}])
    made.add("physical-interface", [CONFIG, "leaf1", "xe-0/0/1_0"])
    for number, kind in enumerate(CLASSES):
        ipam = {
            "to": [*PROJECT, "default-network-ipam"],
            "attr": {"ipam_subnets": [{"subnet": {"ip_prefix": f"10.{number}.0.0", "ip_prefix_len": 24}}]},
        }
        made.add(
            "virtual-network",
            [*PROJECT, kind],
            uuid=network_uuid(f"projects/site/networks/{kind}"),
            annotations=listed({"bms-vlan": str(100 + number)}),
            network_ipam_refs=[ipam],
        )
        vn = [{"to": [*PROJECT, kind]}]
        made.add("instance-ip", [f"lease-{kind}"], virtual_network_refs=vn, annotations=listed({MAC: BOOT}))
    return made


@pytest.fixture
def site(bms: Shell, world: World, fake: FakeContrail, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """A shell whose services have the networks of *fake* and a server, in the environment of network and ipam."""
    port = server_pb2.Port(mac_address=BOOT, switch_name="leaf1", switch_port="xe-0/0/1:0", pxe_enabled=True)
    world.add_server("r1", ports=[port])
    for kind in CLASSES:
        name = f"projects/site/networks/{kind}"
        value = network_pb2.PortClass.Value(f"PORT_CLASS_{kind.upper()}")
        world.networks[name] = network_pb2.Network(name=name, network_class=value)
    with served(fake) as url:
        for service in ("NETWORK", "IPAM"):
            monkeypatch.setenv(f"BMS_{service}_CONTRAIL_URLS", url)
            monkeypatch.setenv(f"BMS_{service}_CONTRAIL_CLOUD", "site")
        yield bms


def examine(shell: Shell, *more: str) -> dict[str, Any]:
    """What is said of Contrail, as JSON."""
    told: dict[str, Any] = json.loads(shell("doctor", "--section", "contrail", "-o", "json", *more).out)
    return told


def verdicts(told: dict[str, Any]) -> dict[str, set[str]]:
    """The verdicts by code, of what is no PASS."""
    found: dict[str, set[str]] = {}
    for each in told["findings"]:
        if each["verdict"] != "PASS":
            found.setdefault(each["code"], set()).add(each["verdict"])
    return found


def test_a_sound_contrail_passes(site: Shell, fake: FakeContrail) -> None:
    """
    Everything is PASS, and nothing but reading was done.
    """
    before = len(fake.told)

    told = examine(site)

    assert verdicts(told) == {}
    assert len({each["code"] for each in told["findings"]}) == 16
    assert {each["text"] for each in told["findings"] if each["code"] == "CONTRAIL_ANSWERS"} == {"it answers"}
    assert {path for _, path in fake.told[before:]} == {"/fqname-to-id"}


def test_who_is_no_cloud_admin_is_told_and_nothing_is_judged_by_what_he_sees(site: Shell, fake: FakeContrail) -> None:
    """
    One FAIL; what stands in lists that may leave things out is not judged, and says so.
    """
    fake.admin = False

    told = examine(site)

    assert verdicts(told) == {
        "CONTRAIL_ADMIN": {"FAIL"}, "CONTRAIL_PROJECTS": {"UNKNOWN"}, "CONTRAIL_LINKS": {"UNKNOWN"},
        "CONTRAIL_NETWORKS": {"UNKNOWN"}, "CONTRAIL_VLANS": {"UNKNOWN"}, "CONTRAIL_QUOTA": {"UNKNOWN"},
    }  # fmt: skip
    fake.refuses[("GET", "obj-perms")] = (403, "Permission Denied for u1 as ['member'] to R obj-perms in t")
    assert verdicts(examine(site))["CONTRAIL_ADMIN"] == {"FAIL"}


def test_each_api_server_is_asked(site: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    One that is away or still starting is a FAIL of its own; the others are judged as ever. No two Contrails are one.
    """
    starting, other = FakeContrail(), FakeContrail()
    starting.initializing = True
    with served(starting) as first, served(other) as second:
        told = examine(site, "--contrail", f"http://127.0.0.1:9,{first}")
        assert [(each["subject"], each["text"]) for each in told["findings"] if each["verdict"] == "FAIL"] == [
            ("http://127.0.0.1:9", "nobody listens there (connection refused)"),
            (first, "it answers with status 503"),
        ]
        assert verdicts(examine(site, "--contrail", second))["CONTRAIL_ONE"] == {"FAIL"}


def test_a_token_that_is_refused(site: Shell, fake: FakeContrail, cloud: FakeCloud) -> None:
    """
    Contrail's 401, and Keystone's: the line to mend is told, and no secret.
    """
    fake.tokens = ()
    told = examine(site)
    assert verdicts(told)["CONTRAIL_LOGIN"] == {"FAIL"}
    fake.tokens, wrong, cloud.password = cloud.tokens, cloud.password, "another"
    said = site("doctor --section contrail")
    assert "Keystone refuses the login" in said.out
    assert not [one for one in (wrong, *cloud.tokens) if one in said.out + said.err]


def test_settings_without_a_cloud(site: Shell, fake: FakeContrail, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where Contrail asks for a token, services that show none are told by name; in mode no-auth that is as it should be.
    """
    monkeypatch.delenv("BMS_IPAM_CONTRAIL_CLOUD")
    (found,) = [each for each in examine(site)["findings"] if each["verdict"] == "FAIL"]
    assert (found["code"], found["lines"][0]["key"]) == ("CONTRAIL_TOKEN", "BMS_IPAM_CONTRAIL_CLOUD")

    fake.mode, fake.tokens = "no-auth", None
    monkeypatch.delenv("BMS_NETWORK_CONTRAIL_CLOUD")
    assert verdicts(examine(site)) == {"CONTRAIL_MODE": {"WARN"}, "CONTRAIL_QUOTA": {"UNKNOWN"}}


def test_settings_that_cannot_be_understood(site: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The variable is named, and its value is not shown: somebody may have written a password into it.
    """
    monkeypatch.setenv("BMS_IPAM_CONTRAIL_URLS", "http://bms:hunter2@ctl1:8082")

    said = site("doctor --section contrail")

    assert "BMS_IPAM_CONTRAIL_URLS" in said.out
    assert "hunter2" not in said.out + said.err


def test_settings_that_name_nobody(site: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where no API server could be asked, nothing but the settings is judged.
    """
    for name in ("BMS_NETWORK_CONTRAIL_URLS", "BMS_IPAM_CONTRAIL_URLS"):
        monkeypatch.setenv(name, "ftp://ctl1")

    told = examine(site)

    assert {(each["code"], each["verdict"]) for each in told["findings"]} == {("CONTRAIL_SETTINGS", "FAIL")}


def test_what_is_not_there(site: Shell, world: World, fake: FakeContrail) -> None:
    """
    A network that somebody deleted or opened, and a switch port that was never onboarded, are found by name.
    """
    ident = network_uuid("projects/site/networks/cleaning")
    fake.do("PUT", f"/virtual-network/{ident}", {"virtual-network": {"is_shared": True}})
    port = server_pb2.Port(mac_address="52:54:00:00:00:02", switch_name="leaf1", switch_port="xe-0/0/9")
    world.add_server("r2", ports=[port])
    fake.do("PUT", f"/project/{dashed(LOGIN)}", {"project": {"quota": {"instance_ip": 50}}})
    name = "projects/t/networks/gone"
    world.networks[name] = network_pb2.Network(name=name, network_class=network_pb2.PORT_CLASS_TENANT)

    found = {each["code"]: each for each in examine(site)["findings"] if each["verdict"] != "PASS"}

    assert set(found) == {f"CONTRAIL_{one}" for one in ("LINKS", "NETWORKS", "PRIVATE", "BOOT_ADDRESSES", "QUOTA")}
    assert "xe-0/0/9 on leaf1 (of r2)" in found["CONTRAIL_LINKS"]["text"]
    assert f"nothing under {name}" in found["CONTRAIL_NETWORKS"]["text"]
    assert "is shared with others" in found["CONTRAIL_PRIVATE"]["text"]
    assert "r2 would get no address" in found["CONTRAIL_BOOT_ADDRESSES"]["text"]
    assert found["CONTRAIL_BOOT_ADDRESSES"]["commands"][0].startswith("bms --as site lease boot ")


def test_without_contrail_it_is_no_section(offline: Shell) -> None:
    """
    A site that names none is told so; a line that makes no sense is refused.
    """
    said = offline("doctor --section contrail")

    assert said.err == "Not looked at: contrail (no Contrail is named: --contrail URL, or BMS_NETWORK_CONTRAIL_URLS).\n"
    assert offline("doctor --contrail ctl1:8082").code == 2
