# SPDX-License-Identifier: Apache-2.0
"""What a token of Keystone's lets its bearer do here."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.access import RULES
from services.kernel.calls import Caller, Role
from services.kernel.errors import Forbidden, InvalidField
from services.kernel.names import PROJECT
from services.runtime.keystone.mapping import SUBJECT, Token, caller_of, parse
from services.runtime.settings import KeystoneSettings, Settings

USER, P, ADMINS, SERVICES = "a1" * 16, "c0" * 16, "ad" * 16, "5e" * 16
PLAIN = KeystoneSettings("site")
OPEN = KeystoneSettings("site", admin_project=ADMINS, service_project=SERVICES)
AT = datetime(2030, 1, 1, tzinfo=UTC)
ALL = {"admin", "manager", "member", "reader"}


def token(project: str = "", *roles: str, system: bool = False, domain: bool = False) -> Token:
    return Token(USER, "alice", project, "name", system, domain, frozenset(roles), AT)


def named(**project_roles: set[Role]) -> dict[str, frozenset[Role]]:
    return {project: frozenset(roles) for project, roles in project_roles.items()}


@pytest.mark.parametrize(
    ("given_", "settings", "site", "own"),
    [
        (token(P, "member", "reader"), PLAIN, set(), {P: {Role.MEMBER, Role.READER}}),
        (token(P, "reader"), PLAIN, set(), {P: {Role.READER}}),
        (token(P, *ALL), PLAIN, set(), {P: {Role.MEMBER, Role.READER}}),
        (token(P, "admin"), PLAIN, set(), {P: {Role.MEMBER}}),
        (token(P, *ALL), OPEN, set(), {P: {Role.MEMBER, Role.READER}}),
        (token(ADMINS, *ALL), OPEN, {Role.ADMIN}, {ADMINS: {Role.MEMBER, Role.READER}}),
        (token(ADMINS, "member", "reader"), OPEN, set(), {ADMINS: {Role.MEMBER, Role.READER}}),
        (token(ADMINS, *ALL), PLAIN, set(), {ADMINS: {Role.MEMBER, Role.READER}}),
        (token(SERVICES, "service"), OPEN, {Role.SERVICE}, {}),
        (token(SERVICES, *ALL, "service"), OPEN, {Role.SERVICE}, {SERVICES: {Role.MEMBER, Role.READER}}),
        (token(SERVICES, *ALL, "service"), PLAIN, set(), {SERVICES: {Role.MEMBER, Role.READER}}),
        (token(ADMINS, "service", "reader"), OPEN, set(), {ADMINS: {Role.READER}}),
        (token("", *ALL, system=True), PLAIN, {Role.ADMIN}, {}),
        (token("", "member", "reader", system=True), PLAIN, {Role.READER}, {}),
        (token("", "reader", system=True), PLAIN, {Role.READER}, {}),
    ],
)
def test_a_scope_and_its_roles_name_a_caller(
    given_: Token, settings: KeystoneSettings, site: set[Role], own: dict[str, set[Role]]
) -> None:
    """
    A tenant's roles count in his project alone; the site's are those of the system, and of what the settings name.
    """
    assert caller_of(given_, settings) == Caller(SUBJECT + USER, frozenset(site), named(**own))


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        (token(), "for no project"),
        (token("", *ALL, domain=True), "for a domain"),
        (token(P), "none"),
        (token(P, "swiftoperator"), "swiftoperator"),
        (token(P, "service"), "service"),
        (token(SERVICES, "service"), "service"),
        (token("", "service", system=True), "service"),
        (token("Not An Id", "member"), "id that is none here"),
    ],
)
def test_other_tokens_are_refused_with_the_remedy(given_: Token, words: str) -> None:
    """
    A token for no project, or without a role that counts, is refused, and its bearer told what to ask for.
    """
    with pytest.raises(Forbidden, match=words) as caught:
        caller_of(given_, PLAIN)

    assert caught.value.remedy
    assert caught.value.facts["subject"] == SUBJECT + USER


ROLES = st.frozensets(st.sampled_from([*ALL, "service", "Member", "auditor", "adminX", ""]))
PROJECTS = st.sampled_from(["", P, ADMINS, SERVICES, "admin", "service"])


@given(st.booleans(), st.booleans(), PROJECTS, ROLES, st.sampled_from([PLAIN, OPEN]))
def test_nobody_gets_more_than_he_holds(
    system: bool, domain: bool, project: str, roles: frozenset[str], settings: KeystoneSettings
) -> None:
    """
    Whatever a token says: the site's roles come of the system, or of the project that the settings name, and of the
    role there; a project's only of its own token; and nobody is let in without any.
    """
    given_ = token(project, *roles, system=system, domain=domain)
    try:
        caller = caller_of(given_, settings)
    except Forbidden:
        return

    assert caller.subject == SUBJECT + USER
    assert caller.site_roles or caller.project_roles
    assert set(caller.project_roles) <= {project} - {""}
    assert not system or not caller.project_roles
    if Role.ADMIN in caller.site_roles:
        assert "admin" in roles
        assert system or (settings is OPEN and project == ADMINS)
    if Role.SERVICE in caller.site_roles:
        assert "service" in roles
        assert (settings is OPEN, project, system) == (True, SERVICES, False)
    if Role.READER in caller.site_roles:
        assert system
        assert roles & {"member", "reader"}
    for held in caller.project_roles.values():
        assert (Role.MEMBER in held) == bool(roles & {"member", "admin"})
        assert (Role.READER in held) == ("reader" in roles)
        assert held <= {Role.MEMBER, Role.READER}


def body(**changes: Any) -> dict[str, Any]:
    whole = {
        "user": {"id": USER, "name": "alice", "domain": {"id": "default"}},
        "project": {"id": P, "name": "web", "domain": {"id": "default"}},
        "is_domain": False,
        "roles": [{"id": "1", "name": "Member"}, {"id": "2", "name": "reader"}],
        "expires_at": "2030-01-01T00:00:00.000000Z",
    }
    return {"token": {**whole, **changes}}


def test_an_answer_is_read() -> None:
    """
    Ids decide, names are for the log; names of roles are told apart as Keystone does, whatever their case.
    """
    assert parse(body()) == Token(USER, "alice", P, "web", False, False, frozenset({"member", "reader"}), AT)
    assert parse(body(project=None, system={"all": True})).system
    assert not parse(body(system={"all": False})).system


def test_a_domain_that_acts_as_a_project_is_none() -> None:
    """
    A token for a domain gives no project, in whichever of Keystone's two forms it says so.
    """
    for said in (parse(body(is_domain=True)), parse(body(project=None, domain={"id": "default", "name": "Default"}))):
        assert (said.project, said.domain) == ("", True)


@pytest.mark.parametrize(
    "wrong",
    [
        None, [], {}, {"token": None}, {"token": []}, body(user={}), body(user={"id": ""}), body(user={"id": 7}),
        body(user={"id": "a\nb"}), body(expires_at="soon"), body(expires_at=None), body(roles=[{}]), body(roles=["x"]),
        body(project=["x"]), body(system="all"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_not_read(wrong: Any) -> None:
    """
    What Keystone would not say names nobody.
    """
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        parse(wrong)


def test_our_names_take_a_projects_id() -> None:
    """
    The id that Keystone gives a project is one that our names take.
    """
    assert PROJECT.parse(f"projects/{P}") == (P,)
    assert RULES["/bms.lifecycle.v1.LifecycleService/ListInstances"].project_field == "parent"


def test_settings() -> None:
    """
    Without a cloud there is no Keystone; with one, each variable reaches its setting.
    """
    assert Settings.read("ipam", {"BMS_KEYSTONE_ADMIN_PROJECT": ADMINS}).keystone is None
    assert Settings.read("ipam", {"BMS_KEYSTONE_CLOUD": "site"}).keystone == PLAIN
    assert Settings.read(
        "ipam",
        {
            "BMS_KEYSTONE_CLOUD": "envvars",
            "BMS_KEYSTONE_CACHE_SECONDS": "7",
            "BMS_KEYSTONE_ADMIN_PROJECT": ADMINS,
            "BMS_KEYSTONE_SERVICE_PROJECT": SERVICES,
            "BMS_KEYSTONE_ADMIN_ROLES": "cloud_admin",
            "BMS_KEYSTONE_MEMBER_ROLES": "Member, _member_",
            "BMS_KEYSTONE_READER_ROLES": "observer",
            "BMS_KEYSTONE_SERVICE_ROLES": "baremetal_service",
        },
    ).keystone == KeystoneSettings(
        "envvars", 7.0, ADMINS, SERVICES, frozenset({"cloud_admin"}), frozenset({"member", "_member_"}),
        frozenset({"observer"}), frozenset({"baremetal_service"}),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BMS_KEYSTONE_CACHE_SECONDS", "301"),
        ("BMS_KEYSTONE_CACHE_SECONDS", "-1"),
        ("BMS_KEYSTONE_CACHE_SECONDS", "long"),
        ("BMS_KEYSTONE_ADMIN_PROJECT", "admin"),
        ("BMS_KEYSTONE_SERVICE_PROJECT", "service"),
    ],
)
def test_nonsense_is_told_by_its_name(name: str, value: str) -> None:
    """
    A name where an id belongs would be anybody's to take, so it is refused like any other nonsense.
    """
    with pytest.raises(InvalidField) as caught:
        Settings.read("ipam", {"BMS_KEYSTONE_CLOUD": "site", name: value})

    assert caught.value.facts["field"] == name
