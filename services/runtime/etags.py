# SPDX-License-Identifier: Apache-2.0
"""Etags (AIP-154): the version of a row, quoted."""

from __future__ import annotations

from services.kernel.errors import Stale


def etag(version: int) -> str:
    """The etag of a row at *version*, with the quotes that belong to it."""
    return f'"{version}"'


def check(given: str, version: int, name: str = "") -> None:
    """Refuses if *given* is not the etag of *version*; an empty one agrees to any.

    Raises:
        Stale: the row called *name* has changed since it was read.
    """
    if given and given != etag(version):
        msg = f"{name or 'the resource'} has changed since it was read: its etag is {etag(version)}"
        shown = given if len(given) <= 60 else given[:57] + "..."
        raise Stale(
            msg,
            remedy="Read it again, then repeat the change with the new etag.",
            given=shown,
            current=etag(version),
            name=name,
        )
