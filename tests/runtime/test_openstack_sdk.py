# SPDX-License-Identifier: Apache-2.0
"""How requests go to the services of a cloud: over HTTP on the loopback, by the SDK."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.kernel.errors import PeerUnavailable
from services.lifecycle.backends.ironic_api import Deadline, IronicApi
from services.runtime.keystone.validation import Keystone
from services.runtime.neutron import open_neutron
from services.runtime.openstack import ask
from services.runtime.openstack_sdk import Cloud, Service
from services.runtime.settings import KeystoneSettings
from tests.support.keystone import SERVICE, FakeKeystone, fake_keystone
from tests.support.peer import Peer, Said, served

# Of the SDK's own parts.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")

TENANT = "a1" * 16
SETTING = "BMS_X_CLOUD"
DROP, SILENCE = Said(0), Said(-1)


@pytest.fixture
def keystone() -> Iterator[FakeKeystone]:
    with fake_keystone() as made:
        yield made


@pytest.fixture
def peer() -> Iterator[Peer]:
    with served("/v2.1") as made:
        yield made


@pytest.fixture
def clouds(keystone: FakeKeystone, peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clouds.yaml in which *peer* is the Nova, Neutron, Glance, Placement and Ironic of cloud ``site``."""
    path = keystone.write_clouds(tmp_path / "clouds.yaml")
    found = json.loads(path.read_text())
    for kind in ("baremetal", "compute", "image", "placement"):
        found["clouds"]["site"][f"{kind}_endpoint_override"] = peer.url
    found["clouds"]["site"]["network_endpoint_override"] = peer.url.removesuffix("/v2.1")
    path.write_text(json.dumps(found))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return path


@pytest.fixture
def nova(clouds: Path) -> Service:
    return Cloud("site", SETTING).service("Nova", "compute", seconds=1, microversion="2.61")


@pytest.mark.parametrize(
    ("method", "first", "sent", "answers"),
    [
        pytest.param("GET", DROP, 2, True, id="get-dropped"),
        pytest.param("PUT", DROP, 2, True, id="put-dropped"),
        pytest.param("PATCH", DROP, 2, True, id="patch-dropped"),
        pytest.param("DELETE", DROP, 2, True, id="delete-dropped"),
        pytest.param("POST", DROP, 1, False, id="post-dropped"),
        pytest.param("GET", SILENCE, 2, True, id="get-in-no-time"),
        pytest.param("POST", SILENCE, 1, False, id="post-in-no-time"),
        pytest.param("GET", Said(503), 1, False, id="get-not-now"),
        pytest.param("POST", Said(503), 1, False, id="post-not-now"),
        pytest.param("GET", Said(500, b"<html>oh</html>"), 1, False, id="get-defect"),
        pytest.param("GET", Said(200, b"<html>Sign in</html>"), 1, False, id="get-a-page"),
        pytest.param("GET", Said(200, b"[" * 100_000), 1, False, id="get-garbage"),
        pytest.param("GET", Said(401), 2, True, id="get-unknown-token"),
        pytest.param("POST", Said(401), 2, True, id="post-unknown-token"),
        pytest.param("GET", Said(406), 1, False, id="get-too-old"),
        pytest.param("POST", Said(202, b""), 1, True, id="post-nothing-said"),
    ],
)
def test_what_is_sent_once_more(
    nova: Service, peer: Peer, method: str, first: Said, sent: int, *, answers: bool
) -> None:
    """
    After a connection that broke, and after silence, all but a POST; after an answer nothing, but what was refused for
    a token that the service does not know any more.
    """
    ask("Nova", nova, "GET", "/before")
    peer.asked.clear()
    peer.says.append(first)

    if answers:
        assert ask("Nova", nova, method, "/x", {"a": 1}) == {}
    else:
        with pytest.raises(PeerUnavailable) as caught:
            ask("Nova", nova, method, "/x", {"a": 1})
        assert caught.value.facts["peer"] == "nova"
        assert caught.value.remedy

    assert peer.methods == [method] * sent
    assert {each.content for each in peer.asked} == {b'{"a": 1}'}


def test_the_caller_may_say_what_is_sent_once_more(nova: Service, peer: Peer) -> None:
    """
    What he says must be done once is sent once, and what may be done twice is sent again, whatever the method.
    """
    peer.says += [DROP, DROP]

    with pytest.raises(PeerUnavailable, match="Nova cannot be reached"):
        nova.reach("PUT", "/x", {}, repeated=False)
    nova.reach("POST", "/x", {}, repeated=True)

    assert peer.methods == ["PUT", "POST", "POST"]


