# SPDX-License-Identifier: Apache-2.0
"""Refusals of services, as people read them: what, which field, and what to do."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from services.cli.failures import CliError, TimedOut, Unreachable
from services.kernel.errors import BmsError, DeadlineExceeded, InvalidFields, PeerUnavailable

if TYPE_CHECKING:
    import grpc
    from google.rpc import status_pb2


def explain(error: Exception) -> CliError | None:
    """*error* in words for the person at the terminal; None for what nobody foresaw."""
    if isinstance(error, BmsError):
        return _of_ours(error)
    grpc = sys.modules.get("grpc")
    if grpc is not None and isinstance(error, grpc.RpcError):
        return _of_call(error)
    return None


def _of_ours(error: BmsError) -> CliError:
    fields = [(each.field, each.description) for each in error.violations] if isinstance(error, InvalidFields) else []
    kinds: dict[type[BmsError], type[CliError]] = {PeerUnavailable: Unreachable, DeadlineExceeded: TimedOut}
    kind = next((kinds[each] for each in type(error).__mro__ if each in kinds), CliError)
    return kind(str(error), remedy=error.remedy, reason=error.reason, fields=fields)


def _of_call(error: grpc.RpcError) -> CliError:
    import grpc
    from grpc_status import rpc_status

    code: grpc.StatusCode = error.code()
    try:
        status = rpc_status.from_call(error)  # type: ignore[arg-type]  # what a stub raises is both
    except ValueError:
        status = None  # details that contradict the status: what the status says is enough
    text = error.details() or code.name
    if status is not None:
        return from_status(status)
    if code is grpc.StatusCode.UNAVAILABLE:
        return Unreachable(
            f"no answer: {_plain(text)}",
            reason="UNAVAILABLE",
            remedy="See `bms status`. Start the services with `bms up`, or say where they are: --endpoint or --data.",
        )
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return TimedOut(
            "the call took too long",
            reason="DEADLINE_EXCEEDED",
            remedy="Try again, or give it longer: --request-timeout.",
        )
    return CliError(text, reason=code.name)


def is_of_one(error: grpc.RpcError) -> bool:
    """Whether *error* refuses what was asked of one thing; any other would be told of the next as well."""
    import grpc

    against = (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.ABORTED, grpc.StatusCode.NOT_FOUND)
    return error.code() in against


def from_status(status: status_pb2.Status) -> CliError:
    """A google.rpc.Status, of a call or of an operation that failed, in words."""
    from google.rpc import code_pb2, error_details_pb2

    info, bad, help_ = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.Help()
    for detail in status.details:
        for message in (info, bad, help_):
            detail.Unpack(message)
    remedy = " ".join(link.description for link in help_.links)
    fields = [(violation.field, violation.description) for violation in bad.field_violations]
    kinds: dict[int, type[CliError]] = {code_pb2.UNAVAILABLE: Unreachable, code_pb2.DEADLINE_EXCEEDED: TimedOut}
    kind = kinds.get(status.code, CliError)
    return kind(status.message, remedy=remedy, reason=info.reason or code_pb2.Code.Name(status.code), fields=fields)


def _plain(text: str) -> str:
    """GRPC's account of a failed connection, without its inner parts."""
    return text.rpartition("; last error: ")[2].removeprefix("UNKNOWN: ").removeprefix("UNAVAILABLE: ")[:300]


def render(error: CliError, *, color: bool) -> str:
    """The lines that *error* is shown as."""
    red, bold, off = ("\x1b[31m", "\x1b[1m", "\x1b[0m") if color else ("", "", "")
    # What the services list field by field is in the message too; shown once is enough.
    message = "the request has malformed fields" if error.fields else str(error)
    lines = [f"{red}Error{f' {error.reason}' if error.reason else ''}:{off} {message}"]
    if error.fields:
        width = max(len(field) for field, _ in error.fields)
        lines += [f"  {bold}{field:<{width}}{off}  {text}" for field, text in error.fields]
    if error.remedy:
        lines.append(f"{bold}Remedy:{off} {error.remedy}")
    return "\n".join(lines)


def tell_of(label: str, error: CliError, *, color: bool) -> None:
    """Tells *error* of one of several on standard error, after what was said before."""
    named = CliError(f"{label}: {error}", remedy=error.remedy, reason=error.reason)
    sys.stdout.flush()
    sys.stderr.write(render(named, color=color) + "\n")


def show(error: CliError) -> None:
    """Tells *error* on standard error."""
    sys.stdout.flush()
    color = (sys.stderr.isatty() or bool(os.environ.get("FORCE_COLOR"))) and not os.environ.get("NO_COLOR")
    sys.stderr.write(render(error, color=color) + "\n")
