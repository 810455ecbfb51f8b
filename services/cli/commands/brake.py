# SPDX-License-Identifier: Apache-2.0
"""`bms brake`: what holds lifecycle back from setting aside servers in use by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from services.cli.nouns import Noun
from services.cli.screen import age, seconds, short, when
from services.cli.session import Session, changes, reads

if TYPE_CHECKING:
    from bms.lifecycle.v1.brake_pb2 import Brake


@click.group("brake", cls=Noun)
def brake() -> None:
    """The brake on what is done to servers in use without anybody asking."""


@brake.command("show")
@reads
def show(session: Session) -> None:
    """Show whether the brake is pulled, why, and how many servers it holds."""
    from bms.lifecycle.v1.brake_pb2 import GetBrakeRequest

    _print(session, session.lifecycle.GetBrake(GetBrakeRequest()))


@brake.command("release")
@click.option("--reason", required=True, help="Why, for the record.")
@changes
def release(session: Session, reason: str) -> None:
    """Let servers in use be set aside by themselves again. Mend first what pulled the brake."""
    from bms.lifecycle.v1.brake_pb2 import GetBrakeRequest, ReleaseBrakeRequest

    if not session.options.validate_only:
        held = session.lifecycle.GetBrake(GetBrakeRequest()).held_count
        session.confirm(f"Release the brake? {held} servers that it holds are looked at again at once.")
    _print(session, session.lifecycle.ReleaseBrake(session.fill(ReleaseBrakeRequest(reason=reason))))


def headline(found: Brake) -> str:
    """The brake in one line."""
    return f"BRAKE PULLED {age(found.pull_time)} ago, {found.held_count} servers held: {found.why}"


def _print(session: Session, found: Brake) -> None:
    window = f"within {seconds(found.window)}, of at most {found.allowance}"
    released = f"{when(found.release_time)} by {found.released_by}: {found.release_reason}"
    session.screen.one(
        found,
        [
            ("Brake", "pulled" if found.pulled else "not pulled"),
            ("Since", f"{when(found.pull_time)} ({age(found.pull_time)} ago)" if found.pulled else ""),
            ("Why", found.why if found.pulled else ""),
            ("Cause", found.cause if found.pulled else ""),
            ("Told by", found.backend if found.pulled else ""),
            ("Server", short(found.server) if found.pulled else ""),
            ("Holds", f"{found.held_count} servers"),
            ("Set aside", f"{found.quarantined_count} of {found.in_use_count} servers in use {window}"),
            ("Released", released if found.release_time.seconds else ""),
            ("Run", "bms brake release --reason REASON" if found.pulled else ""),
        ],
    )
