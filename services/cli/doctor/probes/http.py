# SPDX-License-Identifier: Apache-2.0
"""Requests to one API: what it answers, how late it is, and in plain words why it does not.

Not by the services' transport, which answers a status and a body: here what stands beside them is judged.
"""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from services.cli.doctor.facts import Endpoint, Seen, T_co
from services.cli.doctor.probes.certificates import days_left
from services.runtime.openstack import shown

if TYPE_CHECKING:
    from keystoneauth1.session import Session

MOST_SECONDS = 10.0
PAGES = 20
"""Of a thousand each: a larger site is judged by its first twenty thousand."""


class Silent(Exception):
    """There is no answer that could be used.

    Attributes:
        kind: see `Endpoint.kind`.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, whatever its status; ``body`` is empty where it is no JSON."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    skew: float | None
    slack: float

    def refusal(self) -> str:
        """Why it is no success, in a few words; "" if it is one."""
        if self.status < 400:
            return ""
        reasons = {401: "our login is refused", 403: "our login may not", 404: "it has no such thing"}
        text = reasons.get(self.status) or shown(_fault(self.body))
        if "requires a scope of" in text:
            # Some releases of Ironic say so with 500.
            return f"only a login for the system may ({self.status})"
        return f"{text} ({self.status})" if text else f"status {self.status}"


@dataclass(slots=True)
class Api:
    """One API at *url*, asked with *session*.

    Attributes:
        seconds: how long one request may take.
        headers: sent with each.
    """

    session: Session
    url: str
    seconds: float
    headers: Mapping[str, str] = field(default_factory=dict)

    def ask(self, path: str, method: str = "GET", json: object = None, **headers: str) -> Answer:
        """The answer to one request.

        Raises:
            Silent: there is none.
        """
        from keystoneauth1 import exceptions

        url = path if "://" in path else f"{self.url}{path}"
        began, wall = time.monotonic(), time.time()
        more: dict[str, Any] = {} if json is None else {"json": json}
        try:
            answer = self.session.request(
                url, method, raise_exc=False, headers={**self.headers, **headers}, log=False, connect_retries=0,
                timeout=(min(4.0, self.seconds), self.seconds), **more,
            )  # fmt: skip
        except exceptions.ClientException as error:
            raise why(error, self.seconds) from None
        took = time.monotonic() - began
        skew = _skew(answer.headers.get("date", ""), wall + took / 2)
        slack = 1.0 + took / 2
        try:
            body = answer.json()
        except ValueError:
            body = {}
        body = body if isinstance(body, dict) else {"items": body}
        return Answer(int(answer.status_code), body, answer.headers, skew, slack)

    def see(self, path: str, read: Callable[[Mapping[str, Any]], T_co], **headers: str) -> Seen[T_co]:
        """What *read* makes of an answer's body, or why there is none."""
        try:
            answer = self.ask(path, **headers)
        except Silent as error:
            return Seen(None, str(error))
        if refusal := answer.refusal():
            return Seen(None, refusal)
        return readable(lambda: read(answer.body))

    def rows(self, path: str, name: str) -> Seen[list[Mapping[str, Any]]]:
        """All rows of a list, page by page."""
        found: list[Mapping[str, Any]] = []
        here: str | None = path
        for _ in range(PAGES):
            page = self.see(here or path, lambda body: body)
            if page.value is None:
                return Seen(None, page.why)
            found += page.value.get(name) or []
            here = self._next(page.value, name)
            if not here:
                break
        return Seen(found)

    def _next(self, body: Mapping[str, Any], name: str) -> str | None:
        after = body.get("next")
        if not after:
            links = body.get(f"{name}_links") or []
            after = next((link["href"] for link in links if link.get("rel") == "next"), None)
        if not after:
            return None
        # By our own way to it: behind a proxy it may call itself something else.
        parts = urlsplit(urljoin(self.url + "/", str(after)))
        tail = f"{parts.path}?{parts.query}" if parts.query else parts.path
        prefix = urlsplit(self.url).path
        return tail.removeprefix(prefix) if prefix else tail


def readable(read: Callable[[], T_co]) -> Seen[T_co]:
    """What *read* makes of an answer; that it is not understood, if it fails on it."""
    try:
        return Seen(read())
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return Seen(None, "its answer has not the form we know")


