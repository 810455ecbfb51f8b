# SPDX-License-Identifier: Apache-2.0
"""Who may call what: the rule of every RPC, in one table.

A method that is not in the table is refused. Rules are data; services/runtime/auth.py applies them.
"""

from __future__ import annotations

from services.runtime.auth import Rule

RULES: dict[str, Rule] = {}
