# SPDX-License-Identifier: Apache-2.0
"""Environment, signals, SQL and gRPC plumbing: what every service runs on, knowing none of them."""
