# SPDX-License-Identifier: Apache-2.0
"""Who calls, and whether he may: tokens, rules, and nothing else."""

from __future__ import annotations

import base64
import hashlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import orjson
from google.protobuf.message import Message

from services.kernel.calls import Caller, Role
from services.kernel.errors import Forbidden, InvalidField, NotFound, Unauthenticated
from services.runtime.secrets import UnsafeFile, private_file

PREFIX = "bms_"
_LOOK_SECONDS = 1.0


class Callers(Protocol):
    """Knows whom a bearer token names."""

    def caller_of(self, bearer: str) -> Caller:
        """The caller whose token *bearer* is.

        Raises:
            Unauthenticated: nobody's, or it has expired.
        """
        ...


@runtime_checkable
class AskingCallers(Callers, Protocol):
    """Callers whose `caller_of` may wait for somebody who is asked, for seconds.

    It then also raises:
        Forbidden: the token is good, and for nothing that there is here.
        PeerUnavailable: whoever is asked does not answer.
    """

    def known(self, bearer: str) -> Caller | None:
        """As `caller_of`, but asks nobody; None where somebody has to be asked."""
        ...


def make_token() -> str:
    """A fresh bearer token: 256 random bits, recognisable by its beginning when it turns up where it should not."""
    return PREFIX + base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")


def token_entry(
    token: str,
    subject: str,
    *,
    site_roles: tuple[Role, ...] = (),
    project_roles: Mapping[str, tuple[Role, ...]] | None = None,
) -> dict[str, Any]:
    """What a tokens file says of *token*; the file is a JSON list of these (`Tokens`)."""
    return {
        "sha256": hashlib.sha256(token.encode()).hexdigest(),
        "subject": subject,
        "site_roles": [role.value for role in site_roles],
        "project_roles": {project: [role.value for role in roles] for project, roles in (project_roles or {}).items()},
    }


@dataclass(frozen=True, slots=True)
class _Entry:
    caller: Caller
    expires: float


class Tokens:
    """The tokens of a file, read again when it changes.

    The file (JSON, mode 0600) is a list of ``{"sha256": hex, "subject": str, "site_roles": [..], "project_roles":
    {project: [..]}, "expires": RFC 3339, optional}``. A token itself is stored nowhere: it is 256 random bits, so its
    SHA-256 gives nothing away, and looking that digest up takes a time that tells nothing about any token.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = _state(path)
        self._entries = _read(path)
        self._look = time.monotonic() + _LOOK_SECONDS

    @classmethod
    def load(cls, path: str | Path) -> Tokens:
        """Reads the file at *path*.

        Raises:
            UnsafeFile: others may read it, or it is not a list of tokens.
        """
        return cls(Path(path))

    def caller_of(self, bearer: str) -> Caller:
        """See `Callers`."""
        if time.monotonic() > self._look:
            self._reload()
        entry = self._entries.get(hashlib.sha256(bearer.encode()).hexdigest())
        if entry is None:
            if not bearer.startswith(PREFIX):
                # Keystone's, for instance, which `bms` sends where OS_CLOUD or OS_AUTH_URL is set.
                msg = "the token is none of this site's"
                raise Unauthenticated(msg, remedy="Choose one that the administrator gave you, such as bms --as LOGIN.")
            msg = "the token is not known"
            raise Unauthenticated(
                msg, remedy="Send `authorization: Bearer <token>` with a token the administrator gave you."
            )
        if entry.expires and time.time() > entry.expires:
            msg = "the token has expired"
            raise Unauthenticated(msg, remedy="Ask the administrator for a new token.", subject=entry.caller.subject)
        return entry.caller

    def _reload(self) -> None:
        self._look = time.monotonic() + _LOOK_SECONDS
        seen = _state(self._path)
        if seen == self._seen:
            return
        try:
            self._entries = _read(self._path)
        except UnsafeFile:
            # Half-written or wrongly protected: nobody new gets in, nobody is locked out, and we look again.
            return
        self._seen = seen


def _state(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def _read(path: Path) -> dict[str, _Entry]:
    content = private_file(path)
    try:
        entries = {}
        for item in orjson.loads(content):
            expires = datetime.fromisoformat(item["expires"]) if item.get("expires") else None
            if expires is not None and expires.tzinfo is None:
                expires = expires.replace(tzinfo=UTC)
            entries[str(item["sha256"]).lower()] = _Entry(
                Caller(
                    subject=str(item["subject"]),
                    site_roles=frozenset(Role(role) for role in item.get("site_roles", ())),
                    project_roles={
                        str(project): frozenset(Role(role) for role in roles)
                        for project, roles in item.get("project_roles", {}).items()
                    },
                ),
                expires.timestamp() if expires else 0.0,
            )
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        msg = f"{path.name} is not a list of tokens"
        raise UnsafeFile(msg, remedy="Write it again with `bms token`, or restore it.", file=str(path)) from None
    return entries


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may call a method.

    Attributes:
        anyone: no token is asked for (health, reflection).
        signed_in: any valid token will do: everybody may see it (flavors), or the verb itself looks at the rows'
            projects.
        roles: the roles that may: ADMIN and SERVICE for the site; READER lets the site's auditor in; and, with
            *project_field*, MEMBER and READER are also those of the project it names.
        project_field: path of the request's field that holds ``projects/{p}`` or a name below it: ``parent``,
            ``instance.name``.

    The site's administrator may call everything but what is for SERVICE alone; a service whatever lists SERVICE or
    ADMIN.
    """

    anyone: bool = False
    signed_in: bool = False
    roles: frozenset[Role] = frozenset()
    project_field: str = ""


