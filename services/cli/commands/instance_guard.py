# SPDX-License-Identifier: Apache-2.0
"""`bms instance protect`, `bms instance unprotect`: keeps instances from being destroyed by mistake."""

from __future__ import annotations

import click

from services.cli.commands.instance import NAMES, instance, named
from services.cli.session import Session, changes, one_by_one


@instance.command("protect")
@NAMES
@click.option("--reason", required=True, help="Why, for the record.")
@changes
def protect(session: Session, names: tuple[str, ...], reason: str) -> None:
    """Refuse to delete or rebuild instances from now on."""
    from bms.lifecycle.v1.instance_pb2 import ProtectInstanceRequest

    for name, target in one_by_one(list(names)):
        request = ProtectInstanceRequest(name=named(session, name), reason=reason)
        found = session.lifecycle.ProtectInstance(session.fill(request, target))
        session.screen.one(found, [("Name", found.name), ("Protected", found.protected_reason)])


@instance.command("unprotect")
@NAMES
@changes
def unprotect(session: Session, names: tuple[str, ...]) -> None:
    """End protection."""
    from bms.lifecycle.v1.instance_pb2 import UnprotectInstanceRequest

    for name, target in one_by_one(list(names)):
        request = UnprotectInstanceRequest(name=named(session, name))
        found = session.lifecycle.UnprotectInstance(session.fill(request, target))
        session.screen.one(found, [("Name", found.name), ("Protected", "ended")])
