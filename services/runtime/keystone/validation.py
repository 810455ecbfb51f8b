# SPDX-License-Identifier: Apache-2.0
"""Asks Keystone whose a token is, by the login of our own that the settings name.

Tokens whose application credential has access rules are refused: we do not tell Keystone that we hold callers to such
rules, so it does not know these tokens when we ask.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import structlog

from services.kernel.calls import Caller
from services.kernel.effect import effect
from services.kernel.errors import InvalidField, PeerUnavailable, Unauthenticated
from services.runtime.keystone import mapping
from services.runtime.keystone.clouds import NoCloud, shared_login
from services.runtime.settings import KeystoneSettings

if TYPE_CHECKING:
    from requests import Response

_SECONDS = 5.0
"""How long Keystone may take for one request; one that found no connection is made a second time."""

_TOKEN = re.compile(r"[!-~]{1,8192}")
_ISSUE = "Get a new one (`openstack token issue`) and send it as `authorization: Bearer <token>`."

_log = structlog.get_logger("bms.keystone")


class NoAnswer(PeerUnavailable):
    """Nobody answers where Keystone should be: whoever else would be asked for now will not be known either."""


class Validated(NamedTuple):
    """Whom a token names, and when it expires (seconds since 1970)."""

    caller: Caller
    expires: float


class Keystone:
    """One session with one Keystone, for all threads of the process. It logs in, and in again, when it must.

    Raises:
        InvalidField: there is no such cloud, or its login is incomplete.
    """

    def __init__(self, settings: KeystoneSettings) -> None:
        self._settings = settings
        try:
            login = shared_login(settings.cloud)
        except NoCloud as error:
            remedy = "Name a cloud of clouds.yaml, or envvars for the OS_* variables. OS_CLIENT_CONFIG_FILE says where."
            raise InvalidField("BMS_KEYSTONE_CLOUD", str(error), remedy=remedy) from None
        self._session = login.session

    def validate(self, bearer: str) -> Validated:
        """Whom the token *bearer* names, as Keystone says now.

        Raises:
            Unauthenticated: Keystone does not know it (any more).
            Forbidden: it is for nothing that there is here.
            PeerUnavailable: Keystone does not answer, or not as it should.
        """
        if not _TOKEN.fullmatch(bearer):
            raise unknown()
        with effect("keystone.validate"):
            answer = self._ask(bearer)
        if answer.status_code == 404:
            raise unknown()
        if answer.status_code in (401, 403):
            msg = f"Keystone does not let us validate tokens ({answer.status_code})"
            remedy = (
                "Give the login that BMS_KEYSTONE_CLOUD names the role service, and see that its password is right."
            )
            raise PeerUnavailable(msg, remedy=remedy, peer="keystone")
        if answer.status_code != 200:
            raise _odd(f"Keystone answers with {answer.status_code}")
        try:
            token = mapping.parse(answer.json())
        except (KeyError, TypeError, ValueError, AttributeError):
            raise _odd("what answers is not Keystone") from None
        caller = mapping.caller_of(token, self._settings)
        # Events name whom they tell of by his id alone; here is where his name of this day is found.
        _log.info(
            "caller.validated",
            caller=caller.subject, name=token.user_name, project=token.project, project_name=token.project_name,
            roles=sorted(token.roles),
        )  # fmt: skip
        return Validated(caller, token.expires.timestamp())

    def _ask(self, bearer: str) -> Response:
        from keystoneauth1 import exceptions, plugin
        from requests.exceptions import RequestException

        try:
            return self._session.get(
                "/auth/tokens?nocatalog",
                # Where we log in ourselves: no catalog need name it, and it is no other Keystone than ours.
                endpoint_filter={"service_type": "identity", "interface": plugin.AUTH_INTERFACE, "version": (3, 0)},
                headers={"X-Subject-Token": bearer, "Accept": "application/json"},
                connect_retries=1, status_code_retries=0, timeout=_SECONDS, raise_exc=False, log=False, redirect=False,
            )  # fmt: skip
        except (exceptions.Unauthorized, exceptions.MissingAuthPlugin, exceptions.MissingRequiredOptions):
            msg = "Keystone refuses our own login"
            remedy = "Look at the cloud that BMS_KEYSTONE_CLOUD names."
            raise PeerUnavailable(msg, remedy=remedy, peer="keystone") from None
        except (exceptions.ConnectionError, exceptions.DiscoveryFailure) as error:
            raise _away(error) from None
        except (exceptions.ClientException, RequestException) as error:
            # By its class alone, as above: their messages quote requests.
            raise _odd(f"Keystone cannot be asked: {type(error).__name__}") from None


def unknown() -> Unauthenticated:
    """What is said of a token that Keystone does not know."""
    msg = "Keystone does not know the token: it has expired, was revoked, or never was"
    return Unauthenticated(msg, remedy=_ISSUE)


def _away(error: Exception) -> NoAnswer:
    msg = f"Keystone does not answer ({type(error).__name__}), so nobody can say whose the token is"
    return NoAnswer(msg, remedy="Try again; if it lasts, see that Keystone runs.", peer="keystone")


def _odd(message: str) -> PeerUnavailable:
    return PeerUnavailable(message, remedy="Try again; if it lasts, look at Keystone's log.", peer="keystone")