def test_a_token_that_is_unknown_is_replaced_once(nova: Service, peer: Peer, keystone: FakeKeystone) -> None:
    """
    One login more, and then the service's word counts: its refusal names the setting, and no secret.
    """
    ask("Nova", nova, "GET", "/x")
    old = peer.asked[0].headers["x-auth-token"]
    peer.knows = lambda token: token != old
    ask("Nova", nova, "GET", "/x")
    assert keystone.logins == 2

    peer.knows = lambda _: False
    with pytest.raises(PeerUnavailable, match="Nova refuses our login") as caught:
        ask("Nova", nova, "GET", "/x")

    assert keystone.logins == 3
    assert SETTING in caught.value.remedy
    assert keystone.password not in f"{caught.value!r} {caught.value.remedy} {caught.value.facts}"


def test_microversions_are_sent_where_there_is_one(clouds: Path, peer: Peer) -> None:
    """
    The service's, or one request's own; to a service without none.
    """
    cloud = Cloud("site", SETTING)
    nova = cloud.service("Nova", "compute", seconds=5, microversion="2.90")
    nova.send("GET", "/x")
    nova.reach("GET", "/x", microversion="2.95")
    cloud.service("Placement", "placement", seconds=5, microversion="1.10").send("GET", "/x")
    cloud.service("Glance", "image", seconds=5).send("PATCH", "/x", [], "application/openstack-images-v2.1-json-patch")

    spoken = [each.headers.get("openstack-api-version", "") for each in peer.asked]
    assert spoken == ["compute 2.90", "compute 2.95", "placement 1.10", ""]
    assert peer.asked[-1].headers["content-type"] == "application/openstack-images-v2.1-json-patch"
    peer.says.append(Said(406))
    with pytest.raises(PeerUnavailable, match=r"this Nova does not speak 2\.90"):
        nova.send("GET", "/x")


def test_a_project_s_own_token(clouds: Path, peer: Peer, keystone: FakeKeystone) -> None:
    """
    One login for each project, over the same connections; where ours has no role there, that is what is said.
    """
    cloud = Cloud("site", SETTING)

    def ask_for(project: str) -> str:
        cloud.service("Nova", "compute", seconds=5, project=project).send("POST", "/servers", {})
        token = peer.asked[-1].headers["x-auth-token"]
        return str(keystone.tokens[token]["project"]["id"])

    assert [ask_for(project) for project in ("", TENANT, "", TENANT)] == [SERVICE, TENANT, SERVICE, TENANT]
    assert cloud.own_project() == SERVICE
    assert (keystone.logins, peer.connections) == (2, 1)
    keystone.closed.add("c3" * 16)
    with pytest.raises(PeerUnavailable, match="no token of project c3c3") as caught:
        ask_for("c3" * 16)
    assert f"login of {SETTING} role admin in that project" in caught.value.remedy


def _names(path: Path, **more: str) -> None:
    found = json.loads(path.read_text())
    found["clouds"]["site"] |= more
    path.write_text(json.dumps(found))


@pytest.mark.parametrize(
    ("wrong", "said", "remedy"),
    [
        pytest.param("cloud", "clouds.yaml has no cloud 'elsewhere'; there are site", SETTING, id="no-such-cloud"),
        pytest.param("password", "Keystone refuses our login", SETTING, id="login-refused"),
        pytest.param("keystone", "Keystone cannot be reached: ", "look at Keystone", id="keystone-away"),
        pytest.param("catalogue", "names no service of type", SETTING, id="not-in-the-catalogue"),
        pytest.param("silent", "Nova cannot be reached: ", "look at Nova", id="nobody-where-the-catalogue-says"),
        pytest.param("nova", "Nova cannot be reached: ConnectFailure", "look at Nova", id="nobody-listens"),
    ],
)
@pytest.mark.parametrize("kind", ["compute", "network"])
def test_who_is_to_blame(clouds: Path, keystone: FakeKeystone, kind: str, wrong: str, said: str, remedy: str) -> None:
    """
    Whatever goes wrong before there is an answer is one error, which says where to look, and no secret.
    """
    if wrong == "password":
        keystone.password, known = "another", keystone.password
    else:
        known = keystone.password
    keystone.away = wrong == "keystone"
    if wrong == "silent":
        keystone.catalogue = {kind: "http://127.0.0.1:1/v2.1"}
    if wrong in ("catalogue", "nova", "silent"):
        _names(clouds, **{f"{kind}_endpoint_override": "http://127.0.0.1:1/v2.1" if wrong == "nova" else ""})
    cloud = Cloud("elsewhere" if wrong == "cloud" else "site", SETTING)
    service = cloud.service("Nova", "network" if kind == "network" else "compute", seconds=5)

    with pytest.raises(PeerUnavailable, match=said) as caught:
        ask("Nova", service, "GET", "/x")

    assert remedy in caught.value.remedy
    assert known not in f"{caught.value!r} {caught.value.remedy} {caught.value.facts}"


