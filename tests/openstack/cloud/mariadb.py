# SPDX-License-Identifier: Apache-2.0
"""MariaDB, from Debian, on a socket for us and a port for the services. Rows survive a killed process."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tests.openstack.cloud.parts import run
from tests.openstack.cloud.place import Place, Unit

DEBIAN = {
    "/usr/sbin/mariadbd": "mariadb-server-core",
    "/usr/bin/mariadb-install-db": "mariadb-server-core",
    "/usr/bin/mariadb": "mariadb-client-core",
    "/usr/bin/mariadb-dump": "mariadb-client",
}
DATABASES = ("keystone", "glance", "placement", "neutron", "nova", "nova_api", "nova_cell0", "ironic")


def configure(place: Place) -> None:
    """Makes its data directory, if there is none."""
    data = place.state("mariadb") / "data"
    if not (data / "mysql" / "global_priv.frm").exists():
        argv = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--skip-test-db"]
        run(place.home, [*argv, "--auth-root-authentication-method=normal", *_user()], "mariadb-install-db")


def units(place: Place) -> Sequence[Unit]:
    """The server."""
    data = place.state("mariadb") / "data"
    argv = [
        "/usr/sbin/mariadbd", "--no-defaults", *_user(), f"--datadir={data}", "--bind-address=127.0.0.1",
        f"--port={place.ports['mariadb']}", f"--socket={socket(place)}", f"--pid-file={data}/mariadbd.pid",
        "--innodb-flush-log-at-trx-commit=2", "--innodb-doublewrite=0", "--innodb-buffer-pool-size=256M",
        "--skip-log-bin", "--skip-name-resolve", "--max-connections=400", "--character-set-server=utf8mb3",
    ]  # fmt: skip
    return [Unit("mariadb", argv, port=place.ports["mariadb"])]


def socket(place: Place) -> str:
    """Where its owner comes in without a password."""
    return str(place.state("mariadb") / "socket")


def sql(place: Place, text: str) -> None:
    """Runs statements as the database's owner."""
    run(place.home, ["mariadb", "--no-defaults", "-uroot", "-S", socket(place)], "SQL", text=text)


def admit(place: Place) -> None:
    """Makes the databases and the services' login, and shuts every other."""
    lines = [f"CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb3;" for name in DATABASES]
    lines += [f"GRANT ALL ON {name}.* TO cloud@'127.0.0.1' {_identified(place)};" for name in DATABASES]
    lines += ["DROP USER IF EXISTS root@'127.0.0.1';", "DROP USER IF EXISTS root@'::1';"]
    sql(place, "\n".join(lines))


def dump(place: Place) -> str:
    """All databases as statements."""
    argv = ["mariadb-dump", "--no-defaults", "-uroot", "-S", socket(place), "--add-drop-database", "--databases"]
    return run(place.home, [*argv, *DATABASES], "mariadb-dump")


def _identified(place: Place) -> str:
    return f"IDENTIFIED BY '{place.secrets['mariadb']}'"


def _user() -> list[str]:
    # It refuses to run as root unless told so.
    return ["--user=root"] if os.geteuid() == 0 else []
