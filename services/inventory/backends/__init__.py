# SPDX-License-Identifier: Apache-2.0
"""What inventory reaches in an OpenStack cloud."""
