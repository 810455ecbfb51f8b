# SPDX-License-Identifier: Apache-2.0
"""Inventory's verbs. Each runs inside one transaction, through the ports of `ports`, and answers domain values."""
