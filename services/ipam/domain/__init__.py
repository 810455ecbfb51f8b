# SPDX-License-Identifier: Apache-2.0
"""Prefixes, addresses and leases as values, and the rules that hold among them."""
