# SPDX-License-Identifier: Apache-2.0
"""A service's package as migrations see it: nothing but its tables."""
