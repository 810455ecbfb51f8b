# SPDX-License-Identifier: Apache-2.0
"""Alembic's environment, the same for every service: the connection comes from services.runtime.migrations."""

from __future__ import annotations

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
