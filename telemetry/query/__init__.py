# SPDX-License-Identifier: Apache-2.0
"""Queries over received messages, in the analytics API's language: `parse` what was asked, then `run` it."""

from telemetry.query.parse import MOST_ROWS, Query, parse
from telemetry.query.rows import run
from telemetry.query.tables import MESSAGE_COLUMNS, MESSAGE_TABLE, OBJECT_COLUMNS, columns_of

__all__ = ["MESSAGE_COLUMNS", "MESSAGE_TABLE", "MOST_ROWS", "OBJECT_COLUMNS", "Query", "columns_of", "parse", "run"]
