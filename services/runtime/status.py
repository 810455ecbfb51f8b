# SPDX-License-Identifier: Apache-2.0
"""The one table that turns what went wrong into a gRPC status with its details (AIP-193), and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import cast

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from services.kernel import errors
from services.kernel.errors import BmsError, FieldViolation, InvalidFields

# The modules below define BmsErrors of their own, which the table must have.
from services.runtime.database import DatabaseInUse
from services.runtime.secrets import UnsafeFile

DOMAIN = "bms.opensdn.io"
HELP_URL = "https://docs.opensdn.io/bms/errors#"
DETAILS_KEY = "grpc-status-details-bin"

CODES: Mapping[type[BmsError], grpc.StatusCode] = {
    errors.InvalidFields: grpc.StatusCode.INVALID_ARGUMENT,
    errors.InvalidField: grpc.StatusCode.INVALID_ARGUMENT,
    errors.TooLarge: grpc.StatusCode.INVALID_ARGUMENT,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.Forbidden: grpc.StatusCode.PERMISSION_DENIED,
    errors.SameAdministrator: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.WrongState: grpc.StatusCode.FAILED_PRECONDITION,
    errors.IsolationImpossible: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ConsoleNotOffered: grpc.StatusCode.FAILED_PRECONDITION,
    errors.StillInUse: grpc.StatusCode.FAILED_PRECONDITION,
    errors.OperationFailed: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Stale: grpc.StatusCode.ABORTED,
    errors.Busy: grpc.StatusCode.ABORTED,
    errors.Exhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.PeerUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Corrupt: grpc.StatusCode.DATA_LOSS,
    DatabaseInUse: grpc.StatusCode.UNAVAILABLE,
    UnsafeFile: grpc.StatusCode.FAILED_PRECONDITION,
}

RETRY_SECONDS: Mapping[type[BmsError], int] = {
    errors.Busy: 1,
    errors.Exhausted: 30,
    errors.PeerUnavailable: 2,
    DatabaseInUse: 5,
}
"""After how long the same call may go through by itself; RetryInfo on the wire."""

# All details travel in one HTTP/2 header block, of which clients take 8 KiB by default.
# In bytes; the details travel in base64, the message a second time and percent-encoded.
_MAX_TEXT = 600
_MAX_REMEDY = 500
_MAX_VIOLATIONS = 1500
_MAX_FACTS = 1400
_MAX_WORDS = 300

_CLASSES: Mapping[str, type[BmsError]] = {kind.reason: kind for kind in CODES}
_BY_CODE: Mapping[grpc.StatusCode, type[BmsError]] = {code: kind for kind, code in reversed(list(CODES.items()))}
_NUMBERS: Mapping[grpc.StatusCode, int] = {code: code.value[0] for code in grpc.StatusCode}
_BY_NUMBER: Mapping[int, grpc.StatusCode] = {number: code for code, number in _NUMBERS.items()}


def code_of(error: BmsError) -> grpc.StatusCode:
    """The code of *error*: that of its class, or of the nearest class above it."""
    for kind in type(error).__mro__:
        code = CODES.get(kind)
        if code is not None:
            return code
    return grpc.StatusCode.INTERNAL


def to_status(error: BmsError, correlation: str = "") -> status_pb2.Status:
    """*error* as google.rpc.Status: ErrorInfo always, then BadRequest, PreconditionFailure or RetryInfo, then Help.

    Args:
        correlation: the id of the request, for RequestInfo.
    """
    code = code_of(error)
    text = _short(str(error), _MAX_TEXT)
    status = status_pb2.Status(code=_NUMBERS[code], message=text)
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
    left = _MAX_FACTS
    for name, value in error.facts.items():
        shown = _short(str(value), _MAX_WORDS)
        left -= len(name.encode()) + len(shown.encode()) + 8
        if left < 0:
            break
        info.metadata[name] = shown
    status.details.add().Pack(info)
    if isinstance(error, InvalidFields):
        bad = error_details_pb2.BadRequest()
        left = _MAX_VIOLATIONS
        for violation in error.violations:
            field, description = _short(violation.field, _MAX_WORDS), _short(violation.description, _MAX_WORDS)
            left -= len(field.encode()) + len(description.encode()) + 8
            if left < 0:
                break
            bad.field_violations.add(field=field, description=description)
        status.details.add().Pack(bad)
    elif code is grpc.StatusCode.FAILED_PRECONDITION:
        failure = error_details_pb2.PreconditionFailure()
        subject = error.facts.get("subject") or error.facts.get("name", "")
        failure.violations.add(type=error.reason, subject=_short(subject, _MAX_WORDS), description=text)
        status.details.add().Pack(failure)
    seconds = next((RETRY_SECONDS[kind] for kind in type(error).__mro__ if kind in RETRY_SECONDS), 0)
    if seconds:
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=Duration(seconds=seconds)))
    if error.remedy:
        link = error_details_pb2.Help.Link(
            description=_short(error.remedy, _MAX_REMEDY),
            # A path in the product's own tree, where its runbook says more than the list of errors.
            url=error.facts.get("runbook") or HELP_URL + error.reason.lower(),
        )
        status.details.add().Pack(error_details_pb2.Help(links=[link]))
    if correlation:
        status.details.add().Pack(error_details_pb2.RequestInfo(request_id=correlation))
    return status


def internal(correlation: str) -> status_pb2.Status:
    """What a caller learns of a failure nobody foresaw: nothing but where to find it in the log."""
    status = status_pb2.Status(
        code=_NUMBERS[grpc.StatusCode.INTERNAL],
        message=f"internal error; the log has it under request id {correlation}",
    )
    status.details.add().Pack(
        error_details_pb2.ErrorInfo(reason="INTERNAL", domain=DOMAIN, metadata={"correlation": correlation})
    )
    status.details.add().Pack(error_details_pb2.RequestInfo(request_id=correlation))
    return status


def unimplemented(method: str, correlation: str) -> status_pb2.Status:
    """What the caller of a *method* learns that its contract has and nobody wrote: health's List, in some packages."""
    status = status_pb2.Status(
        code=_NUMBERS[grpc.StatusCode.UNIMPLEMENTED], message=f"{method} is not offered by this service"
    )
    status.details.add().Pack(
        error_details_pb2.ErrorInfo(reason="UNIMPLEMENTED", domain=DOMAIN, metadata={"method": method})
    )
    status.details.add().Pack(error_details_pb2.RequestInfo(request_id=correlation))
    return status


