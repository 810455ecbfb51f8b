# SPDX-License-Identifier: Apache-2.0
"""Networks, what ports are asked to be, and what follows from what is configured on them."""