def endpoint(api: Api, path: str, versions: Callable[[Answer], tuple[str, str]]) -> Endpoint:
    """How *api* answers to *path*; and its certificate, clock and versions."""
    verify = api.session.verify
    first = place(api.url, verified=verify is not False)
    try:
        answer = api.ask(path)
    except Silent as error:
        return replace(first, why=f"{error}{_through_proxy(api.url)}", kind=error.kind)
    found = readable(lambda: versions(answer)).value
    if found is None:
        # A balancer without a server behind it, another service, somebody's proxy.
        why = f"it answers with {answer.refusal()}" if answer.refusal() else "what answers is another service"
        return replace(first, why=f"{why}{_through_proxy(api.url)}", kind="broken")
    least, most = found
    days = days_left(api.url, api.seconds) if first.tls else None
    return replace(first, skew=answer.skew, slack=answer.slack, least=least, most=most, days=days)


def _through_proxy(url: str) -> str:
    from requests.utils import get_environ_proxies

    proxies = get_environ_proxies(url)
    return ", by way of the proxy of http_proxy (no_proxy leaves hosts out)" if proxies else ""


def place(url: str, *, verified: bool = True) -> Endpoint:
    """An endpoint that nobody has asked yet."""
    parts = urlsplit(url)
    return Endpoint(url, tls=parts.scheme == "https", local=is_here(parts.hostname or ""), verified=verified)


def is_here(host: str) -> bool:
    """Whether *host* is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def why(error: Exception, seconds: float) -> Silent:
    """*error* of a library in plain words. Its own text may quote requests and is not shown."""
    from keystoneauth1 import exceptions

    text = str(error)
    if isinstance(error, exceptions.SSLError):
        reason = re.search(r"certificate verify failed: ([^(\]]+)", text)
        return Silent(
            "distrusted", f"its certificate is not trusted: {reason[1].strip()}" if reason else "no TLS with it"
        )
    if isinstance(error, exceptions.ConnectTimeout):
        return Silent("slow", f"no answer within {seconds:.0f} s")
    if isinstance(error, (exceptions.Unauthorized, exceptions.Forbidden)):
        return Silent("refused", "Keystone refuses the login")
    if isinstance(error, exceptions.ConnectFailure):
        for word, told in _WORDS.items():
            if word in text:
                return Silent("silent", told)
        return Silent("silent", "the connection is closed without an answer")
    if isinstance(error, exceptions.DiscoveryFailure):
        return Silent("silent", "it does not answer as Keystone does")
    return Silent("broken", f"it cannot be asked ({type(error).__name__})")


_WORDS = {
    "Connection refused": "nobody listens there (connection refused)",
    "Name or service not known": "the name is not known to DNS",
    "Temporary failure in name resolution": "the name is not known to DNS",
    "No route to host": "there is no route to it",
    "Network is unreachable": "there is no route to it",
}


def _skew(date: str, middle: float) -> float | None:
    """How far the clock that wrote *date* is ahead; a date has whole seconds, and is half a second older than now."""
    if not date:
        return None
    try:
        return parsedate_to_datetime(date).timestamp() + 0.5 - middle
    except (TypeError, ValueError):
        return None


def ahead(moment: str | None, now: float) -> float | None:
    """By how many seconds *moment* (ISO 8601, UTC where it names no zone) is in the future."""
    from datetime import UTC, datetime

    try:
        found = datetime.fromisoformat(moment or "")
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() - now


def _fault(body: Mapping[str, Any]) -> str:
    for value in (body.get("error_message"), body.get("message"), *body.values()):
        text = value.get("message") or value.get("faultstring") if isinstance(value, dict) else value
        if isinstance(text, str) and text:
            inner = re.search(r'"faultstring": "((?:[^"\\]|\\.)*)"', text)
            return inner[1].replace('\\"', '"') if inner else text
    return ""


def pages(rows: Seen[list[Mapping[str, Any]]], read: Callable[[Mapping[str, Any]], T_co]) -> Seen[tuple[T_co, ...]]:
    """Each row as *read* has it."""
    if rows.value is None:
        return Seen(None, rows.why)
    listed = rows.value
    return readable(lambda: tuple(read(row) for row in listed))
