# SPDX-License-Identifier: Apache-2.0
"""The steps of the plans: each looks at the world, acts if it must, and says what it saw.

A step may run any number of times: what it asks for carries a request id made of the intent, the step and the attempt,
and what it reads is read afresh. Nothing here writes to the database.
"""
