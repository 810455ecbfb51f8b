# SPDX-License-Identifier: Apache-2.0
"""Who calls, and what for: the facts of one request that the verbs need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from services.kernel.errors import NotFound


class Role(StrEnum):
    """What a caller may do in a project, or for the whole site."""

    ADMIN = "admin"
    """The site's administrator: servers, flavors, images, private networks, every project."""
    MEMBER = "member"
    """Reads and changes what is the project's own."""
    READER = "reader"
    """Reads what is the project's own."""
    SERVICE = "service"
    """One of the services themselves, calling another."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a bearer token names.

    Attributes:
        subject: the login's name, as events record it (``actor``).
        site_roles: roles that hold everywhere: ADMIN, READER (auditor) or SERVICE.
        project_roles: project id -> roles there (MEMBER, READER).
    """

    subject: str
    site_roles: frozenset[Role] = frozenset()
    project_roles: dict[str, frozenset[Role]] = field(default_factory=dict)

    @property
    def is_admin(self) -> bool:
        """True for the site's administrator."""
        return Role.ADMIN in self.site_roles

    @property
    def is_service(self) -> bool:
        """True for one of the services themselves."""
        return Role.SERVICE in self.site_roles

    def may_read(self, project: str) -> bool:
        """Whether the rows of *project* are visible to this caller."""
        if self.site_roles & {Role.ADMIN, Role.SERVICE, Role.READER}:
            return True
        return bool(self.project_roles.get(project))

    def may_write(self, project: str) -> bool:
        """Whether this caller may change the rows of *project*."""
        if self.site_roles & {Role.ADMIN, Role.SERVICE}:
            return True
        return Role.MEMBER in self.project_roles.get(project, frozenset())

    def require_read(self, project: str, name: str) -> None:
        """Refuses as if *name* did not exist: another project's rows are not even known to be there.

        Raises:
            NotFound: the caller has no role in *project*.
        """
        if not self.may_read(project):
            msg = f"{name} does not exist"
            raise NotFound(msg, name=name)


def always() -> bool:
    """That somebody waits for the answer however long it takes."""
    return True


@dataclass(frozen=True, slots=True)
class Call:
    """One request being served.

    Attributes:
        caller: who asks.
        method: full gRPC method, ``/bms.inventory.v1.InventoryService/CreateServer``.
        correlation: id of this request in logs (metadata ``x-request-id``, or made up).
        now: when the request arrived; the only time its verbs know.
        request_id: the caller's idempotency key, "" if none.
        validate_only: every check, no writing.
        awaited: whether the caller's deadline is still to come, asked at any time.
    """

    caller: Caller
    method: str
    correlation: str
    now: datetime
    request_id: str = ""
    validate_only: bool = False
    awaited: Callable[[], bool] = field(default=always, compare=False, repr=False)
