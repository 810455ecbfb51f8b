# SPDX-License-Identifier: Apache-2.0
"""Audits: what the other services hold, compared with what lifecycle knows.

leaks.py says what a leak is, and is pure; stores.py is the other services as audits need them; shelves.py looks through
one part of the books; sweep.py looks twice; repairs.py gives back what can be given back safely.
node_holds.py and node_shelf.py are the same of whom Ironic holds nodes for, with releases.py to let go; left.py and
leftovers.py of what bears our mark at the controllers of network and ipam.
"""
