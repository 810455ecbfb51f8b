# SPDX-License-Identifier: Apache-2.0
"""The life of a server and of an instance, as values and rules: no gRPC, no SQL, no clock, no randomness."""
