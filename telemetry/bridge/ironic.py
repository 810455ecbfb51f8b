# SPDX-License-Identifier: Apache-2.0
"""Ironic's nodes and ports by its API, page by page, in whichever version it speaks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from services.runtime.keystone.clouds import NoCloud
from services.runtime.openstack import away
from telemetry.bridge.login import SECONDS, Login, open_client

if TYPE_CHECKING:
    from keystoneauth1.adapter import Adapter

Version = tuple[int, int]
OLDEST: Final[Version] = (1, 19)
"""Ports' local_link_connection and pxe_enabled. Newton has it; the old daemon spoke this and nothing newer."""
NEWEST: Final[Version] = (1, 81)
"""The newest of which we know what it means; spoken where the server has it."""
PAGE: Final = 1000
"""Rows asked for at a time; Ironic gives no more than its ``max_limit``."""
_PAGES: Final = 10_000
"""More there cannot be: what goes on after that goes in circles."""
_VERSION: Final = "X-OpenStack-Ironic-API-Version"
_MAXIMUM: Final = "X-OpenStack-Ironic-API-Maximum-Version"


class Ironic:
    """One Ironic. Calls block; one thread at a time."""

    def __init__(self, login: Login) -> None:
        self._login = login
        self._client: Adapter | None = None
        self._spoken: Version | None = None

    @property
    def spoken(self) -> Version | None:
        """The version of the API that is spoken; None before the first answer."""
        return self._spoken

    def pages(self, what: str) -> Iterator[list[Any]]:
        """Every row of ``nodes`` or ``ports`` with all its fields; each page is asked for when it is wanted.

        Raises:
            PeerUnavailable: it does not answer, or not as Ironic does; says nothing secret.
        """
        spoken = self._spoken or self._negotiate()
        # Whoever names fields is not given updated_at, so all are asked for.
        path = f"/{what}/detail?limit={PAGE}&sort_key=uuid"
        for _ in range(_PAGES):
            page = self._get(path, spoken)
            rows = page.get(what)
            if not isinstance(rows, list):
                raise away("Ironic", f"what answers to {what} is not Ironic")
            yield rows
            # An absolute URL by which the server believes to be reached; only its end is ours.
            _, _, rest = str(page.get("next") or "").partition("/v1/")
            if not rest:
                return
            path = f"/{rest}"
        raise away("Ironic", f"the pages of {what} do not end")

    def _negotiate(self) -> Version:
        body, headers = self._ask("/", OLDEST)
        version = body.get("version")
        theirs = _version(headers.get(_MAXIMUM) or (version.get("version") if isinstance(version, Mapping) else ""))
        if theirs is None:
            raise away("Ironic", "what answers is not Ironic")
        if theirs < OLDEST:
            raise away("Ironic", f"it speaks {theirs[0]}.{theirs[1]} at most, and {OLDEST[0]}.{OLDEST[1]} is needed")
        self._spoken = min(theirs, NEWEST)
        return self._spoken

    def _get(self, path: str, spoken: Version) -> Mapping[str, Any]:
        return self._ask(path, spoken)[0]

    def _ask(self, path: str, version: Version) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        from keystoneauth1.exceptions import ClientException
        from openstack.exceptions import SDKException
        from requests.exceptions import RequestException

        try:
            if self._client is None:
                self._client = open_client(self._login)
            base = str(self._client.get_endpoint() or "").rstrip("/")
            if not base:
                raise away("Ironic", "Keystone's catalog has no endpoint of it for us")
            base = base if base.endswith("/v1") else f"{base}/v1"
            answer = self._client.session.request(
                f"{base}{path}", "GET", raise_exc=False, connect_retries=1, auth=self._client.auth, timeout=SECONDS,
                headers={_VERSION: f"{version[0]}.{version[1]}", "Accept": "application/json"},
                user_agent="bms-telemetry",
            )  # fmt: skip
        except NoCloud as error:
            raise away("Ironic", str(error)) from None
        except (ClientException, SDKException, RequestException, OSError) as error:
            # By its class alone: messages of these libraries quote requests.
            raise away("Ironic", f"it cannot be reached: {type(error).__name__}") from None
        if answer.status_code == 406:
            # Another Ironic than before answers: the version is asked for anew.
            self._spoken = None
        if answer.status_code >= 400:
            raise away("Ironic", f"it refuses to list ({answer.status_code})")
        try:
            found = json.loads(answer.content)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise away("Ironic", "what answers is not Ironic")
        return found, answer.headers


def _version(text: object) -> Version | None:
    major, _, minor = str(text or "").partition(".")
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() and len(minor) < 6 else None