@pytest.mark.parametrize("project", ["", TENANT], ids=["own", "tenant"])
@pytest.mark.parametrize("versioned", [True, False], ids=["versioned", "unversioned"])
def test_the_catalogue_says_where(
    keystone: FakeKeystone,
    peer: Peer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    project: str,
    *,
    versioned: bool,
) -> None:
    """
    Of a service by the address of its version or without, for whichever project.
    """
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(keystone.write_clouds(tmp_path / "clouds.yaml")))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    root = peer.url.removesuffix("/v2.1")
    keystone.catalogue = {
        "compute": peer.url if versioned else root, "network": f"{root}/v2.0/" if versioned else root,
    }  # fmt: skip
    cloud = Cloud("site", SETTING)
    nova = cloud.service("Nova", "compute", seconds=5, microversion="2.61", project=project)
    neutron = cloud.service("Neutron", "network", seconds=5, project=project)

    for _ in range(2):
        nova.send("GET", "/servers?limit=1")
        neutron.send("POST", "/ports", {})

    assert [each.path for each in peer.asked] == ["/v2.1/servers?limit=1", "/v2.0/ports"] * 2
    assert len({each.headers["x-auth-token"] for each in peer.asked}) == 1
    assert keystone.logins == (2 if project else 1)


def test_a_service_that_is_starting_is_asked_again_what_it_is(clouds: Path, peer: Peer) -> None:
    """
    An address without its version, asked too early, is not taken for that of the version ever after.
    """
    _names(clouds, compute_endpoint_override=peer.url.removesuffix("/v2.1"))
    nova = Cloud("site", SETTING).service("Nova", "compute", seconds=5)
    peer.started = False
    with pytest.raises(PeerUnavailable):
        ask("Nova", nova, "GET", "/servers")

    peer.started = True
    ask("Nova", nova, "GET", "/servers")

    assert [each.path for each in peer.asked] == ["/v2.1/servers"]


@pytest.mark.parametrize("auth", ["none", "password"])
def test_a_service_that_says_what_it_is_at_its_root_alone(clouds: Path, peer: Peer, auth: str) -> None:
    """
    Glance answers 404 where its version is.
    """
    root = peer.url.removesuffix("/v2.1")
    if auth == "none":
        known = {"auth_type": "none", "auth": {"endpoint": root}, "image_endpoint_override": root}
        clouds.write_text(json.dumps({"clouds": {"site": known}}))
    else:
        _names(clouds, image_endpoint_override=root)
    peer.below = False
    # Somebody else's cloud too, by the same login.
    for cloud in (Cloud("site", SETTING), Cloud("site", SETTING)):
        glance = cloud.service("Glance", "image", seconds=5)
        for _ in range(2):
            ask("Glance", glance, "GET", "/images")

    assert [each.path for each in peer.asked] == ["/v2.1/images"] * 4


def test_a_process_logs_in_once(clouds: Path, peer: Peer, keystone: FakeKeystone) -> None:
    """
    Whoever asks whatever service of a cloud, for whichever setting, comes with one token and over kept connections.
    """
    nova = Cloud("site", "BMS_A").service("Nova", "compute", seconds=5)
    glance = Cloud("site", "BMS_B").service("Glance", "image", seconds=20)
    neutron = open_neutron("site", setting="BMS_C")
    ironic = IronicApi(cloud="site")

    for _ in range(2):
        nova.send("GET", "/servers")
        glance.send("GET", "/images")
        neutron.call("GET", "/networks")
        ironic.get("/nodes", Deadline())
    caller = Keystone(KeystoneSettings(cloud="site")).validate(keystone.issue(project=TENANT)).caller

    assert caller.may_write(TENANT)
    assert [each.path for each in peer.asked] == ["/v2.1/servers", "/v2.1/images", "/v2.0/networks", "/v2.1/nodes"] * 2
    assert keystone.logins == 1
    assert peer.connections == 1
    assert len({each.headers["x-auth-token"] for each in peer.asked}) == 1


def test_threads_that_begin_at_once_log_in_once(clouds: Path, peer: Peer, keystone: FakeKeystone) -> None:
    """
    One login for our own project and one for a tenant's, however many threads ask first.
    """
    cloud = Cloud("site", SETTING)

    def ask_for(number: int) -> object:
        project = TENANT if number % 2 else ""
        return ask("Nova", cloud.service("Nova", "compute", seconds=5, project=project), "GET", f"/{number}")

    with ThreadPoolExecutor(12) as threads:
        assert list(threads.map(ask_for, range(36))) == [{}] * 36

    assert keystone.logins == 2
    assert sorted(peer.methods) == ["GET"] * 36


def test_who_needs_no_cloud_loads_no_sdk() -> None:
    """
    It is heavy: a service whose settings name no cloud goes without it.
    """
    code = (
        "import sys, services.inventory.compose, services.ipam.compose, services.lifecycle.__main__, "
        "services.network.__main__; print(sorted({'openstack', 'keystoneauth1', 'requests'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
