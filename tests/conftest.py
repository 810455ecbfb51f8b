# SPDX-License-Identifier: Apache-2.0
"""Fixtures for every test, and quiet for what is loud without need."""

from __future__ import annotations

import logging
import os

# Tests start processes while servers run beside them. gRPC would set its threads going again in the fork, before the
# other program begins, over descriptors that are closed by then, and abort.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

from hypothesis import settings

from tests.support.bounded import pytest_runtest_makereport
from tests.support.marks import pytest_collection_modifyitems
from tests.support.shrinking import pytest_itemcollected
from tests.support.stores import database_kind, make_database, make_url, postgres_server, reused

__all__ = [
    "database_kind",
    "make_database",
    "make_url",
    "postgres_server",
    "pytest_collection_modifyitems",
    "pytest_itemcollected",
    "pytest_runtest_makereport",
    "reused",
]

# It logs each refusal with its traceback; tests of refusals are most of them.
logging.getLogger("grpc_testing._server._rpc").setLevel(logging.CRITICAL)

# How long an example takes says how busy the machine is, and nothing about the rule.
settings.register_profile("bms", deadline=None)
settings.load_profile("bms")
