# SPDX-License-Identifier: Apache-2.0
"""`bms lease`, with all its verbs."""

from __future__ import annotations

# It adds its verb to the noun.
from services.cli.commands import lease_boot  # noqa: F401
from services.cli.commands.lease import lease

__all__ = ["lease"]
