# SPDX-License-Identifier: Apache-2.0
"""The verbs of network, and what they need of their store."""
