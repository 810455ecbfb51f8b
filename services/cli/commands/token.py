# SPDX-License-Identifier: Apache-2.0
"""`bms token`: who may log in to the services of a data directory."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import click

from services.cli.failures import BadUsage, CliError
from services.cli.nouns import Noun, Span
from services.cli.screen import Column
from services.cli.session import Session, reads


@click.group("token", cls=Noun)
def token() -> None:
    """Bearer tokens of a data directory. Running services take new ones within a second."""


@token.command("list")
@reads
def list_(session: Session) -> None:
    """List the logins. Tokens themselves are never shown."""
    path = session.data.tokens_file
    try:
        entries = json.loads(path.read_text())
    except FileNotFoundError:
        raise CliError(
            f"there are no tokens in {session.data.path}",
            remedy="`bms up` makes them; or name its directory with --data.",
        ) from None
    session.screen.rows(
        entries,
        (
            Column("LOGIN", lambda each: str(each["subject"])),
            Column("SITE", lambda each: ", ".join(each["site_roles"]) or "-"),
            Column(
                "PROJECTS",
                lambda each: ", ".join(f"{key}={'+'.join(roles)}" for key, roles in each["project_roles"].items()),
            ),
            Column("EXPIRES", lambda each: str(each.get("expires", "")) or "never"),
            Column("FILE", lambda each: str(session.data.token_file(each["subject"])), wide=True),
        ),
        name=lambda each: str(each["subject"]),
        as_data=lambda each: {key: value for key, value in each.items() if key != "sha256"},
    )


@token.command("create")
@click.argument("login")
@click.option("--admin", is_flag=True, help="Administrator of the site.")
@click.option("--auditor", is_flag=True, help="Reads everything.")
@click.option("--member", "members", multiple=True, metavar="PROJECT", help="Reads and changes what is this project's.")
@click.option("--reader", "readers", multiple=True, metavar="PROJECT", help="Reads what is this project's.")
@click.option("--expires", type=Span(), help="How long it is taken, such as 30d.  [default: for ever]")
@reads
def create(
    session: Session,
    login: str,
    admin: bool,
    auditor: bool,
    members: tuple[str, ...],
    readers: tuple[str, ...],
    expires: timedelta | None,
) -> None:
    """Make a token for LOGIN, in a file of the data directory with mode 0600. One it had before is no longer taken."""
    from services.cli.supervise.prepare import add_token, note_login
    from services.kernel.names import new_id

    new_id(login, "login")
    if login == "service":
        raise BadUsage("`service` is the services' own", remedy="Choose another name.")
    site = [*(["admin"] if admin else []), *(["reader"] if auditor else [])]
    projects = {new_id(project, "project"): ("reader",) for project in readers}
    projects |= {new_id(project, "project"): ("member",) for project in members}
    if not site and not projects:
        raise BadUsage("a token for what?", remedy="Give --admin, --auditor, --member PROJECT or --reader PROJECT.")
    until = (datetime.now(UTC) + expires).isoformat(timespec="seconds") if expires else ""
    path = add_token(session.data, login, site, projects, until)
    note_login(session.data, login, site, projects)
    session.screen.print(f"{path}\nUse it: bms --as {login} ...")
