# SPDX-License-Identifier: Apache-2.0
"""One module per noun. None imports gRPC, stubs or rich before a verb runs: help and completion must be quick."""
