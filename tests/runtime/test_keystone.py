# SPDX-License-Identifier: Apache-2.0
"""Tokens are validated at a Keystone over HTTP, as a service meets it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.longrunning.operations_pb2 import GetOperationRequest

from services.access import RULES
from services.kernel.calls import Caller, Role
from services.kernel.errors import BmsError, Forbidden, InvalidField, PeerUnavailable, Unauthenticated
from services.runtime import status as statuses
from services.runtime.auth import AskingCallers, Callers, Tokens, make_token, token_entry
from services.runtime.callers import open_callers
from services.runtime.interceptors import Arrived, Guard
from services.runtime.keystone import validation
from services.runtime.keystone.validation import Keystone
from services.runtime.secrets import write_private
from services.runtime.settings import KeystoneSettings, Settings
from tests.support.keystone import FakeKeystone, fake_keystone

P = "c0" * 16
METHOD = "/google.longrunning.Operations/GetOperation"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKeystone]:
    """A Keystone that clouds.yaml calls ``site``; nothing else in the environment says anything of clouds."""
    with fake_keystone() as running:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(running.write_clouds(tmp_path / "clouds.yaml")))
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "OS_CLOUD"):
            monkeypatch.delenv(name, raising=False)
        yield running


@pytest.fixture
def keystone(fake: FakeKeystone) -> Keystone:
    return Keystone(KeystoneSettings("site"))


def refusal(keystone: Keystone, token: str) -> BmsError:
    with pytest.raises(BmsError) as caught:
        keystone.validate(token)
    assert token not in f"{caught.value!r} {caught.value.remedy} {caught.value.facts}" or len(token) < 4
    return caught.value


def both(tmp_path: Path, **more: str) -> tuple[Callers, str]:
    """The callers of a service that takes both kinds of tokens, and a token of its file."""
    ours = make_token()
    entry = token_entry(ours, "alice", project_roles={"demo": (Role.READER,)})
    write_private(tmp_path / "tokens.json", json.dumps([entry]).encode())
    environ = {"BMS_DATA_DIR": str(tmp_path), "BMS_KEYSTONE_CLOUD": "site", **more}
    return open_callers(Settings.read("ipam", environ)), ours


def test_a_token_names_its_caller(fake: FakeKeystone, keystone: Keystone) -> None:
    """
    A project's token is its bearer's, for that project, until it expires; we log in once for all that we ask.
    """
    said = [keystone.validate(fake.issue(project=P, seconds=600)) for _ in range(3)]

    assert said[0].caller == Caller(f"keystone:{'a1' * 16}", frozenset(), {P: frozenset({Role.MEMBER, Role.READER})})
    assert abs(said[0].expires - time.time() - 600) < 30
    assert (fake.logins, len(fake.asked)) == (1, 3)


def test_what_is_revoked_expired_or_unknown_is_nobodys(fake: FakeKeystone, keystone: Keystone) -> None:
    """
    Keystone knows the token no more: Unauthenticated, with how to get another.
    """
    revoked = fake.issue(project=P)
    keystone.validate(revoked)
    fake.revoke(revoked)

    for token in (revoked, fake.issue(project=P, seconds=-1), "gAAAAAnever"):
        error = refusal(keystone, token)
        assert type(error) is Unauthenticated
        assert "openstack token issue" in error.remedy


@pytest.mark.parametrize("token", ["", " ", "a b", "a\r\nX-Auth-Token: x", "é", "x" * 8193, "\x00"])
def test_what_can_be_no_token_is_asked_of_nobody(fake: FakeKeystone, keystone: Keystone, token: str) -> None:
    """
    What would not fit in a header is refused here, and reaches no header.
    """
    assert type(refusal(keystone, token)) is Unauthenticated
    assert (fake.asked, fake.logins) == ([], 0)


def test_tokens_for_no_project_are_refused(fake: FakeKeystone, keystone: Keystone) -> None:
    """
    An unscoped and a domain's token are somebody's, and for nothing that there is here.
    """
    for token in (fake.issue(roles=()), fake.issue(domain=True)):
        error = refusal(keystone, token)
        assert type(error) is Forbidden
        assert "OS_PROJECT_ID" in error.remedy


def test_our_own_login_is_renewed(fake: FakeKeystone, keystone: Keystone) -> None:
    """
    Our own token revoked: we log in again and the caller notices nothing.
    """
    keystone.validate(fake.issue(project=P))
    fake.tokens.clear()

    assert keystone.validate(fake.issue(project=P)).caller.project_roles.keys() == {P}
    assert fake.logins == 2


def test_faults_that_are_not_the_callers_are_not_held_against_him(
    fake: FakeKeystone, keystone: Keystone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Keystone gone, out of order, slow, or unwilling to let us ask: come again (UNAVAILABLE with RetryInfo), never
    "your token is bad".
    """
    token = fake.issue(project=P)
    keystone.validate(token)

    def said() -> str:
        error = refusal(keystone, token)
        assert isinstance(error, PeerUnavailable)
        status = statuses.to_status(error)
        assert status.code == grpc.StatusCode.UNAVAILABLE.value[0]
        assert any(detail.type_url.endswith("RetryInfo") for detail in status.details)
        assert error.remedy
        return str(error)

    fake.away = True
    assert "does not answer" in said()
    fake.away = False
    fake.answers_with = 500
    assert "500" in said()
    fake.answers_with = 200
    assert "not Keystone" in said()
    fake.answers_with, fake.forbids = 0, True
    assert "does not let us" in said()
    fake.forbids = False
    fake.password = "changed"
    for each in [each for each in fake.tokens if each != token]:
        fake.revoke(each)
    assert "refuses our own login" in said()


