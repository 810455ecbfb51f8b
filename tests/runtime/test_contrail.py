# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from services.kernel.errors import InvalidField, PeerUnavailable
from services.runtime.contrail import (
    ADDRESS_TAKEN,
    EXHAUSTED,
    EXISTS,
    QUOTA,
    REFERRED,
    Contrail,
    chosen,
    dashed,
    find_network,
    interface_name,
    listed,
    network_label,
    network_uuid,
    pairs_of,
    refs_of,
)
from services.runtime.contrail_http import Access, open_contrail
from services.runtime.openstack import Refused
from tests.support.contrail import FakeContrail
from tests.support.contrail_http import served
from tests.support.keystone import FakeKeystone, fake_keystone

TENANT, OTHER = "a1" * 16, "b2" * 16
PROJECT = ["default-domain", "default-project"]
CONFIG = "default-global-system-config"
SETTING = "BMS_IPAM_CONTRAIL_CLOUD"


@pytest.fixture
def fake() -> FakeContrail:
    made = FakeContrail()
    made.add("project", ["default-domain", "tenant"], uuid=dashed(TENANT))
    made.add("project", ["default-domain", "other"], uuid=dashed(OTHER))
    return made


@pytest.fixture
def api(fake: FakeContrail) -> Contrail:
    return Contrail(fake)


@pytest.fixture
def keystone() -> Iterator[FakeKeystone]:
    with fake_keystone() as made:
        yield made


def dead() -> str:
    """The URL of a server that is not there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


# -- over HTTP ---------------------------------------------------------------------------------------------------------


def test_without_a_cloud_no_token_is_shown(fake: FakeContrail) -> None:
    """
    What the server answers over HTTP is what the caller gets: objects, refusals in its own words, and nothing for 404.
    """
    with served(fake) as url:
        api = open_contrail(Access((url,)), setting=SETTING)
        made = api.create("node", {"uuid": chosen("node", "n"), "fq_name": [CONFIG, "n"], "hostname": "n1"})

        assert made["hostname"] == "n1"
        assert api.get("node", dashed("9" * 32)) is None
        with pytest.raises(Refused) as caught:
            api.call("POST", "/instance-ips", {"instance-ip": {"fq_name": ["x"]}})
    assert (caught.value.status, caught.value.text) == (400, "can only join an iterable")


def test_keystones_token_is_shown_and_renewed(
    fake: FakeContrail, keystone: FakeKeystone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Who logs in shows Keystone's token; one that is refused is renewed once, and then the refusal is ours to mend.
    """
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(keystone.write_clouds(tmp_path / "clouds.yaml")))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    keystone.open.set()
    with served(fake) as url:
        api = open_contrail(Access((url,), "site"), setting=SETTING)
        fake.tokens = {"none of these"}
        with pytest.raises(PeerUnavailable, match="refuses our login"):
            api.every("node")
        assert keystone.logins == 2

        fake.tokens = set(keystone.tokens)
        assert api.every("node") == []
    with pytest.raises(InvalidField, match="no cloud"):
        open_contrail(Access(("http://a:1",), "nowhere"), setting=SETTING)


def test_the_next_server_is_asked(fake: FakeContrail) -> None:
    """
    A server that is not there, or is just starting, did nothing: the next one is asked, and first from then on.
    """
    starting = FakeContrail()
    starting.initializing = True
    with ExitStack() as stack:
        urls = (dead(), stack.enter_context(served(starting)), stack.enter_context(served(fake)))
        api = open_contrail(Access(urls), setting=SETTING)

        api.create("node", {"uuid": chosen("node", "n"), "fq_name": [CONFIG, "n"]})
        before = len(starting.asked)
        api.delete("node", chosen("node", "n"))

        assert (before, len(starting.asked)) == (1, 1)
        assert [method for method, _ in fake.told] == ["POST", "DELETE"]
        fake.initializing = True
        with pytest.raises(PeerUnavailable, match="Initializing"):
            api.every("node")


def test_only_what_reads_is_sent_again(fake: FakeContrail) -> None:
    """
    Whose answer is lost may have been done: a change is not repeated at the next server, a read is.
    """
    second = FakeContrail()
    body = {"uuid": chosen("node", "n"), "fq_name": [CONFIG, "n"]}
    with served(fake) as one, served(second) as two:
        api = open_contrail(Access((one, two)), setting=SETTING)
        fake.loses = ("POST", "nodes")
        with pytest.raises(PeerUnavailable):
            api.create("node", body)
        assert (len(fake.told), second.told) == (1, [])

        fake.loses = ("GET", "nodes")
        assert api.every("node") == []
        assert second.asked


