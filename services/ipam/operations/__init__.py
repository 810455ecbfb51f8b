# SPDX-License-Identifier: Apache-2.0
"""The verbs of ipam, and as Protocols what they need."""
