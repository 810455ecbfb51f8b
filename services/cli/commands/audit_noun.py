# SPDX-License-Identifier: Apache-2.0
"""`bms audit`: the noun."""

from __future__ import annotations

import click

from services.cli.nouns import Noun


@click.group("audit", cls=Noun)
def audit() -> None:
    """Audits: proof of isolation, evidence to keep, what leaked."""
