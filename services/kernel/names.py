# SPDX-License-Identifier: Apache-2.0
"""Resource names: parsed and formatted here and nowhere else (AIP-122)."""

from __future__ import annotations

import re
import uuid as _uuid
from functools import cache
from typing import NamedTuple

from services.kernel.errors import InvalidField

_ID = r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?"
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@cache
def _form(text: str) -> re.Pattern[str]:
    """What names of a form look like; one group for each variable."""

    def part(want: str) -> str:
        if not want.startswith("{"):
            return re.escape(want)
        return f"({_UUID if want[1:-1].endswith('uuid') else _ID})"

    return re.compile("/".join(part(want) for want in text.split("/")))


class Pattern(NamedTuple):
    """A form of resource name, such as ``projects/{project}/instances/{instance}``.

    Segments in braces are variables; a variable called ``uuid`` or ending in ``_uuid`` takes only canonical UUIDs.
    """

    text: str

    def parse(self, name: str, field: str = "name") -> tuple[str, ...]:
        """The values of the variables in *name*, in order.

        Raises:
            InvalidField: *name* is not of this form; *field* is the request's field that held it.
        """
        found = _form(self.text).fullmatch(name)
        if found is None:
            raise self._refused(name, field)
        return found.groups()

    def format(self, *values: str) -> str:
        """The name whose variables are *values*, in order."""
        given = iter(values)
        return "/".join(next(given) if part.startswith("{") else part for part in self.text.split("/"))

    def _refused(self, name: str, field: str) -> InvalidField:
        shown = name if len(name) <= 100 else name[:97] + "..."
        return InvalidField(
            field,
            f"{shown!r} is not of the form {self.text}",
            remedy=f"Give a name of the form {self.text}; ids are lower-case letters, digits, '-', '_' and '.'.",
            given=shown,
            form=self.text,
        )


SERVER = Pattern("servers/{uuid}")
PORT = Pattern("servers/{uuid}/ports/{port}")
SERVER_STATUS = Pattern("servers/{uuid}/status")
FORCED_ACTION = Pattern("servers/{uuid}/forcedActions/{action_uuid}")
FLAVOR = Pattern("flavors/{flavor}")
IMAGE = Pattern("images/{image}")
LEFTOVER = Pattern("leftovers/{uuid}")
POOL = Pattern("pools/{pool}")
PROJECT = Pattern("projects/{project}")
INSTANCE = Pattern("projects/{project}/instances/{instance}")
NETWORK = Pattern("projects/{project}/networks/{network}")
PREFIX = Pattern("projects/{project}/prefixes/{prefix}")
LEASE_LEFTOVER = Pattern("projects/{project}/prefixes/{prefix}/leftovers/{uuid}")
LEASE = Pattern("projects/{project}/leases/{uuid}")
OPERATION = Pattern("operations/{operation}")
PROJECT_OPERATION = Pattern("projects/{project}/operations/{operation}")


def new_id(value: str, field: str) -> str:
    """*value*, if it may be the id of a new resource.

    Raises:
        InvalidField: it is not 1 to 63 lower-case letters, digits, ``-``, ``_`` or ``.``.
    """
    if re.fullmatch(_ID, value):
        return value
    shown = value if len(value) <= 80 else value[:77] + "..."
    raise InvalidField(
        field,
        f"{shown!r} is not 1 to 63 lower-case letters, digits, '-', '_' or '.'",
        remedy="Choose another id.",
        given=shown,
    )


def stable_uuid(*parts: str) -> str:
    """The same UUID for the same *parts*, always: the identity of a step that may be repeated."""
    return str(_uuid.uuid5(_uuid.NAMESPACE_OID, "\x1f".join(parts)))
