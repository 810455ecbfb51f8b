# SPDX-License-Identifier: Apache-2.0
"""How each of the five services answers: what it refuses, has not, or gives in pages."""

from __future__ import annotations

from typing import Any, NoReturn

import grpc

from services.kernel.errors import BmsError, NotFound
from services.runtime import status as statuses


def refuse(context: grpc.ServicerContext, error: BmsError) -> NoReturn:
    """Ends a call as our services do."""
    status = statuses.to_status(error)
    context.set_trailing_metadata(statuses.trailers(status))
    context.abort(statuses.code_of(error), status.message)
    raise AssertionError


def found(kept: dict[str, Any], name: str, context: grpc.ServicerContext) -> Any:
    """What is *kept* under *name*; the call is refused if nothing is."""
    if name not in kept:
        refuse(context, NotFound(f"{name} does not exist", remedy="List what there is.", name=name))
    return kept[name]


def paged(request: Any, rows: list[Any]) -> tuple[list[Any], str]:
    """The page of *rows* that *request* asks for, and the token of the next."""
    start = int(request.page_token or 0)
    end = start + (request.page_size or 50)
    return rows[start:end], str(end) if end < len(rows) else ""
