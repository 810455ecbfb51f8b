# SPDX-License-Identifier: Apache-2.0
"""Servers that others made in Nova on servers of ours."""
