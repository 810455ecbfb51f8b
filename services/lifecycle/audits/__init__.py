# SPDX-License-Identifier: Apache-2.0
"""Audits: what the other services hold, compared with what lifecycle knows.

leaks.py says what a leak is, and is pure; stores.py is the other services as audits need them; shelves.py looks through
one part of the books; sweep.py looks twice; repairs.py gives back what can be given back safely.
"""