@pytest.mark.parametrize(
    ("environ", "field"),
    [
        ({}, "URLS"),
        ({"URLS": "controller:8082"}, "URLS"),
        ({"URLS": "http://u:secret@controller:8082"}, "URLS"),
        ({"URLS": "http://a:1", "REQUEST_SECONDS": "soon"}, "REQUEST_SECONDS"),
        ({"URLS": "http://a:1", "REQUEST_SECONDS": "61"}, "REQUEST_SECONDS"),
        ({"URLS": "http://a:1", "PROJECT": "default-project"}, "PROJECT"),
    ],
    ids=["no url", "no scheme", "a password", "no number", "too long", "no domain"],
)
def test_settings_that_are_refused(environ: dict[str, str], field: str) -> None:
    """
    What is missing or wrong is told by its variable's name, and no password with it.
    """
    with pytest.raises(InvalidField) as caught:
        Access.read({f"X_{key}": value for key, value in environ.items()}, "X_")

    assert caught.value.violations[0].field == f"X_{field}"
    assert "secret" not in str(caught.value)


def test_settings() -> None:
    """
    Several servers are given by commas; the rest has defaults.
    """
    found = Access.read({"X_URLS": "http://a:8082/, https://b", "X_CLOUD": "site", "X_PROJECT": "d:p"}, "X_")

    assert found == Access(("http://a:8082", "https://b"), "site", 10.0, "d:p")
    assert Access.read({"X_URLS": "http://a"}, "X_").project == "default-domain:default-project"


# -- what it says ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (409, "['x'] already exists with uuid: 16a844ba-4d95-42ab-98be-8b9a9a3a7483", EXISTS),
        (409, "IP address already in use", ADDRESS_TAKEN),
        (400, "FQ Name: /api-server/subnets/d:p:n:10.1.0.0/24/10.1.0.5 exists already with ID: x at zookeeper",
         ADDRESS_TAKEN),
        (409, "Delete when resource still referred: ['http://c/instance-ip/1']", REFERRED),
        (409, "Cannot update IP Block, IP(10.1.0.5) is not in subnets ([])", REFERRED),
        (400, "Virtual-Network(['d', 'p', 'n']) has exhausted subnet([])", EXHAUSTED),
        (412, "['d', 'p'] : quota limit (5) exceeded for resource instance_ip", QUOTA),
        (404, "Name ['x'] not found", ""),
        (500, "KeyError: 'to'", ""),
    ],
    ids=["name", "address", "address raced for", "referred", "lived in", "exhausted", "quota", "gone", "mistake"],
)  # fmt: skip
def test_refusals_are_told_apart(api: Contrail, fake: FakeContrail, status: int, text: str, kind: str) -> None:
    """
    A refusal keeps its status and text, and has a kind by what it says; a 500 is one, for it is the caller's mistake.
    """
    fake.refuses["PUT", "node"] = (status, text)

    with pytest.raises(Refused) as caught:
        api.update("node", "x", {})

    assert (caught.value.status, caught.value.text, caught.value.kind) == (status, text, kind)
    assert len(fake.told) == 1


@pytest.mark.parametrize(
    ("status", "text"), [(403, "Permission Denied"), (503, "Initializing"), (502, ""), (401, "")],
    ids=["no rights", "starting", "gateway", "login"],
)  # fmt: skip
def test_what_is_no_refusal(api: Contrail, fake: FakeContrail, status: int, text: str) -> None:
    """
    Without rights, login or server nothing is decided: it is tried again later.
    """
    fake.refuses["PUT", "node"] = (status, text)

    with pytest.raises(PeerUnavailable) as caught:
        api.update("node", "x", {})

    assert caught.value.remedy


def test_making_it_twice_makes_one(api: Contrail, fake: FakeContrail) -> None:
    """
    Who makes what he made before gets it as it is; a name that another thing has is refused.
    """
    body = {"uuid": chosen("node", "n"), "fq_name": [CONFIG, "n"], "hostname": "first"}

    assert api.create("node", body)["hostname"] == "first"
    assert api.create("node", {**body, "hostname": "second"})["hostname"] == "first"
    with pytest.raises(Refused) as caught:
        api.create("node", {**body, "uuid": chosen("node", "other")})
    assert caught.value.kind == EXISTS


