# SPDX-License-Identifier: Apache-2.0
"""The verifier at work while servers live: it hears the logs, keeps verdicts, and acts on what is broken."""
