# SPDX-License-Identifier: Apache-2.0
"""The verbs: each records an intent and answers its operation; the worker walks there."""
