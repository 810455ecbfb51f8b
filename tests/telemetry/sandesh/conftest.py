# SPDX-License-Identifier: Apache-2.0
"""Patience with machines that are busy with something else."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
