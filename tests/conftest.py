# SPDX-License-Identifier: Apache-2.0
"""Fixtures for every test, and quiet for what is loud without need."""

from __future__ import annotations

import logging

from hypothesis import settings

from tests.support.stores import database_kind, make_database, make_url, postgres_server

__all__ = ["database_kind", "make_database", "make_url", "postgres_server"]

# It logs each refusal with its traceback; tests of refusals are most of them.
logging.getLogger("grpc_testing._server._rpc").setLevel(logging.CRITICAL)

# How long an example takes says how busy the machine is, and nothing about the rule.
settings.register_profile("bms", deadline=None)
settings.load_profile("bms")