Check = Callable[[Caller, Message], None]
"""Refuses a request that the caller may not make."""


_PROJECT_REMEDY = "Check its name, and that your login has a role in its project."
_ALL_REMEDY = "Name a project of yours; those of all projects are listed for administrators."


def compile_rule(rule: Rule) -> Check:
    """*rule* as a function that is quick to call for every request.

    The function raises:
        Forbidden: the caller's roles do not allow it.
        NotFound: the caller has no role in the project; its rows do not exist for him.
        InvalidField: the field that should name a project does not.
    """
    if rule.anyone or rule.signed_in:
        return lambda _caller, _request: None
    project_of = attrgetter(rule.project_field) if rule.project_field else None
    passing = _passing(rule)
    needed = ", ".join(sorted(rule.roles)) or "none"

    def check(caller: Caller, request: Message) -> None:
        if caller.site_roles & passing:
            return
        if project_of is not None:
            name = project_of(request)
            project = _project(name, rule.project_field)
            if not caller.may_read(project):
                msg = f"{name} does not exist"
                raise NotFound(msg, remedy=_ALL_REMEDY if project == "-" else _PROJECT_REMEDY, name=name)
            if Role.READER in rule.roles or (Role.MEMBER in rule.roles and caller.may_write(project)):
                return
        msg = f"{caller.subject} may not do this: it takes the role {needed}"
        raise Forbidden(msg, remedy="Ask the administrator for the role.", subject=caller.subject, roles=needed)

    return check


def _passing(rule: Rule) -> frozenset[Role]:
    """The site-wide roles that are enough."""
    passing = set(rule.roles & {Role.SERVICE, Role.READER})
    if rule.roles != {Role.SERVICE}:
        passing.add(Role.ADMIN)
    if Role.ADMIN in rule.roles:
        passing.add(Role.SERVICE)
    return frozenset(passing)


def _project(name: str, field: str) -> str:
    parts = name.split("/")
    if len(parts) < 2 or parts[0] != "projects" or not parts[1]:
        shown = name if len(name) <= 100 else name[:97] + "..."
        raise InvalidField(
            field,
            f"{shown!r} does not begin with projects/{{project}}",
            remedy="Name the project: projects/{project}/...",
            given=shown,
        )
    return parts[1]
