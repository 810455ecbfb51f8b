# SPDX-License-Identifier: Apache-2.0
"""Reads lists to their last page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def all_pages(ask: Callable[[Any], Any], request: Any, field: str) -> list[Any]:
    """All of *field* over all pages of what *ask* answers to *request*."""
    found: list[Any] = []
    request.page_size = 1000
    while True:
        answer = ask(request)
        found += getattr(answer, field)
        if not answer.next_page_token:
            return found
        request.page_token = answer.next_page_token