def test_a_keystone_that_hangs_is_given_up(fake: FakeKeystone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A question that is not answered ends after its time.
    """
    monkeypatch.setattr(validation, "_SECONDS", 0.2)
    keystone = Keystone(KeystoneSettings("site"))
    token = fake.issue(project=P)
    keystone.validate(token)
    fake.open.clear()

    assert isinstance(refusal(keystone, token), validation.NoAnswer)


@pytest.mark.parametrize(
    ("cloud", "words"),
    [("nowhere", "no cloud 'nowhere'; there are site"), ("envvars", "OS_\\* variables name no cloud")],
)
def test_a_cloud_that_is_none_stops_the_start(fake: FakeKeystone, cloud: str, words: str) -> None:
    """
    A service whose settings name no cloud does not start, and says which there are.
    """
    with pytest.raises(InvalidField, match=words) as caught:
        Keystone(KeystoneSettings(cloud))
    assert caught.value.facts["field"] == "BMS_KEYSTONE_CLOUD"


def test_a_login_that_lacks_something_stops_the_start(
    fake: FakeKeystone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A cloud without an address, one without Keystone, and a file that is none, stop the start; what is secret in them is
    not told.
    """
    path = tmp_path / "broken.yaml"
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))
    contents = (
        '{"clouds": {"site": {"auth": {"username": "u", "password": "hush"}}}}',
        '{"clouds": {"site": {"auth_type": "none", "auth": {"endpoint": "http://hush"}}}}',
        "clouds: [hush",
        "hush",
    )
    for content in contents:
        path.write_text(content)
        with pytest.raises(InvalidField) as caught:
            Keystone(KeystoneSettings("site"))
        assert "hush" not in f"{caught.value} {caught.value.remedy} {caught.value.facts}"
    path.unlink()
    with pytest.raises(InvalidField, match=r"no cloud 'site'$"):
        Keystone(KeystoneSettings("site"))


def test_the_environment_is_a_cloud(fake: FakeKeystone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """
    The OS_* variables are the cloud called envvars, as the SDK calls it.
    """
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "none.yaml"))
    given = {"AUTH_URL": fake.url, "USERNAME": "bms", "PASSWORD": fake.password, "PROJECT_NAME": "service"}
    for name, value in {**given, "USER_DOMAIN_ID": "default", "PROJECT_DOMAIN_ID": "default"}.items():
        monkeypatch.setenv(f"OS_{name}", value)

    assert Keystone(KeystoneSettings("envvars")).validate(fake.issue(project=P)).caller.project_roles.keys() == {P}


# --- beside the tokens of the file ---------------------------------------------------------------


