# SPDX-License-Identifier: Apache-2.0
"""The forms of Contrail's analytics API, for readers that were written for it."""

from telemetry.rest.api import MOST_BYTES, AnalyticsApi

__all__ = ["MOST_BYTES", "AnalyticsApi"]
