# SPDX-License-Identifier: Apache-2.0
"""Page tokens (AIP-158): opaque, bound to the listing they came from, and a position only, never an authority."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Protocol

from services.kernel.calls import Call
from services.kernel.errors import InvalidField
from services.kernel.pages import DEFAULT_SIZE, MAX_SIZE, PageRequest

_MAC_SIZE = 16


class _Paged(Protocol):
    @property
    def page_size(self) -> int: ...
    @property
    def page_token(self) -> str: ...


class PageTokens:
    """Makes and reads page tokens.

    Args:
        key: secret of the service, the same in all of its replicas. It only keeps people from making up positions.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def request(self, request: _Paged, call: Call, *parts: str) -> PageRequest:
        """The page that *request* asks for.

        Args:
            parts: everything the listing depends on beside the page: parent, filter, order. A token serves these alone.

        Raises:
            InvalidField: the size is negative, or the token is not one of this method and these *parts*.
        """
        if request.page_size < 0:
            raise InvalidField(
                "page_size", "is negative", remedy=f"Give 0 for {DEFAULT_SIZE}, or a size up to {MAX_SIZE}."
            )
        size = min(request.page_size or DEFAULT_SIZE, MAX_SIZE)
        if not request.page_token:
            return PageRequest(size)
        try:
            sealed = base64.urlsafe_b64decode(request.page_token.encode("ascii"))
            mac, after = sealed[:_MAC_SIZE], sealed[_MAC_SIZE:]
            if hmac.compare_digest(mac, self._mac(call, parts, after)):
                return PageRequest(size, after.decode())
        except (UnicodeError, binascii.Error):
            pass  # the same refusal as for a token of another listing
        raise InvalidField(
            "page_token",
            "is not a token of this listing with this parent, filter and order",
            remedy="Start again without a page_token, or repeat the request that gave it, with the token added.",
        )

    def next(self, after: str, call: Call, *parts: str) -> str:
        """The token of the page after the row with the sort key *after*; "" if that is "" (the last page)."""
        if not after:
            return ""
        position = after.encode()
        return base64.urlsafe_b64encode(self._mac(call, parts, position) + position).decode()

    def _mac(self, call: Call, parts: tuple[str, ...], after: bytes) -> bytes:
        mac = hmac.new(self._key, digestmod=hashlib.sha256)
        for part in (call.method.encode(), *(part.encode() for part in parts), after):
            mac.update(len(part).to_bytes(4, "big") + part)
        return mac.digest()[:_MAC_SIZE]
