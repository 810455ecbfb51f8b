# SPDX-License-Identifier: Apache-2.0
"""`bms server`, with all its verbs."""

from __future__ import annotations

# Each adds its verbs to the noun.
from services.cli.commands import (  # noqa: F401
    console,
    server_adopt,
    server_certificate,
    server_clean,
    server_import,
    server_move,
    server_power,
    server_records,
    server_retire,
    server_verbs,
)
from services.cli.commands.server_noun import server

__all__ = ["server"]
