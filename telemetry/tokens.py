# SPDX-License-Identifier: Apache-2.0
"""The token of a watch: how far it has come in each service's log.

``inventory-12.ipam-0.lifecycle-340.network-7``. It names positions of the services' own logs, so it outlives every
restart, telemetry's included, and means the same to every replica. Once a log was restored from a backup, its positions
are ours (`telemetry.store.places`), and mean what they say as long as our store is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.kernel.errors import InvalidField
from telemetry.events import SERVICES

BEGINNING: Final = "0"
"""The token in front of the first event."""

_MAX_DIGITS = 18


def to_token(vector: Mapping[str, int]) -> str:
    """The token of a watch that has come so far."""
    return ".".join(f"{service}-{vector.get(service, 0)}" for service in SERVICES)


def from_token(token: str) -> dict[str, int]:
    """How far the watch with *token* has come.

    Raises:
        InvalidField: it is no token.
    """
    if token == BEGINNING:
        return dict.fromkeys(SERVICES, 0)
    vector = {}
    for part in token.split("."):
        service, _, number = part.partition("-")
        if service not in SERVICES or service in vector or not _is_position(number):
            shown = token if len(token) <= 100 else token[:97] + "..."
            raise InvalidField(
                "after",
                f"{shown!r} is no token of a watch",
                remedy="Give the token of the last batch received, 0 for the beginning, or nothing for now.",
                given=shown,
            )
        vector[service] = int(number)
    return {service: vector.get(service, 0) for service in SERVICES}


def _is_position(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS
