# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from services.kernel.errors import PeerUnavailable
from services.lifecycle import logins
from services.lifecycle.bmc import Bmc
from services.lifecycle.logins import LONGEST, Logins
from tests.support.clocks import FakeClock

SECRET = "correct horse"


class Safe:
    """Inventory's side: logins by server, and who was asked for."""

    def __init__(self) -> None:
        self.bmc = Bmc("192.0.2.7", 443, "redfish", "root", SECRET)
        self.asked: list[str] = []
        self.silent = False

    def __call__(self, server: str) -> Bmc:
        self.asked.append(server)
        if self.silent:
            msg = "inventory does not answer"
            raise PeerUnavailable(msg)
        return self.bmc


@pytest.fixture
def safe() -> Safe:
    return Safe()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def known(safe: Safe, clock: FakeClock) -> Logins:
    return Logins(safe, clock)


def test_a_login_is_asked_for_once_in_a_while(safe: Safe, clock: FakeClock, known: Logins) -> None:
    """
    Until it is half a day old; each server has its own.
    """
    assert known.remembered("a") == known.remembered("a") == safe.bmc
    known.remembered("b")
    assert safe.asked == ["a", "b"]
    clock.advance(LONGEST.total_seconds() - 1)
    known.remembered("a")
    assert safe.asked == ["a", "b"]
    clock.advance(2)
    known.remembered("a")
    assert safe.asked == ["a", "b", "a"]


def test_who_needs_it_as_it_is_now_has_it_asked_for(safe: Safe, known: Logins) -> None:
    """
    Whatever is remembered; and the answer is what is remembered from then on.
    """
    known.remembered("a")
    safe.bmc = replace(safe.bmc, password="new")

    assert known.of("a").password == "new"
    assert known.remembered("a").password == "new"
    assert safe.asked == ["a", "a"]


def test_what_was_forgotten_is_asked_for_again(safe: Safe, known: Logins) -> None:
    """
    Of that server alone.
    """
    for server in ("a", "b"):
        known.remembered(server)
    known.forget("a")
    safe.bmc = replace(safe.bmc, password="new")

    assert (known.remembered("a").password, known.remembered("b").password) == ("new", SECRET)


def test_what_is_forgotten_while_inventory_answers_stays_forgotten(safe: Safe, clock: FakeClock) -> None:
    """
    Its answer may be older than the change that was told meanwhile.
    """

    def ask(server: str) -> Bmc:
        bmc = safe(server)
        if len(safe.asked) == 1:
            mine.forget(server)
        return bmc

    mine = Logins(ask, clock)
    mine.remembered("a")
    safe.bmc = replace(safe.bmc, password="new")

    assert mine.remembered("a").password == "new"


def test_what_could_not_be_asked_is_not_remembered(safe: Safe, known: Logins) -> None:
    """
    The next one asks again.
    """
    safe.silent = True
    with pytest.raises(PeerUnavailable):
        known.remembered("a")
    safe.silent = False

    assert known.remembered("a") == safe.bmc


def test_it_remembers_so_many_and_no_more(safe: Safe, known: Logins, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The oldest goes first.
    """
    monkeypatch.setattr(logins, "MOST", 3)
    for server in ("a", "b", "c", "d"):
        known.remembered(server)
    safe.asked.clear()
    for server in ("d", "c", "b", "a"):
        known.remembered(server)

    assert safe.asked == ["a"]
    assert len(known._known) == 3


def test_it_shows_no_login(known: Logins) -> None:
    """
    Neither what it remembers nor how it prints has the password.
    """
    known.remembered("a")

    assert SECRET not in repr(known)
    assert SECRET not in str([known._known])


def test_it_lasts_longer_than_a_round() -> None:
    """
    Else nothing would be remembered from one look to the next.
    """
    assert timedelta(minutes=15) * 2 < LONGEST