def test_single_things_are_changed_and_the_others_stay(api: Contrail, fake: FakeContrail) -> None:
    """
    References and pairs are set one by one, so that nobody's change in between is undone; taking away is done twice.
    """
    group = fake.add("virtual-port-group", [CONFIG, "default-fabric", "g"])
    router = fake.add("physical-router", [CONFIG, "leaf"])
    mine, theirs = (fake.add("physical-interface", [CONFIG, "leaf", name]) for name in ("xe-0", "xe-1"))
    assert router

    api.add_ref("virtual-port-group", group, "physical-interface", theirs)
    api.add_ref("virtual-port-group", group, "physical-interface", mine, {"ae_num": 3})
    api.add_ref("virtual-port-group", group, "physical-interface", mine, {"ae_num": 4})
    found = api.get("virtual-port-group", group)
    assert found is not None
    assert {ref["uuid"]: ref["attr"] for ref in refs_of(found, "physical-interface")} == {
        theirs: None,
        mine: {"ae_num": 4},
    }
    for _ in range(2):
        api.remove_ref("virtual-port-group", group, "physical-interface", mine)
    api.set_pairs(group, "annotations", {"a": "1", "b": "2"})
    api.set_pairs(group, "annotations", {"b": "3"})
    found = api.get("virtual-port-group", group)
    assert found is not None
    assert [ref["uuid"] for ref in refs_of(found, "physical-interface")] == [theirs]
    assert pairs_of(found, "annotations") == {"a": "1", "b": "3"} == pairs_of({"x": listed({"a": "1", "b": "3"})}, "x")
    api.remove_ref("virtual-port-group", dashed("9" * 32), "physical-interface", theirs)


def test_lists_are_whole(api: Contrail, fake: FakeContrail, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A type is listed page by page, what refers to something in one answer, and many uuids go by POST.
    """
    monkeypatch.setattr("services.runtime.contrail._PAGE", 7)
    made = {fake.add("node", [CONFIG, f"n{number}"], hostname=f"h{number % 2}") for number in range(50)}
    for number, node in enumerate(sorted(made)):
        fake.add("port", [CONFIG, fake.read("node", node)["name"], f"p{number}"])

    assert {row["uuid"] for row in api.every("node")} == made
    assert len([path for method, path in fake.asked if "page_marker" in path]) == 8
    assert {row["uuid"] for row in api.every("node", obj_uuids=sorted(made))} == made
    assert ("POST", "/list-bulk-collection") in fake.asked
    assert {row["hostname"] for row in api.every("node", where={"hostname": "h1"})} == {"h1"}
    (row,) = api.every("port", parent_id=[min(made)])
    assert row["parent_uuid"] == min(made)


def test_what_goes_while_it_is_listed(api: Contrail, fake: FakeContrail) -> None:
    """
    A listing that is refused because something of it went is made again.
    """
    fake.refuses["GET", "nodes"] = (404, "No node object found")

    assert api.every("node") == []


# -- networks ----------------------------------------------------------------------------------------------------------


def test_a_network_is_found_by_the_uuid_that_we_chose(api: Contrail, fake: FakeContrail) -> None:
    """
    What we make for a name is found by it, and by no other project's.
    """
    name = f"projects/{TENANT}/networks/blue"
    fake.add("virtual-network", ["default-domain", "tenant", network_label(name)], uuid=network_uuid(name))

    found = find_network(api, name)
    assert found is not None
    assert found["fq_name"] == ["default-domain", "tenant", "blue"]
    assert find_network(api, f"projects/{OTHER}/networks/blue") is None
    assert network_label("projects/site/networks/clean") == "site.clean"


def test_a_network_of_others_is_found_by_its_uuid(api: Contrail, fake: FakeContrail) -> None:
    """
    By its UUID a network is its project's, or whom it is shared with, or an administrator's.
    """
    there = fake.add("virtual-network", ["default-domain", "other", "theirs"])

    assert find_network(api, f"projects/{OTHER}/networks/{there}") is not None
    assert find_network(api, f"projects/{TENANT}/networks/{there}") is None
    assert find_network(api, f"projects/site/networks/{there}") is not None
    fake.objects.things[there].body["is_shared"] = True
    assert find_network(api, f"projects/{TENANT}/networks/{there}") is not None


def test_projects(fake: FakeContrail) -> None:
    """
    A Keystone project has its id as UUID; words of our own are one project of the site's.
    """
    api = Contrail(fake, "default-domain:other")

    for ours, fq_name in ((TENANT, ["default-domain", "tenant"]), ("site", ["default-domain", "other"])):
        found = api.project(ours)
        assert found is not None
        assert found["fq_name"] == fq_name
    assert api.project("c3" * 16) is None
    assert Contrail(fake, "no:where").project("site") is None
    assert interface_name("et-0/0/48:1") == "et-0/0/48_1"


def test_nothing_secret_is_told(api: Contrail, fake: FakeContrail) -> None:
    """
    Of a traceback its last line is told, and nothing in it that looks like a secret.
    """
    fake.refuses["PUT", "node"] = (500, "Traceback\n" + "x" * 3000 + "\nKeyError: 'a' password=hunter2")

    with pytest.raises(Refused) as caught:
        api.update("node", "x", {})

    assert caught.value.text == "KeyError: 'a' password=***"
