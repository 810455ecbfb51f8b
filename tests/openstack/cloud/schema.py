# SPDX-License-Identifier: Apache-2.0
"""The tables of all services: made by the services themselves once, and read from a file from then on."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from tests.openstack.cloud import mariadb
from tests.openstack.cloud.parts import run, write_private
from tests.openstack.cloud.place import Place
from tests.openstack.cloud.programs import cache
from tests.openstack.cloud.progress import step

FORM = "1"
"""Goes up when something is made otherwise than by the packages' own versions, such as the cells."""


class HasSchema(Protocol):
    """A service with tables."""

    def schema(self, place: Place) -> Sequence[Sequence[str]]: ...


def make_schema(place: Place, services: Sequence[HasSchema]) -> None:
    """Makes the tables unless they are there; a half made set is thrown away."""
    done = place.state("mariadb") / "schema.txt"
    kept = _kept(place)
    if done.exists():
        assert done.read_text() == kept.name, (
            f"the tables are of other versions: make openstack-down, rm -r {place.home}"
        )
        return
    if kept.exists():
        with step("tables, from the cache"):
            mariadb.sql(place, gzip.decompress(kept.read_bytes()).decode())
    else:
        with step("tables, made by each service"):
            mariadb.sql(place, "\n".join(f"DROP DATABASE IF EXISTS {name};" for name in mariadb.DATABASES))
            mariadb.admit(place)
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda service: _make(place, service), services))
        half = kept.with_name(f"{kept.name}.{os.getpid()}")
        half.write_bytes(gzip.compress(mariadb.dump(place).encode()))
        half.replace(kept)
    write_private(done, kept.name)


def _make(place: Place, service: HasSchema) -> None:
    for argv in service.schema(place):
        run(place.home, argv, " ".join(argv[:2]))


def _kept(place: Place) -> Path:
    """The file of the tables of the versions that are installed."""
    names = ("keystone", "glance", "openstack_placement", "neutron", "nova", "ironic")
    installed = place.programs.parent.glob("lib/python*/site-packages/*.dist-info")
    versions = sorted(path.name for path in installed if path.name.split("-")[0] in names)
    key = hashlib.sha256("\n".join((FORM, *versions)).encode()).hexdigest()[:16]
    return cache() / f"schema-{key}.sql.gz"
