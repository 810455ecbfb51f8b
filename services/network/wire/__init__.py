# SPDX-License-Identifier: Apache-2.0
"""Between bms.network.v1 and the domain, both ways, and nothing else."""