def test_both_kinds_of_tokens_are_taken(fake: FakeKeystone, tmp_path: Path) -> None:
    """
    A token that begins as ours is the file's and never shown to Keystone; every other is Keystone's.
    """
    callers, ours = both(tmp_path)
    assert isinstance(callers, AskingCallers)

    assert callers.caller_of(ours).subject == "alice"
    assert callers.known(ours) == callers.caller_of(ours)
    token = fake.issue(project=P)
    assert callers.known(token) is None
    assert callers.caller_of(token) == callers.known(token)
    with pytest.raises(Unauthenticated):
        callers.caller_of(make_token())
    assert fake.asked == [token]


def test_keystone_away_at_the_start_is_no_reason_not_to_start(fake: FakeKeystone, tmp_path: Path) -> None:
    """
    A service starts without Keystone, serves the tokens of its file, and others as soon as it is back.
    """
    fake.away = True
    callers, ours = both(tmp_path, BMS_KEYSTONE_CACHE_SECONDS="0")
    token = fake.issue(project=P)

    assert callers.caller_of(ours).subject == "alice"
    with pytest.raises(PeerUnavailable):
        callers.caller_of(token)
    fake.away = False
    until = time.monotonic() + 10
    while True:
        try:
            assert callers.caller_of(token).project_roles.keys() == {P}
            return
        except PeerUnavailable:
            assert time.monotonic() < until


def test_many_requests_make_one_question(fake: FakeKeystone, tmp_path: Path) -> None:
    """
    Twenty requests with one token are one question to Keystone, and one login.
    """
    callers, _ = both(tmp_path)
    token = fake.issue(project=P)
    with ThreadPoolExecutor(20) as threads:
        found = set(threads.map(lambda _: callers.caller_of(token).subject, range(20)))

    assert len(found) == 1
    assert (fake.asked, fake.logins) == ([token], 1)


def test_who_does_not_ask_for_keystone_does_not_pay_for_it(tmp_path: Path) -> None:
    """
    Without the setting, nothing of the SDK is loaded.
    """
    write_private(tmp_path / "tokens.json", b"[]")
    program = """
import sys
from services.runtime.callers import open_callers
from services.runtime.settings import Settings
open_callers(Settings.read("ipam", {"BMS_DATA_DIR": sys.argv[1]}))
print([name for name in sys.modules if name.startswith(("openstack", "keystoneauth", "requests", "yaml"))])
"""
    said = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert said.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("metadata", "taken"),
    [
        ({"authorization": "Bearer TOKEN"}, True),
        ({"authorization": "bearer  TOKEN "}, True),
        ({"x-auth-token": "TOKEN"}, True),
        ({"authorization": "Basic eDp5", "x-auth-token": "TOKEN"}, True),
        ({"authorization": "Bearer other", "x-auth-token": "TOKEN"}, False),
        ({"authorization": "TOKEN"}, False),
        ({"x-auth-token": ""}, False),
        ({"x-auth-token": b"TOKEN"}, False),
        ({}, False),
    ],
)
def test_where_a_token_is_looked_for(tmp_path: Path, metadata: dict[str, Any], taken: bool) -> None:
    """
    A token comes as `authorization: Bearer` or, as OpenStack's tools send it, as `x-auth-token`; the former counts.
    """
    ours = make_token()
    entry = token_entry(ours, "admin", site_roles=(Role.ADMIN,))
    write_private(tmp_path / "tokens.json", json.dumps([entry]).encode())
    guard = Guard(Tokens.load(tmp_path / "tokens.json"), RULES)
    shown = {key: value.replace("TOKEN", ours) if isinstance(value, str) else value for key, value in metadata.items()}

    try:
        assert guard.admit(METHOD, shown, "1", Arrived(GetOperationRequest(name="operations/x"))).caller.is_admin
    except Unauthenticated:
        assert not taken
    else:
        assert taken


def test_no_log_holds_a_token(
    fake: FakeKeystone, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """
    With every logger at its most talkative, neither a caller's token, nor our own, nor our password is written.
    """
    caplog.set_level(logging.DEBUG)
    callers, _ = both(tmp_path, BMS_KEYSTONE_CACHE_SECONDS="0")
    tokens = [fake.issue(project=P), fake.issue(roles=()), "gAAAAA-guess"]
    for away in (False, True):
        fake.away = away
        for token in tokens:
            try:
                callers.caller_of(token)
            except BmsError:
                logging.getLogger("test").exception("refused")
    said = caplog.text + "".join(capfd.readouterr())

    assert "refused" in said
    for secret in (*fake.tokens, *tokens, fake.password):
        assert secret not in said
