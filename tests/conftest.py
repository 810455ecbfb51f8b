# SPDX-License-Identifier: Apache-2.0
"""Fixtures for every test, and quiet for what is loud without need."""

from __future__ import annotations

import logging

from tests.support.stores import database_kind, make_database, make_url, postgres_server

__all__ = ["database_kind", "make_database", "make_url", "postgres_server"]

# It logs each refusal with its traceback; tests of refusals are most of them.
logging.getLogger("grpc_testing._server._rpc").setLevel(logging.CRITICAL)
