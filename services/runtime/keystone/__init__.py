# SPDX-License-Identifier: Apache-2.0
"""Callers who come with Keystone's tokens: what these say, who asks, and what is remembered."""
