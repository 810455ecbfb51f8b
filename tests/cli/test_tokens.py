# SPDX-License-Identifier: Apache-2.0
"""Which token a line shows, and how it gets one at Keystone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.cli.failures import CliError
from services.cli.tokens import CloudToken, FileToken
from tests.cli.conftest import Shell
from tests.cli.fakes.world import World
from tests.support.keystone import SERVICE, FakeKeystone, fake_keystone


@pytest.fixture
def keystone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKeystone]:
    """A Keystone that clouds.yaml calls ``site``; nothing in the environment chooses a cloud."""
    for name in [name for name in os.environ if name.startswith("OS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    with fake_keystone() as running:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(running.write_clouds(tmp_path / "clouds.yaml")))
        yield running


def shown(world: World) -> str:
    """The token of the last call."""
    return world.calls[-1][2]["authorization"].removeprefix("Bearer ")


def test_a_cloud_gives_the_token(bms: Shell, world: World, keystone: FakeKeystone) -> None:
    """
    --os-cloud logs in at Keystone, once for all calls of a line; nothing of the token stays anywhere.
    """
    before = {path for path in bms.data.path.rglob("*") if path.is_file()}
    said = bms("--os-cloud site flavor create x")
    assert (said.code, said.err) == (0, "")

    assert keystone.tokens[shown(world)]["user"]["name"] == "name of b0b0"
    bms("server", "list", "--os-cloud", "site", "-l", "state=available")
    assert keystone.logins == 2
    assert {path for path in bms.data.path.rglob("*") if path.is_file()} == before


def test_the_project_is_the_tokens(bms: Shell, world: World, keystone: FakeKeystone) -> None:
    """
    Without --project, work is done in the project that the token is for.
    """
    bms("--os-cloud site instance list")
    assert world.asked("ListInstances")[-1].parent == f"projects/{SERVICE}"
    bms("--os-cloud site instance list -p other")
    assert world.asked("ListInstances")[-1].parent == "projects/other"


@pytest.mark.parametrize(
    ("line", "environ", "from_keystone"),
    [
        ("flavor list", {}, False),
        ("flavor list", {"OS_CLOUD": "site"}, True),
        ("flavor list", {"OS_CLOUD": ""}, False),
        ("flavor list --as admin", {"OS_CLOUD": "site"}, False),
        ("flavor list", {"OS_CLOUD": "site", "BMS_AS": "admin"}, False),
        ("flavor list --token-file FILE", {"OS_CLOUD": "site"}, False),
        ("flavor list --os-cloud site", {"OS_CLOUD": "nowhere"}, True),
        ("flavor list --os-cloud site", {"BMS_AS": "admin"}, True),
    ],
)
def test_what_is_named_counts_before_what_is_around(
    bms: Shell,
    world: World,
    keystone: FakeKeystone,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    environ: dict[str, str],
    from_keystone: bool,
) -> None:
    """
    --os-cloud before a login or file that is named, these before OS_CLOUD, and the directory's own login last.
    """
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    assert bms(line.replace("FILE", str(bms.data.token_file("admin")))).code == 0
    assert (shown(world) in keystone.tokens) is from_keystone
    assert (keystone.logins > 0) is from_keystone


def test_the_variables_of_an_rc_file_are_a_cloud(
    bms: Shell, world: World, keystone: FakeKeystone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    OS_AUTH_URL and its kin, as OpenStack's rc files set them, are a login like one of clouds.yaml.
    """
    monkeypatch.delenv("OS_CLIENT_CONFIG_FILE")
    given = {"AUTH_URL": keystone.url, "USERNAME": "bms", "PASSWORD": keystone.password, "PROJECT_NAME": "service"}
    for name, value in {**given, "USER_DOMAIN_ID": "default", "PROJECT_DOMAIN_ID": "default"}.items():
        monkeypatch.setenv(f"OS_{name}", value)

    said = bms("flavor list -v")
    assert shown(world) in keystone.tokens
    assert '"authorization: Bearer $(openstack token issue -f value -c id)"' in said.err
    monkeypatch.setenv("OS_PASSWORD", "wrong")
    said = bms("flavor list")
    assert said.code == 1
    assert "Error UNAUTHENTICATED: the login of the OS_* variables is refused by Keystone" in said.err


