# SPDX-License-Identifier: Apache-2.0
"""HTTP to one or several API servers of one Contrail, with Keystone's token or none.

A server that could not be connected to, or that answers 503 because it is starting, did nothing: the next one is
asked, whatever the request. Once a request was sent, only one that reads is sent again: of any other, nobody knows what
became. A token that is refused is renewed once. Bodies are sent with their length: a chunked one is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from services.kernel.errors import InvalidField, PeerUnavailable
from services.runtime.contrail import DEFAULT_PROJECT, PEER, Contrail
from services.runtime.keystone.clouds import NoCloud, shared_login
from services.runtime.openstack import Answer, away, parsed, quieten

if TYPE_CHECKING:
    from keystoneauth1.session import Session

_READS = ("fqname-to-id", "id-to-fqname", "list-bulk-collection")
"""What is asked by POST and changes nothing."""
_STARTING = 503
_GATEWAY = (502, 504)
"""What a proxy answers for a server of which it does not know what it did."""


@dataclass(frozen=True, slots=True)
class Access:
    """How a Contrail is reached.

    Attributes:
        urls: of its API servers, in the order in which they are asked; any will do.
        cloud: in clouds.yaml, whose login gets the token that is shown; empty for none.
        seconds: for one request.
        project: see `Contrail`.
    """

    urls: tuple[str, ...]
    cloud: str = ""
    seconds: float = 10.0
    project: str = DEFAULT_PROJECT

    @classmethod
    def read(cls, environ: Mapping[str, str], prefix: str) -> Access:
        """What *environ* says, in variables that begin with *prefix* (``BMS_IPAM_CONTRAIL_``).

        ``URLS`` (by commas; needed), ``CLOUD``, ``REQUEST_SECONDS`` (1 to 60; 10), ``PROJECT`` (``domain:project``).

        Raises:
            InvalidField: a variable is missing or cannot be understood; its name is the field.
        """
        urls = tuple(part.strip().rstrip("/") for part in environ.get(f"{prefix}URLS", "").split(",") if part.strip())
        if not urls:
            raise InvalidField(f"{prefix}URLS", "is missing", remedy="Give http://host:8082, or several by commas.")
        for url in urls:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
                # Not quoted: somebody may have written a password into it.
                msg = "holds what is no URL of a server"
                raise InvalidField(f"{prefix}URLS", msg, remedy="Give http://host:8082, or several by commas.")
        text = environ.get(f"{prefix}REQUEST_SECONDS", "").strip() or "10"
        try:
            seconds = float(text)
        except ValueError:
            seconds = 0.0
        if not 1 <= seconds <= 60:
            msg = f"{text[:40]!r} is not a number from 1 to 60"
            raise InvalidField(f"{prefix}REQUEST_SECONDS", msg, remedy="Correct it or leave it out.")
        project = environ.get(f"{prefix}PROJECT", "").strip() or DEFAULT_PROJECT
        if len(project.split(":")) != 2 or not all(project.split(":")):
            msg = f"{project[:80]!r} is not a domain and a project with a colon between"
            raise InvalidField(f"{prefix}PROJECT", msg, remedy=f"Give {DEFAULT_PROJECT}, or leave it out.")
        return cls(urls, environ.get(f"{prefix}CLOUD", "").strip(), seconds, project)


def open_contrail(access: Access, *, setting: str) -> Contrail:
    """The Contrail at *access*. It asks nobody yet.

    Args:
        setting: what named the cloud, for the refusal.

    Raises:
        InvalidField: there is no such cloud, or its login is incomplete.
    """
    if not access.cloud:
        from keystoneauth1.session import Session

        quieten()
        return Contrail(Servers(access.urls, Session(), access.seconds, login=False), access.project)
    try:
        login = shared_login(access.cloud)
    except NoCloud as error:
        remedy = "Name a cloud of clouds.yaml, or envvars for the OS_* variables. OS_CLIENT_CONFIG_FILE says where."
        raise InvalidField(setting, str(error), remedy=remedy) from None
    return Contrail(Servers(access.urls, login.session, access.seconds, login=True), access.project)


class Servers:
    """`Transport` over any of *urls*; may be used from any thread.

    Args:
        session: sends, and gets tokens if *login*.
        seconds: for one request to one server.
    """

    def __init__(self, urls: Sequence[str], session: Session, seconds: float, *, login: bool) -> None:
        self._urls = tuple(urls)
        self._session = session
        self._seconds = seconds
        self._login = login
        self._first = 0

    def send(self, method: str, path: str, body: object = None, content_type: str = "") -> Answer:
        """See `Transport.send`."""
        reads = method == "GET" or path.strip("/") in _READS
        last: Answer | PeerUnavailable | None = None
        first = self._first
        for turn in range(len(self._urls)):
            number = (first + turn) % len(self._urls)
            try:
                answer = self._once(self._urls[number], method, path, body, content_type)
            except _NotSent as error:
                last = error.told
                continue
            except PeerUnavailable as error:
                if not reads:
                    raise
                last = error
                continue
            if answer.status != _STARTING and not (reads and answer.status in _GATEWAY):
                # Whoever answers is asked first from now on; that several threads say so is no matter.
                self._first = number
                return answer
            last = answer
        if isinstance(last, Answer):
            return last
        assert last is not None
        raise last

    def _once(self, url: str, method: str, path: str, body: object, content_type: str) -> Answer:
        from keystoneauth1 import exceptions
        from requests.exceptions import RequestException

        sent: dict[str, Any] = {}
        if body is not None:
            # Bytes, so that their length is sent with them.
            sent = {"data": json.dumps(body).encode(), "headers": {"Content-Type": content_type or "application/json"}}
        if self._login:
            self._log_in()
        try:
            answer = self._session.request(
                url + path, method, authenticated=self._login, redirect=False, raise_exc=False, log=False,
                connect_retries=0, status_code_retries=0, timeout=self._seconds, **sent,
            )  # fmt: skip
        except exceptions.Unauthorized:
            raise _no_login() from None
        except (exceptions.ClientException, RequestException) as error:
            # By its class alone: messages of these libraries quote requests.
            told = away(PEER, f"Contrail cannot be reached at {urlsplit(url).netloc}: {type(error).__name__}")
            raise (_NotSent(told) if _was_not_sent(error) else told) from None
        raw = bytes(answer.content)
        found = parsed(raw)
        # Refusals are bare text, whole: of a traceback it is the last line that says why.
        body = {"message": raw.decode(errors="replace")} if found is None else found
        return Answer(int(answer.status_code), body)

    def _log_in(self) -> None:
        """Gets a token if there is none yet, so that what is wrong with Keystone is not told of Contrail."""
        from keystoneauth1 import exceptions
        from requests.exceptions import RequestException

        try:
            self._session.get_auth_headers()
        except exceptions.Unauthorized:
            raise _no_login() from None
        except (exceptions.ClientException, RequestException) as error:
            raise away("Keystone", f"Keystone cannot be reached: {type(error).__name__}") from None


def _no_login() -> PeerUnavailable:
    msg = "Keystone refuses our login"
    return PeerUnavailable(msg, remedy="Look at the login in clouds.yaml.", peer="keystone")


class _NotSent(Exception):
    """There was no connection, so that nothing was asked."""

    def __init__(self, told: PeerUnavailable) -> None:
        super().__init__(str(told))
        self.told = told


def _was_not_sent(error: BaseException) -> bool:
    """Whether *error* came before there was a connection: keystoneauth has one class for this and for what is worse."""
    from requests import exceptions
    from urllib3.exceptions import MaxRetryError, NewConnectionError

    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, exceptions.ConnectTimeout):
            return True
        cause = seen.args[0] if seen.args else None
        if isinstance(seen, exceptions.ConnectionError) and isinstance(cause, MaxRetryError):
            return isinstance(cause.reason, NewConnectionError)
        seen = seen.__cause__ or seen.__context__
    return False
