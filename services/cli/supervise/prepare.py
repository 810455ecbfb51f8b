# SPDX-License-Identifier: Apache-2.0
"""Makes a data directory ready to run on: locked, with tokens, a key, and databases of the newest schema."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import importlib.util
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from services.cli.datadir import DataDir, Login
from services.cli.failures import BadUsage, CliError
from services.cli.supervise.plan import SERVICES, Ports


@dataclass(frozen=True, slots=True)
class _Grant:
    """A token that every directory has: its roles for the site and in its project."""

    name: str
    site_roles: tuple[str, ...] = ()
    project: str = ""
    project_roles: tuple[str, ...] = ()


_GRANTS = (
    _Grant("admin", site_roles=("admin",)),
    _Grant("site", site_roles=("admin",), project="site", project_roles=("member",)),
    _Grant("tenant-a", project="tenant-a", project_roles=("member",)),
    _Grant("tenant-b", project="tenant-b", project_roles=("member",)),
    _Grant("service", site_roles=("service",)),
)


@contextlib.contextmanager
def locked(data: DataDir) -> Iterator[None]:
    """Holds *data* for this process.

    Raises:
        CliError: another `bms up` runs on it, or it cannot be written to.
    """
    try:
        data.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(data.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        msg = f"{data.path} cannot be used: {error.strerror}"
        raise CliError(msg, remedy="Name a directory of your own: --data DIR.") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        msg = f"`bms up` runs on {data.path} already (process {holder})"
        raise CliError(
            msg,
            reason="ALREADY_RUNNING",
            remedy=f"Use it: `bms --data {data.path} status`. Or stop it (kill {holder}). "
            "Another one needs --data DIR and --port-base N.",
        ) from None
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


def require_free(ports: Ports) -> None:
    """Refuses to start where others listen.

    Raises:
        CliError: somebody listens on one of *ports*; the message names it.
        BadUsage: there is no such port.
    """
    taken = []
    for name, port in ports.by_name.items():
        if not 1 <= port <= 65535:
            msg = f"there is no port {port}"
            raise BadUsage(msg, remedy="Give a --port-base between 1024 and 65000.")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                if error.errno == errno.EACCES:
                    msg = f"port {port} is for root alone"
                    raise BadUsage(msg, remedy="Give a --port-base between 1024 and 65000.") from None
                taken.append(f"{port} ({name})")
    if taken:
        more = len(taken) > 1
        msg = f"port{'s' if more else ''} {', '.join(taken)} of 127.0.0.1 {'are' if more else 'is'} in use"
        raise CliError(
            msg,
            reason="PORT_IN_USE",
            remedy="See who listens there with `ss -ltnp`, and stop him; or choose other ports: --port-base N.",
        )


def find_free_base(first: int = 51051, step: int = 20, tries: int = 100) -> int:
    """A port base at which nobody listens now.

    Raises:
        CliError: there is none.
    """
    for base in range(first, first + step * tries, step):
        try:
            require_free(Ports.from_base(base))
        except CliError:
            continue  # somebody listens there: the next
        return base
    msg = f"there are no free ports from {first} on"
    raise CliError(msg, remedy="Choose a range yourself: --port-base N.")


def make_tokens(data: DataDir) -> None:
    """Makes the tokens that are missing; those that are there stay as they are."""
    missing = [grant for grant in _GRANTS if not data.token_file(grant.name).exists()]
    if missing:
        for grant in missing:
            add_token(data, grant.name, grant.site_roles, {grant.project: grant.project_roles} if grant.project else {})
    known = data.logins()
    for grant in _GRANTS:
        # The services' own token is no login for people.
        if grant.name != "service" and grant.name not in known:
            data.write_login(
                _login(
                    data, grant.name, grant.site_roles, {grant.project: grant.project_roles} if grant.project else {}
                )
            )


def add_token(
    data: DataDir, name: str, site_roles: Sequence[str], project_roles: Mapping[str, tuple[str, ...]], expires: str = ""
) -> Path:
    """Makes a token called *name*; one of that name that was there before is no longer taken.

    Args:
        expires: RFC 3339; empty for never.
    """
    import json

    from services.kernel.calls import Role
    from services.runtime.auth import make_token, token_entry
    from services.runtime.secrets import write_private

    token = make_token()
    roles = {project: tuple(Role(role) for role in given) for project, given in project_roles.items()}
    entry = token_entry(token, name, site_roles=tuple(Role(role) for role in site_roles), project_roles=roles)
    if expires:
        entry["expires"] = expires
    entries = json.loads(data.tokens_file.read_text()) if data.tokens_file.exists() else []
    kept = [other for other in entries if other["subject"] != name]
    # In this order: after a crash in between the token's own file is missing, and the next start makes it anew.
    write_private(data.tokens_file, (json.dumps([*kept, entry], indent=2) + "\n").encode())
    write_private(data.token_file(name), f"{token}\n".encode())
    return data.token_file(name)


def _login(data: DataDir, name: str, site_roles: Sequence[str], project_roles: Mapping[str, tuple[str, ...]]) -> Login:
    words = [*(f"{role} of the site" for role in site_roles)]
    words += [f"{role} of {project}" for project, roles in project_roles.items() for role in roles]
    return Login(name, data.token_file(name), next(iter(project_roles), ""), ", ".join(words))


def note_login(
    data: DataDir, name: str, site_roles: Sequence[str], project_roles: Mapping[str, tuple[str, ...]]
) -> Login:
    """Makes the login *name* known to ``--as``."""
    login = _login(data, name, site_roles, project_roles)
    data.write_login(login)
    return login


def migrate(data: DataDir, only: tuple[str, ...] = ()) -> None:
    """Brings the databases to the newest schema, in a process of its own: what migrates is heavy, and needed once.

    Raises:
        CliError: it failed; the message has what it said.
    """
    from services.runtime.migrations import head

    arguments = []
    for name, package in SERVICES.items():
        if (only and name not in only) or importlib.util.find_spec(f"{package}.migrations") is None:
            continue
        if _revision(data.database(name)) != head(package):
            arguments += [f"sqlite:///{data.database(name)}", package]
    if not arguments:
        return
    done = subprocess.run(
        [sys.executable, "-m", "services.runtime.migrate", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        msg = f"the databases in {data.path} cannot be brought to the newest schema: {done.stderr.strip()[-800:]}"
        raise CliError(
            msg, reason="MIGRATION_FAILED", remedy="If a service still runs on them, stop it; then try again."
        )


def _revision(path: Path) -> str:
    """The schema of the SQLite file at *path*; empty if it has none."""
    if not path.exists():
        return ""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error:
        return ""
    return str(row[0]) if row else ""
