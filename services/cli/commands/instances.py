# SPDX-License-Identifier: Apache-2.0
"""`bms instance`, with all its verbs."""

from __future__ import annotations

# Each adds its verbs to the noun.
from services.cli.commands import console, instance_guard  # noqa: F401
from services.cli.commands.instance import instance

__all__ = ["instance"]
