# SPDX-License-Identifier: Apache-2.0
"""Whom a process lets in: those of the tokens file, and beside them Keystone's if the settings say so."""

from __future__ import annotations

from services.kernel.calls import Caller
from services.runtime.auth import PREFIX, AskingCallers, Callers, Tokens
from services.runtime.settings import Settings


class EitherCallers:
    """Tokens that begin as ours do are the file's; all others are somebody else's to know."""

    def __init__(self, ours: Callers, others: AskingCallers) -> None:
        self._ours = ours
        self._others = others

    def caller_of(self, bearer: str) -> Caller:
        """See `Callers`."""
        return (self._ours if bearer.startswith(PREFIX) else self._others).caller_of(bearer)

    def known(self, bearer: str) -> Caller | None:
        """See `AskingCallers`."""
        return self._ours.caller_of(bearer) if bearer.startswith(PREFIX) else self._others.known(bearer)


def open_callers(settings: Settings) -> Callers:
    """The callers whom *settings* name.

    Raises:
        UnsafeFile: the tokens file is not there, others may read it, or it is not a list of tokens.
        InvalidField: there is no cloud of the name that the settings give, or its login is incomplete.
    """
    tokens = Tokens.load(settings.data.tokens_file)
    if settings.keystone is None:
        return tokens
    # The SDK costs 22 MB and half a second: only for those who ask for it.
    from services.runtime.keystone.cache import Remembered
    from services.runtime.keystone.validation import Keystone

    keystone = Keystone(settings.keystone)
    return EitherCallers(tokens, Remembered(keystone.validate, settings.keystone.cache_seconds))
