# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, in the words of the field.

    BmsError
    ├── InvalidField      a field of the request is malformed              INVALID_ARGUMENT
    │   └── InvalidFields several are, all told at once                    INVALID_ARGUMENT
    ├── Unauthenticated   no token, or one that is not known                UNAUTHENTICATED
    ├── Forbidden         the caller's roles do not allow it                PERMISSION_DENIED
    │   └── SameAdministrator two must answer for it, and he is the first   PERMISSION_DENIED
    ├── NotFound          no such thing, or none the caller may see         NOT_FOUND
    ├── AlreadyExists     the name, MAC or BMC is taken                     ALREADY_EXISTS
    ├── WrongState        the thing is in a state that does not allow it    FAILED_PRECONDITION
    │   ├── IsolationImpossible  a network keeps nobody apart               FAILED_PRECONDITION
    │   └── ConsoleNotOffered  its controller has no console to offer       FAILED_PRECONDITION
    ├── StillInUse        others depend on it                               FAILED_PRECONDITION
    ├── OperationFailed   a long-running verb could not be ended well     FAILED_PRECONDITION
    ├── Stale             etag, epoch or fence is older than what is stored ABORTED
    ├── Busy              another operation has the thing                   ABORTED
    ├── Exhausted         a pool, a quota or a queue has no more            RESOURCE_EXHAUSTED
    ├── TooLarge          the request or a page is larger than allowed      INVALID_ARGUMENT
    ├── PeerUnavailable   a service or device does not answer               UNAVAILABLE
    ├── DeadlineExceeded  the caller's deadline passed                      DEADLINE_EXCEEDED
    └── Corrupt           stored data cannot be right                       DATA_LOSS

One table in services/runtime/status.py turns each into a status.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class BmsError(Exception):
    """A failure that the caller can understand and act on.

    Attributes:
        reason: UPPER_SNAKE word of at most 63 characters; ErrorInfo.reason on the wire.
        facts: every changing word of the message; ErrorInfo.metadata on the wire.
        remedy: what to do next, as a sentence; Help on the wire. Empty where nothing can be said.
    """

    reason: ClassVar[str]

    def __init__(self, message: str, *, remedy: str = "", **facts: str) -> None:
        super().__init__(message)
        self.remedy = remedy
        self.facts = facts


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One malformed field: its path in the request (``server.ports[2].mac_address``) and why it is refused."""

    field: str
    description: str


class InvalidFields(BmsError):
    """Several fields are malformed; all are told at once."""

    reason = "INVALID_FIELDS"

    def __init__(self, violations: Sequence[FieldViolation], *, remedy: str = "", **facts: str) -> None:
        text = "; ".join(f"{violation.field}: {violation.description}" for violation in violations[:10])
        more = len(violations) - 10
        super().__init__(text + (f"; and {more} more" if more > 0 else ""), remedy=remedy, **facts)
        self.violations = tuple(violations)


class InvalidField(InvalidFields):
    """One field is malformed."""

    reason = "INVALID_FIELD"

    def __init__(self, field: str, description: str, *, remedy: str = "", **facts: str) -> None:
        super().__init__([FieldViolation(field, description)], remedy=remedy, **{"field": field, **facts})


class TooLarge(BmsError):
    """The request or a part of it is larger than the service takes."""

    reason = "TOO_LARGE"


class Unauthenticated(BmsError):
    """No token was given, or one that is not known."""

    reason = "UNAUTHENTICATED"


class Forbidden(BmsError):
    """The caller's roles do not allow the call."""

    reason = "FORBIDDEN"


class SameAdministrator(Forbidden):
    """Two must answer for it, and the caller is the one who asked for it."""

    reason = "SAME_ADMINISTRATOR"


class NotFound(BmsError):
    """There is no such thing, or none that the caller may see."""

    reason = "NOT_FOUND"


class AlreadyExists(BmsError):
    """Something with this name, MAC address or BMC address exists."""

    reason = "ALREADY_EXISTS"


class WrongState(BmsError):
    """The thing is in a state that does not allow the verb.

    ``subject`` in the facts is the resource's name; the remedy says which verb leads out.
    """

    reason = "WRONG_STATE"


class IsolationImpossible(WrongState):
    """A network keeps those who are on it apart from nobody, so that nothing could be proved of it."""

    reason = "ISOLATION_IMPOSSIBLE"


class ConsoleNotOffered(WrongState):
    """The server's controller has no console to offer."""

    reason = "CONSOLE_NOT_OFFERED"


class StillInUse(BmsError):
    """Other things depend on this one; the remedy says what to remove first."""

    reason = "STILL_IN_USE"


class OperationFailed(BmsError):
    """A long-running verb could not be ended well; ``fault`` in the facts says why, as bms server diagnose does."""

    reason = "OPERATION_FAILED"


class Stale(BmsError):
    """The etag, epoch or fence given is older than what is stored."""

    reason = "STALE"


class Busy(BmsError):
    """Another operation has the thing; the remedy says which."""

    reason = "BUSY"


class Exhausted(BmsError):
    """A pool, prefix or queue has nothing left."""

    reason = "EXHAUSTED"


class PeerUnavailable(BmsError):
    """A service, controller or device does not answer; the same call may go through later."""

    reason = "PEER_UNAVAILABLE"


class DeadlineExceeded(BmsError):
    """The caller's deadline passed before there was an answer."""

    reason = "DEADLINE_EXCEEDED"


class Corrupt(BmsError):
    """Stored data cannot be right: a chain does not verify, a row cannot be decoded."""

    reason = "CORRUPT"
