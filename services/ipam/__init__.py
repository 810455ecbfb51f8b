# SPDX-License-Identifier: Apache-2.0
"""The one authority over addresses: prefixes, and leases of bare metal and virtual machines alike."""
