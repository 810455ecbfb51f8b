# SPDX-License-Identifier: Apache-2.0
"""Migrations by Alembic, off the request path: a serving process neither runs them nor loads Alembic."""

from __future__ import annotations

import ast
import importlib.util
import os
from pathlib import Path

from services.kernel.errors import WrongState
from services.runtime.database import Database, Transaction


def migrate(url: str, package: str) -> None:
    """Brings the database at *url* to the newest schema of *package* (``services.ipam``).

    Its migrations are in ``<package>/migrations/versions``; `services.runtime.schema` shows their form. Several
    processes may call this at once on PostgreSQL: one migrates, the others wait and find it done.

    Raises:
        DatabaseInUse: the SQLite file belongs to a running service.
    """
    import sqlalchemy as sa
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations_env")))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(_versions(package)).replace("%", "%%"))
    locked = None
    if url.startswith("sqlite:///"):
        from services.runtime.sqlite import lock

        path = Path(url.removeprefix("sqlite:///"))
        path.parent.mkdir(parents=True, exist_ok=True)
        locked = lock(str(path))
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        engine = sa.create_engine(f"sqlite:///{path}")
    else:
        engine = sa.create_engine("postgresql+psycopg://" + url.split("://", 1)[1], poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                # The driver would commit before DDL by itself: a migration is all or nothing.
                sa.event.listen(engine, "begin", lambda begun: begun.exec_driver_sql("BEGIN IMMEDIATE"))
                connection.connection.dbapi_connection.isolation_level = None  # type: ignore[union-attr]
            with connection.begin():
                if connection.dialect.name == "postgresql":
                    connection.exec_driver_sql(
                        "SELECT pg_advisory_xact_lock(hashtext('bms.migrate.' || current_schema()))"
                    )
                config.attributes["connection"] = connection
                command.upgrade(config, "heads")
    finally:
        engine.dispose()
        if locked is not None:
            os.close(locked)


def require_current(database: Database, package: str) -> None:
    """Refuses to serve over a schema that is not the newest of *package*.

    Raises:
        WrongState: the database was not migrated, or is newer than this code.
    """
    wanted = head(package)
    found = database.read(_revision)
    if found != wanted:
        short = package.rpartition(".")[2]
        msg = f"the database of {short} has the schema {found or 'none'}; this version needs {wanted}"
        raise WrongState(
            msg,
            remedy=f"Run `python -m services.runtime.migrate <database url> {package}` first.",
            subject=short,
            found=found,
            wanted=wanted,
        )


def head(package: str) -> str:
    """The newest revision among the migrations of *package*, read from its files without running them."""
    revisions: dict[str, str | None] = {}
    for file in sorted(_versions(package).glob("*.py")):
        names = dict(_assignments(ast.parse(file.read_text())))
        if isinstance(names.get("revision"), str):
            revisions[str(names["revision"])] = names.get("down_revision")
    heads = set(revisions) - set(revisions.values())
    if len(heads) != 1:
        msg = f"{package} has {len(heads)} newest migrations"
        raise RuntimeError(msg)
    return heads.pop()


def _assignments(module: ast.Module) -> list[tuple[str, str | None]]:
    found: list[tuple[str, str | None]] = []
    for statement in module.body:
        if isinstance(statement, ast.Assign):
            targets, value = statement.targets, statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets, value = [statement.target], statement.value
        else:
            continue
        if isinstance(value, ast.Constant):
            text = value.value if isinstance(value.value, str) else None
            found.extend((target.id, text) for target in targets if isinstance(target, ast.Name))
    return found


def _revision(tx: Transaction) -> str:
    there = (
        "SELECT 1 AS found FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version'"
        if tx.dialect == "sqlite"
        else "SELECT 1 AS found WHERE to_regclass('alembic_version') IS NOT NULL"
    )
    if tx.one(there) is None:
        return ""
    row = tx.one("SELECT version_num FROM alembic_version")
    return str(row["version_num"]) if row else ""


def _versions(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        msg = f"there is no package {package}"
        raise RuntimeError(msg)
    return Path(next(iter(spec.submodule_search_locations)), "migrations", "versions")
