# SPDX-License-Identifier: Apache-2.0
"""What a token of Keystone's lets its bearer do here: values in, values out.

scope of the token                      role there       becomes
the system                              admin            the site's ADMIN
the system                              member, reader   the site's READER
a project                               admin, member    MEMBER of projects/{its id}
a project                               reader           READER of projects/{its id}
the project that the settings name      admin            the site's ADMIN as well
the project that the settings name      service          SERVICE as well
none, or a domain                                        nothing: refused

Keystone puts the roles that a role implies into the token, so reader stands beside member there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

from services.kernel.calls import Caller, Role
from services.kernel.errors import Forbidden, InvalidField
from services.kernel.names import new_id
from services.runtime.settings import KeystoneSettings

SUBJECT = "keystone:"
"""How the subject of a caller with such a token begins: no login of the tokens file can be mistaken for him."""

_MOST_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Token:
    """What Keystone says of a token.

    Attributes:
        user: id of whom it was issued to; his name may change, and others may have it in other domains.
        user_name: for the log.
        project: id of the project that it is for; "" for none.
        project_name: for the log.
        system: whether it is for the system as a whole.
        domain: whether it is for a domain.
        roles: names of the roles it carries, implied ones among them, in small letters.
        expires: when it does.
    """

    user: str
    user_name: str
    project: str
    project_name: str
    system: bool
    domain: bool
    roles: frozenset[str]
    expires: datetime


def parse(body: Any) -> Token:
    """The token that Keystone's answer *body* describes.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it describes none.
    """
    token: Mapping[str, Any] = body["token"]
    project: Mapping[str, Any] = token.get("project") or {}
    # A domain that acts as a project is a domain all the same.
    is_domain = bool(token.get("domain")) or bool(token.get("is_domain"))
    expires = datetime.fromisoformat(token["expires_at"])
    user = token["user"]["id"]
    if not isinstance(user, str) or not 0 < len(user) <= 255 or not user.isprintable():
        msg = "no user"
        raise ValueError(msg)
    return Token(
        user=user,
        user_name=str(token["user"].get("name", ""))[:_MOST_SHOWN],
        project="" if is_domain else str(project.get("id") or ""),
        project_name=str(project.get("name") or "")[:_MOST_SHOWN],
        system=bool((token.get("system") or {}).get("all")),
        domain=is_domain,
        roles=frozenset(str(role["name"]).lower() for role in token.get("roles") or ()),
        expires=expires if expires.tzinfo else expires.replace(tzinfo=UTC),
    )


def caller_of(token: Token, settings: KeystoneSettings) -> Caller:
    """Whom *token* names.

    Raises:
        Forbidden: it is for no project, or carries no role that is one here; with what to ask Keystone for instead.
    """
    subject = f"{SUBJECT}{token.user}"
    roles = token.roles
    if token.system:
        if roles & settings.admin_roles:
            return Caller(subject, frozenset({Role.ADMIN}))
        if roles & (settings.member_roles | settings.reader_roles):
            return Caller(subject, frozenset({Role.READER}))
        _refuse_roles(token, settings, "the system")
    if not token.project:
        _refuse_scope(token)
    try:
        new_id(token.project, "project")
    except InvalidField:
        msg = f"the project of the token has an id that is none here: {token.project[:_MOST_SHOWN]!r}"
        raise Forbidden(msg, remedy="Ask for a token of another project.", subject=subject) from None
    site, own = set(), set()
    if roles & (settings.admin_roles | settings.member_roles):
        own.add(Role.MEMBER)
    if roles & settings.reader_roles:
        own.add(Role.READER)
    if token.project == settings.admin_project and roles & settings.admin_roles:
        site.add(Role.ADMIN)
    if token.project == settings.service_project and roles & settings.service_roles:
        site.add(Role.SERVICE)
    if not site and not own:
        _refuse_roles(token, settings, f"project {token.project}")
    return Caller(subject, frozenset(site), {token.project: frozenset(own)} if own else {})


def _refuse_scope(token: Token) -> NoReturn:
    scope = "a domain" if token.domain else "no project"
    msg = f"the token is for {scope}, and nothing here is a domain's" if token.domain else "the token is for no project"
    remedy = "Ask for one of a project: set OS_PROJECT_ID (or project_id in clouds.yaml), then `openstack token issue`."
    raise Forbidden(msg, remedy=remedy, subject=f"{SUBJECT}{token.user}", scope=scope)


def _refuse_roles(token: Token, settings: KeystoneSettings, where: str) -> NoReturn:
    wanted = ", ".join(sorted(settings.reader_roles | settings.member_roles | settings.admin_roles))
    held = ", ".join(sorted(token.roles))[:200] or "none"
    msg = f"the token carries no role in {where} that counts here: it has {held}"
    remedy = f"Ask the cloud's administrator for one of the roles {wanted}."
    raise Forbidden(msg, remedy=remedy, subject=f"{SUBJECT}{token.user}", roles=held)
