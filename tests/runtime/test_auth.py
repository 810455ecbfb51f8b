# SPDX-License-Identifier: Apache-2.0
"""Who is let in, and where to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from google.longrunning.operations_pb2 import GetOperationRequest

from services.kernel.calls import Caller, Role
from services.kernel.errors import BmsError, Forbidden, InvalidField, NotFound, Unauthenticated
from services.runtime import auth
from services.runtime.auth import Rule, Tokens, compile_rule, make_token, token_entry
from services.runtime.secrets import UnsafeFile, write_private
from tests.support.wire import admin, auditor, member, reader, service

NOBODY = Caller("nobody")
OURS = GetOperationRequest(name="projects/demo/operations/x")


def write(path: Path, *entries: object) -> Path:
    write_private(path, json.dumps(entries).encode())
    return path


def test_a_token_names_its_caller(tmp_path: Path) -> None:
    """
    A token of the file names subject and roles; the file holds no token, only its SHA-256.
    """
    token = make_token()
    entry = token_entry(token, "alice", site_roles=(Role.READER,), project_roles={"demo": (Role.MEMBER,)})
    tokens = Tokens.load(write(tmp_path / "tokens.json", entry))

    caller = tokens.caller_of(token)
    assert (caller.subject, caller.site_roles, caller.project_roles) == (
        "alice",
        frozenset({Role.READER}),
        {"demo": frozenset({Role.MEMBER})},
    )
    assert token not in (tmp_path / "tokens.json").read_text()
    assert len({make_token() for _ in range(50)}) == 50


@pytest.mark.parametrize("bearer", ["", "x", "bms_", "\x00", "é"])
def test_unknown_tokens_are_refused(tmp_path: Path, bearer: str) -> None:
    """
    Whatever is not a token of the file is Unauthenticated.
    """
    tokens = Tokens.load(write(tmp_path / "tokens.json", token_entry(make_token(), "alice")))

    with pytest.raises(Unauthenticated):
        tokens.caller_of(bearer)


def test_tokens_expire(tmp_path: Path) -> None:
    """
    A token past its time is refused, with another word than an unknown one; one before it is not.
    """
    old, new = make_token(), make_token()
    tokens = Tokens.load(
        write(
            tmp_path / "tokens.json",
            token_entry(old, "old") | {"expires": "2020-01-01T00:00:00Z"},
            token_entry(new, "new") | {"expires": "2999-01-01T00:00:00Z"},
        )
    )

    assert tokens.caller_of(new).subject == "new"
    with pytest.raises(Unauthenticated, match="expired"):
        tokens.caller_of(old)


def test_a_changed_file_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    New tokens work and removed ones do not, without a restart; a broken file changes nothing until it is mended.
    """
    monkeypatch.setattr(auth, "_LOOK_SECONDS", -1.0)
    path = tmp_path / "tokens.json"
    first, second = make_token(), make_token()
    tokens = Tokens.load(write(path, token_entry(first, "first")))
    write_private(path, b"[{")
    assert tokens.caller_of(first).subject == "first"

    write(path, token_entry(second, "second"))
    assert tokens.caller_of(second).subject == "second"
    with pytest.raises(Unauthenticated):
        tokens.caller_of(first)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}x",
        b'{"a": 1}',
        b"[1]",
        b'[{"subject": "a"}]',
        b'[{"sha256": "a", "subject": "b", "site_roles": ["king"]}]',
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """
    A file that is no list of tokens stops the start, and says which file.
    """
    write_private(tmp_path / "tokens.json", content)

    with pytest.raises(UnsafeFile, match=r"tokens\.json"):
        Tokens.load(tmp_path / "tokens.json")


def test_a_readable_file_is_refused(tmp_path: Path) -> None:
    """
    A tokens file that others may read stops the start, with the command that mends it.
    """
    path = write(tmp_path / "tokens.json", token_entry(make_token(), "alice"))
    path.chmod(0o640)

    with pytest.raises(UnsafeFile) as caught:
        Tokens.load(path)
    assert caught.value.remedy == f"chmod 600 {path}"


def verdict(rule: Rule, caller: Caller) -> type[BmsError] | None:
    try:
        compile_rule(rule)(caller, OURS)
    except BmsError as error:
        return type(error)
    return None


ADMIN = Rule(roles=frozenset({Role.ADMIN}))
SERVICE = Rule(roles=frozenset({Role.SERVICE}))
SITE = Rule(roles=frozenset({Role.ADMIN, Role.SERVICE, Role.READER}))
MEMBERS = Rule(roles=frozenset({Role.ADMIN, Role.MEMBER}), project_field="name")
READERS = Rule(roles=frozenset({Role.ADMIN, Role.MEMBER, Role.READER}), project_field="name")
OWN = member("demo")
OWN_READER = reader("demo")
FOREIGN = member("other")


@pytest.mark.parametrize(
    ("rule", "caller", "expected"),
    [
        (Rule(anyone=True), NOBODY, None),
        (Rule(signed_in=True), NOBODY, None),
        (Rule(), admin(), None),
        (Rule(), NOBODY, Forbidden),
        (Rule(), service(), Forbidden),
        (ADMIN, admin(), None),
        (ADMIN, service(), None),
        (ADMIN, auditor(), Forbidden),
        (ADMIN, OWN, Forbidden),
        (SERVICE, service(), None),
        (SERVICE, admin(), Forbidden),
        (SERVICE, OWN, Forbidden),
        (SITE, admin(), None),
        (SITE, service(), None),
        (SITE, auditor(), None),
        (SITE, OWN, Forbidden),
        (SITE, OWN_READER, Forbidden),
        (MEMBERS, admin(), None),
        (MEMBERS, service(), None),
        (MEMBERS, OWN, None),
        (MEMBERS, OWN_READER, Forbidden),
        (MEMBERS, auditor(), Forbidden),
        (MEMBERS, FOREIGN, NotFound),
        (MEMBERS, NOBODY, NotFound),
        (READERS, admin(), None),
        (READERS, service(), None),
        (READERS, auditor(), None),
        (READERS, OWN, None),
        (READERS, OWN_READER, None),
        (READERS, FOREIGN, NotFound),
        (READERS, NOBODY, NotFound),
    ],
)
def test_rules(rule: Rule, caller: Caller, expected: type[BmsError] | None) -> None:
    """
    Administrators may all but what is for services; a project's rows do not exist for those without a role in it;
    whoever has too low a role is told so.
    """
    assert verdict(rule, caller) is expected


@pytest.mark.parametrize(("name", "what"), [("projects/-", "administrators"), ("projects/other", "role")])
def test_what_does_not_exist_for_somebody_has_a_remedy(name: str, what: str) -> None:
    """
    A tenant who asks for all projects, or another's, is told what he may ask for.
    """
    with pytest.raises(NotFound) as caught:
        compile_rule(READERS)(OWN, GetOperationRequest(name=name))

    assert what in caught.value.remedy


@pytest.mark.parametrize("name", ["", "projects", "projects/", "flavors/a", "/projects/demo", "x" * 5000])
def test_a_name_without_project_is_refused(name: str) -> None:
    """
    Where a project is asked for and none is named, the field is named instead.
    """
    with pytest.raises(InvalidField) as caught:
        compile_rule(READERS)(OWN, GetOperationRequest(name=name))

    assert caught.value.facts["field"] == "name"
