# SPDX-License-Identifier: Apache-2.0
"""Keystone: the configuration, the keys, and the first login."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.fernet import Fernet

from tests.openstack.cloud.parts import run, write_ini, write_private
from tests.openstack.cloud.place import Place, Unit
from tests.openstack.cloud.settings import REGION, database, served

REQUIREMENTS = ("keystone>=30,<31",)


def configure(place: Place) -> None:
    """Writes its configuration and keys; keys stay, since tokens and credentials are written with them."""
    etc = place.etc("keystone")
    for name in ("fernet", "credential"):
        for number in "01":
            if not (etc / name / number).exists():
                write_private(etc / name / number, Fernet.generate_key().decode())
        (etc / name).chmod(0o700)
    write_ini(
        etc / "keystone.conf",
        {
            "DEFAULT": {"transport_url": place.messaging, "notification_format": "cadf"},
            "database": database(place, "keystone"),
            "token": {"provider": "fernet", "expiration": 86400},
            "fernet_tokens": {"key_repository": etc / "fernet"},
            # It makes none here; without them it does not even start.
            "fernet_receipts": {"key_repository": etc / "fernet"},
            "credential": {"key_repository": etc / "credential"},
            "cache": {"enabled": True, "backend": "oslo_cache.dict"},
            # Logins cost no more than they must.
            "identity": {"password_hash_rounds": 4},
        },
    )


def schema(place: Place) -> Sequence[Sequence[str]]:
    """The commands that make its tables."""
    return [[*_manage(place), "db_sync"]]


def bootstrap(place: Place) -> None:
    """Makes the administrator, or his password and Keystone's place in the catalogue what they are now."""
    environ = {
        "OS_BOOTSTRAP_PASSWORD": place.secrets["admin"], "OS_BOOTSTRAP_REGION_ID": REGION,
        **{f"OS_BOOTSTRAP_{kind}_URL": place.auth_url for kind in ("PUBLIC", "INTERNAL", "ADMIN")},
    }  # fmt: skip
    run(place.home, [*_manage(place), "bootstrap"], "keystone bootstrap", environ)


def units(place: Place) -> Sequence[Unit]:
    """Its API."""
    environ = {"OS_KEYSTONE_CONFIG_DIR": str(place.etc("keystone"))}
    return [served(place, "keystone", "keystone", "keystone.wsgi.api:application", environ, path="/v3")]


def _manage(place: Place) -> list[str]:
    return [place.program("keystone-manage"), "--config-file", str(place.etc("keystone") / "keystone.conf")]
