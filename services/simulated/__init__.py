# SPDX-License-Identifier: Apache-2.0
"""The simulated rack: BMCs, disks and switches as passive state in one file, behind the backends of two services."""
