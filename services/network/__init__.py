# SPDX-License-Identifier: Apache-2.0
"""Networks, and which server port is on which: asked for and read back, apart."""
