# SPDX-License-Identifier: Apache-2.0
"""`bms audit`, with all its verbs."""

from __future__ import annotations

# Each adds its verbs to the noun.
from services.cli.commands import audit_export, audit_isolation, audit_leaks  # noqa: F401
from services.cli.commands.audit_noun import audit

__all__ = ["audit"]
