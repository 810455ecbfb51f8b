# SPDX-License-Identifier: Apache-2.0
"""What every backend over an OpenStack service needs beside the SDK. The SDK is not imported here: it is heavy."""

from __future__ import annotations

import json
import logging
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from services.kernel.errors import PeerUnavailable

_SHOWN = 300
_LATER = (408, 429)
_SECRET = re.compile(r"(?i)(password|passwd|token|secret|sig|signature|configdrive)(['\"]?\s*[:=]\s*)\S+")


class Refused(Exception):
    """The service answered that it will not, or cannot.

    Attributes:
        status: of HTTP.
        text: why, short and without secrets; empty where the request held some.
        kind: the service's own name of the error, ``MacAddressInUse``; empty if it gives none.
    """

    def __init__(self, status: int, text: str, kind: str = "") -> None:
        super().__init__(f"{status}: {text}" if text else str(status))
        self.status = status
        self.text = text
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: the status of HTTP and the JSON in it, an empty object if there is none."""

    status: int
    body: Mapping[str, Any]


class Transport(Protocol):
    """Carries requests to one service."""

    def send(self, method: str, path: str, body: object = None, content_type: str = "") -> Answer:
        """The answer, whatever its status.

        Args:
            path: below the service's versioned endpoint.
            body: sent as JSON; None sends none.
            content_type: of the body, where it is not ``application/json``.

        Raises:
            PeerUnavailable: there is no answer.
        """
        ...


def ask(peer: str, to: Transport, method: str, path: str, body: object = None, content_type: str = "") -> Any:
    """The JSON that *peer* answers.

    Raises:
        Refused: it will not.
        PeerUnavailable: it does not answer, cannot now, or refuses our login.
    """
    answer = to.send(method, path, body, content_type)
    if answer.status < 400:
        return answer.body
    if answer.status == 401:
        msg = f"{peer} refuses our login"
        raise PeerUnavailable(msg, remedy="Look at the login in clouds.yaml.", peer=peer.lower())
    if answer.status >= 500 or answer.status in _LATER:
        raise away(peer, f"{peer} cannot take it now ({answer.status})")
    text, kind = _fault(answer.body)
    raise Refused(answer.status, shown(text), kind)


def away(peer: str, message: str) -> PeerUnavailable:
    """The error of a service that cannot be asked now."""
    return PeerUnavailable(message, remedy=f"It is tried again; if it lasts, look at {peer}.", peer=peer.lower())


def parsed(raw: bytes) -> Mapping[str, Any] | None:
    """The JSON of an answer, a list as one with ``items``, an empty object where there is nothing; None: it is none."""
    try:
        found = json.loads(raw) if raw else {}
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else {"items": found}


def document(raw: bytes) -> Mapping[str, Any]:
    """As `parsed`; a page for people becomes an object that has its words for ``message``."""
    found = parsed(raw)
    return {"message": re.sub(r"<[^>]*>", " ", raw[:2000].decode(errors="replace"))} if found is None else found


def _fault(body: Mapping[str, Any]) -> tuple[str, str]:
    """The sentence in an error document and the error's name.

    Nova wraps both in an object named after the error, Neutron in one that says ``type``, and Glance's is text alone.
    """
    if isinstance(text := body.get("message"), str):
        return text, ""
    for name, value in body.items():
        if isinstance(value, dict) and isinstance(text := value.get("message"), str):
            return text, str(value.get("type") or name)
    return "", ""


def shown(text: str) -> str:
    """*text* for people: one line, short, with what looks like a secret left out."""
    return _SECRET.sub(r"\1\2***", " ".join(text.split()))[:_SHOWN]


def quieten() -> None:
    """Keeps the libraries' own lines away: at debug they hold whole requests; what they warn of we say ourselves."""
    for name in ("keystoneauth", "openstack", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # The SDK warns of a feature that nobody asked for whenever there is a clouds.yaml.
    warnings.filterwarnings("ignore", message="Support for InfluxDB")