def test_a_token_is_renewed_before_it_expires(keystone: FakeKeystone, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A line that runs for longer than its token lives, such as a watch, shows a new one in time.
    """
    token = CloudToken("site", 10)
    first = token.read()
    assert token.read() == first
    lifetimes = iter((5.0, 3600.0))
    issue = FakeKeystone.issue
    monkeypatch.setattr(
        FakeKeystone, "issue", lambda self, user, **given: issue(self, user, **{**given, "seconds": next(lifetimes)})
    )
    short = CloudToken("site", 10)
    soon_over = short.read()

    assert short.read() != soon_over
    assert keystone.logins == 3


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        (
            "--os-cloud nowhere flavor list",
            1,
            ("NO_CLOUD", "no cloud 'nowhere'; there are away, half", "OS_CLIENT_CONFIG_FILE"),
        ),
        ("--os-cloud wrong flavor list", 1, ("UNAUTHENTICATED", "refused by Keystone", "--os-cloud wrong token issue")),
        ("--os-cloud away flavor list", 3, ("UNAVAILABLE", "cloud 'away' does not answer", "auth_url")),
        ("--os-cloud half flavor list", 1, ("NO_CLOUD", "'half' is incomplete")),
        ("--os-cloud none flavor list", 1, ("NO_CLOUD", "'none' does not log in at Keystone")),
    ],
)
def test_what_goes_wrong_is_told(
    bms: Shell, world: World, keystone: FakeKeystone, line: str, code: int, words: tuple[str, ...]
) -> None:
    """
    A cloud that is none, a wrong password, a Keystone that is away, half a login: each in its own words, with what to
    look at, and without a secret. No service is called.
    """
    good = {"auth_url": keystone.url, "username": "bms", "password": keystone.password, "project_name": "service"}
    login = {**good, "user_domain_id": "default", "project_domain_id": "default"}
    clouds = {
        "site": {"auth": login},
        "wrong": {"auth": {**login, "password": "hush-hush"}},
        "away": {"auth": {**login, "auth_url": "http://127.0.0.1:9/v3"}},
        "half": {"auth": {"username": "bms", "password": "hush-hush"}},
        "none": {"auth_type": "none", "auth": {"endpoint": keystone.url}},
    }
    Path(os.environ["OS_CLIENT_CONFIG_FILE"]).write_text(str({"clouds": clouds}))
    said = bms(line)

    assert said.code == code, said.err
    for word in words:
        assert word in said.err
    assert "hush" not in said.err + said.out
    assert keystone.password not in said.err + said.out
    assert world.calls == []


@pytest.mark.parametrize(
    ("address", "tls", "refused"),
    [
        ("127.0.0.1:50051", False, False),
        ("[::1]:50051", False, False),
        ("localhost:50051", False, False),
        ("unix:/run/bms", False, False),
        ("10.0.0.1:50051", False, True),
        ("10.0.0.1:50051", True, False),
        ("127.0.0.1.example.com:50051", False, True),
        ("bms.example.com:50051", False, True),
        (":50051", False, True),
    ],
)
def test_a_clouds_token_does_not_cross_a_network_in_clear(
    tmp_path: Path, address: str, tls: bool, refused: bool
) -> None:
    """
    What opens a whole cloud is sent over TLS, or nowhere beyond this machine.
    """
    FileToken(tmp_path / "x").may_cross(address, tls=tls)
    token = CloudToken("site", 1)
    if not refused:
        token.may_cross(address, tls=tls)
        return
    with pytest.raises(CliError) as caught:
        token.may_cross(address, tls=tls)
    assert (caught.value.reason, "--tls-ca" in caught.value.remedy) == ("INSECURE", True)


def test_no_token_is_sent_to_a_stranger(bms: Shell, keystone: FakeKeystone) -> None:
    """
    The refusal comes before any login.
    """
    said = bms("--os-cloud site --endpoint 192.0.2.1:50051 flavor list")

    assert (said.code, keystone.logins) == (1, 0)
    assert "Error INSECURE" in said.err