def trailers(status: status_pb2.Status) -> tuple[tuple[str, bytes], ...]:
    """The trailing metadata that carries *status*."""
    return ((DETAILS_KEY, status.SerializeToString()),)


def code_number(number: int) -> grpc.StatusCode:
    """The code with *number*; UNKNOWN if there is none."""
    return _BY_NUMBER.get(number, grpc.StatusCode.UNKNOWN)


def details_of(metadata: object) -> status_pb2.Status | None:
    """The status in trailing metadata (pairs of key and value), None if there is none that can be read."""
    for key, value in _pairs(metadata):
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                return None
    return None


def revive(status: status_pb2.Status) -> BmsError | None:
    """The error that *status* was made of by `to_status`; None if its ErrorInfo is not ours.

    A reason that we do not know, of an error that only the peer has, comes back as the general class of its code.
    """
    info, help_, bad = error_details_pb2.ErrorInfo(), error_details_pb2.Help(), error_details_pb2.BadRequest()
    for detail in status.details:
        for message in (info, help_, bad):
            detail.Unpack(message)
    if info.domain != DOMAIN:
        return None
    kind = _CLASSES.get(info.reason) or _BY_CODE.get(code_number(status.code))
    if kind is None:
        return None
    error = kind.__new__(kind)
    remedy = help_.links[0].description if help_.links else ""
    BmsError.__init__(error, status.message, remedy=remedy)
    error.facts = dict(info.metadata)
    if isinstance(error, InvalidFields):
        error.violations = tuple(FieldViolation(found.field, found.description) for found in bad.field_violations)
    return error


def _pairs(metadata: object) -> Iterator[tuple[str, object]]:
    # grpc types trailing metadata differently in each of its interfaces.
    for pair in cast("Iterable[tuple[str, object]]", metadata or ()):
        yield pair[0], pair[1]


def _short(text: str, most: int) -> str:
    """*text*, cut to at most *most* bytes of UTF-8."""
    data = text.encode(errors="replace")
    return text if len(data) <= most else data[: most - 3].decode(errors="ignore") + "..."
