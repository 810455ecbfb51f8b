# SPDX-License-Identifier: Apache-2.0
"""Schemas are made by migrations, all or nothing, and a server refuses any but its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.kernel.errors import WrongState
from services.runtime.database import DatabaseInUse, open_database
from services.runtime.migrate import main
from services.runtime.migrations import head, migrate, require_current
from tests.support.stores import MakeDatabase

SAMPLE = "tests.runtime.sample"


def test_a_migrated_database_is_current(make_database: MakeDatabase) -> None:
    """
    After migrate(), the schema is the newest.
    """
    require_current(make_database(SAMPLE), SAMPLE)


def test_another_schema_is_refused_with_the_command(make_database: MakeDatabase) -> None:
    """
    A database of an older or newer schema is refused, and the remedy says what to run.
    """
    database = make_database(SAMPLE)
    database.transact(lambda tx: tx.execute("UPDATE alembic_version SET version_num = '9999'"), label="age")

    with pytest.raises(WrongState) as caught:
        require_current(database, SAMPLE)
    assert (caught.value.facts["found"], caught.value.facts["wanted"]) == ("9999", "0001")
    assert f"services.runtime.migrate <database url> {SAMPLE}" in caught.value.remedy


def test_migrating_twice_and_at_once_changes_nothing(make_url: Callable[[str], str], database_kind: str) -> None:
    """
    migrate() of a current database does nothing; on PostgreSQL replicas may do it together.
    """
    url = make_url(SAMPLE)
    with ThreadPoolExecutor(1 if database_kind == "sqlite" else 3) as pool:
        for done in [pool.submit(migrate, url, SAMPLE) for _ in range(3)]:
            done.result(30)


def test_an_empty_database_is_not_current(tmp_path: Path) -> None:
    """
    A file that was never migrated is told as such.
    """
    database = open_database(f"sqlite:///{tmp_path}/empty.sqlite")
    with pytest.raises(WrongState, match="the schema none"):
        require_current(database, SAMPLE)
    database.close()


def test_a_file_in_use_is_not_migrated(tmp_path: Path) -> None:
    """
    A running service's file is left alone.
    """
    database = open_database(f"sqlite:///{tmp_path}/used.sqlite")
    with pytest.raises(DatabaseInUse):
        migrate(f"sqlite:///{tmp_path}/used.sqlite", SAMPLE)
    database.close()


def test_a_failing_migration_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A migration that fails half-way leaves no table behind, and works once it is mended.
    """
    versions = tmp_path / "halfway" / "migrations" / "versions"
    versions.mkdir(parents=True)
    (tmp_path / "halfway" / "__init__.py").touch()
    script = versions / "0001_first.py"
    text = (
        "import sqlalchemy as sa\nfrom alembic import op\nrevision: str = '0001'\ndown_revision: str | None = None\n"
        "def upgrade():\n    op.create_table('half', sa.Column('a', sa.Text))\n"
    )
    script.write_text(text + "    raise LookupError\n")
    monkeypatch.syspath_prepend(tmp_path)
    url = f"sqlite:///{tmp_path}/half.sqlite"

    with pytest.raises(LookupError):
        migrate(url, "halfway")
    script.write_text(text)
    migrate(url, "halfway")

    assert head("halfway") == "0001"
    database = open_database(url)
    require_current(database, "halfway")
    database.close()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    The command migrates pairs, says how it is used, and tells a refusal with its remedy.
    """
    url = f"sqlite:///{tmp_path}/a.sqlite"
    assert main([url, SAMPLE, f"sqlite:///{tmp_path}/b.sqlite", SAMPLE]) == 0
    assert main([url]) == 2
    database = open_database(url)
    assert main([url, SAMPLE]) == 1
    database.close()
    assert "a.sqlite" in capsys.readouterr().err


def test_serving_needs_no_alembic() -> None:
    """
    Whoever only serves loads neither Alembic nor SQLAlchemy.
    """
    code = (
        "import sys, services.runtime.server, services.runtime.foundation, services.runtime.operations\n"
        "print([name for name in ('alembic', 'sqlalchemy', 'psycopg', 'openstack') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
