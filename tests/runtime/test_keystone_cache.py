# SPDX-License-Identifier: Apache-2.0
"""What is remembered of tokens, for how long, and how often somebody is asked."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from services.kernel.calls import Caller
from services.kernel.errors import BmsError, Forbidden, PeerUnavailable, Unauthenticated
from services.runtime.auth import AskingCallers
from services.runtime.keystone import cache
from services.runtime.keystone.cache import Remembered
from services.runtime.keystone.validation import NoAnswer, Validated


@dataclass
class Site:
    """Knows tokens, is asked for them, and has the time.

    Attributes:
        says: what it answers by token: a lifetime in seconds, or an error; Unauthenticated for others.
        asked: the tokens it was asked for.
        open: not set, whoever asks waits.
        arrived: released for each question.
    """

    time: float = 1000.0
    says: dict[str, float | BaseException] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    open: threading.Event = field(default_factory=threading.Event)
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def __post_init__(self) -> None:
        self.open.set()

    def validate(self, bearer: str) -> Validated:
        self.asked.append(bearer)
        self.arrived.release()
        assert self.open.wait(10)
        said = self.says.get(bearer, Unauthenticated("the token is not known", remedy="Get another."))
        if isinstance(said, BaseException):
            raise said
        return Validated(Caller(f"keystone:{bearer}"), self.time + said)

    def callers(self, seconds: float = 60.0, most: int = 100) -> Remembered:
        return Remembered(self.validate, seconds, most=most, monotonic=lambda: self.time, now=lambda: self.time)


def refusal(ask: Callable[[], object]) -> BmsError:
    with pytest.raises(BmsError) as caught:
        ask()
    return caught.value


def test_a_token_is_asked_for_once_in_its_time() -> None:
    """
    Within its time a caller is known without asking; after it, he is asked for again. So long, and no longer, a token
    that was revoked lets in.
    """
    site = Site(says={"t": 3600.0})
    callers = site.callers()
    assert isinstance(callers, AskingCallers)
    assert callers.known("t") is None

    first = callers.caller_of("t")
    del site.says["t"]  # revoked
    site.time += 59.9
    assert callers.caller_of("t") == callers.known("t") == first
    assert site.asked == ["t"]

    site.time += 0.1
    assert callers.known("t") is None
    assert type(refusal(lambda: callers.caller_of("t"))) is Unauthenticated
    assert type(refusal(lambda: callers.known("t"))) is Unauthenticated


def test_a_token_ends_when_it_expires() -> None:
    """
    A token that expires before its time in the cache is over does not outlive itself.
    """
    site = Site(says={"t": 10.0})
    callers = site.callers()
    callers.caller_of("t")

    site.time += 10
    assert "expired" in str(refusal(lambda: callers.caller_of("t")))
    assert site.asked == ["t"]


def test_a_clock_ahead_of_keystones_locks_nobody_out() -> None:
    """
    A token that Keystone takes, and that by our clock has expired, is taken and asked for each time.
    """
    site = Site(says={"t": -5.0})
    callers = site.callers()

    assert callers.caller_of("t") == callers.caller_of("t")
    assert site.asked == ["t", "t"]


@pytest.mark.parametrize("error", [Unauthenticated("no", remedy="r"), Forbidden("no", remedy="r", scope="a domain")])
def test_a_refusal_is_remembered_for_seconds(error: BmsError) -> None:
    """
    A refused token is refused again in the same words without asking, for a few seconds.
    """
    site = Site(says={"t": error})
    callers = site.callers()
    said = [refusal(lambda: callers.caller_of("t")) for _ in range(3)]

    assert site.asked == ["t"]
    assert {(type(each), str(each), each.remedy, tuple(each.facts.items())) for each in said} == {
        (type(error), str(error), error.remedy, tuple(error.facts.items()))
    }
    assert len({id(each) for each in said}) == 3, "an exception is raised by one thread alone"
    site.says["t"] = 60.0
    site.time += 5
    assert callers.caller_of("t").subject == "keystone:t"


def test_nothing_is_remembered_if_it_shall_not_be() -> None:
    """
    With a time of 0 seconds each request asks.
    """
    site = Site(says={"t": 60.0})
    callers = site.callers(seconds=0)
    callers.caller_of("t")
    callers.caller_of("t")

    assert site.asked == ["t", "t"]


def test_who_is_known_goes_on_while_nobody_answers() -> None:
    """
    Keystone away: who is remembered is served to the end of his time; all others are told to come again, and that
    their token were bad is told nobody. For a second nobody waits to hear the same.
    """
    site = Site(says={"known": 60.0})
    callers = site.callers()
    callers.caller_of("known")
    site.says = dict.fromkeys(("known", "new", "newer"), NoAnswer("away", remedy="Try again."))

    assert isinstance(refusal(lambda: callers.caller_of("new")), PeerUnavailable)
    assert isinstance(refusal(lambda: callers.caller_of("newer")), PeerUnavailable)
    assert callers.caller_of("known").subject == "keystone:known"
    assert site.asked == ["known", "new"]

    site.time += 1
    site.says["newer"] = 60.0
    assert callers.caller_of("newer").subject == "keystone:newer"
    site.time += 59
    assert isinstance(refusal(lambda: callers.caller_of("known")), PeerUnavailable)


def test_a_token_that_upsets_keystone_harms_no_other() -> None:
    """
    An answer that makes no sense is neither remembered nor held against other tokens.
    """
    site = Site(says={"odd": PeerUnavailable("500"), "good": 60.0})
    callers = site.callers()

    assert isinstance(refusal(lambda: callers.caller_of("odd")), PeerUnavailable)
    assert callers.caller_of("good").subject == "keystone:good"
    assert isinstance(refusal(lambda: callers.caller_of("odd")), PeerUnavailable)
    assert site.asked == ["odd", "good", "odd"]


def test_many_at_a_moment_ask_once() -> None:
    """
    However many requests come with one token while it is being asked for, Keystone is asked once.
    """
    site = Site(says={"t": 60.0})
    site.open.clear()
    callers = site.callers()
    with ThreadPoolExecutor(20) as threads:
        asking = [threads.submit(callers.caller_of, "t") for _ in range(20)]
        assert site.arrived.acquire(timeout=10)
        site.open.set()
        found = {each.result(10).subject for each in asking}

    assert found == {"keystone:t"}
    assert site.asked == ["t"]


def test_many_at_a_moment_are_refused_together() -> None:
    """
    What nobody foresaw ends the one request as such; those that waited for it are told to come again.
    """
    site = Site(says={"t": RuntimeError("nobody foresaw it")})
    site.open.clear()
    callers = site.callers()
    with ThreadPoolExecutor(4) as threads:
        asking = [threads.submit(callers.caller_of, "t")]
        assert site.arrived.acquire(timeout=10)
        while len(asking) < 4:
            asking.append(threads.submit(callers.caller_of, "t"))
        site.open.set()
        said = [type(each.exception(10)) for each in asking]

    assert RuntimeError in said
    assert set(said) <= {RuntimeError, PeerUnavailable}


def test_a_slow_keystone_takes_no_more_than_some_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Only so many tokens are asked for at a time, and only so long anybody waits for another's question: the other
    threads of the service serve those whom it knows.
    """
    monkeypatch.setattr(cache, "_MOST_ASKING", 2)
    monkeypatch.setattr(cache, "_FOLLOW_SECONDS", 0.01)
    site = Site(says={"a": 60.0, "b": 60.0, "c": 60.0})
    callers = site.callers()
    callers.caller_of("c")
    site.open.clear()
    with ThreadPoolExecutor(2) as threads:
        asking = [threads.submit(callers.caller_of, each) for each in "ab"]
        for _ in range(3):
            assert site.arrived.acquire(timeout=10)
        assert "slow" in str(refusal(lambda: callers.caller_of("d")))
        assert "slow" in str(refusal(lambda: callers.caller_of("a")))
        assert callers.caller_of("c").subject == "keystone:c"
        site.open.set()
        assert [each.result(10).subject for each in asking] == ["keystone:a", "keystone:b"]


def test_what_is_remembered_is_bounded() -> None:
    """
    Beyond its bound the oldest is forgotten; who guesses tokens drives out nobody who has one.
    """
    site = Site(says={f"t{number}": 3600.0 for number in range(20)})
    callers = site.callers(most=8)
    for number in range(20):
        callers.caller_of(f"t{number}")
    for number in range(50):
        refusal(lambda number=number: callers.caller_of(f"guess{number}"))  # type: ignore[misc]  # a default binds it

    assert [callers.known(f"t{number}") is not None for number in range(20)] == [False] * 12 + [True] * 8
    assert (len(callers._known), len(callers._refused)) == (8, 8)


def test_no_token_is_kept() -> None:
    """
    Nothing that is kept, or shown of it, holds a token.
    """
    site = Site(says={"gAAAAA-secret": 60.0})
    callers = site.callers()
    callers.caller_of("gAAAAA-secret")
    refusal(lambda: callers.caller_of("gAAAAA-guess"))

    kept = repr((callers, callers._known._kept, callers._refused._kept, callers._asked))
    assert "keystone:" in kept
    assert "gAAAAA" not in kept.replace("keystone:gAAAAA-secret", "")
