# SPDX-License-Identifier: Apache-2.0
"""Listing: what it costs, what it finds, and what it does not believe."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from services.kernel.errors import PeerUnavailable
from services.lifecycle.domain.server import Server
from services.lifecycle.observing.lister import Lister
from services.lifecycle.observing.observer import Observer
from services.runtime.database import Transaction
from tests.lifecycle.observing.fake_nodes import FakeNodes, Watched, watched
from tests.lifecycle.rig import Rig


def uuid_of(number: int) -> str:
    return f"{number:08d}-0000-4000-8000-000000000000"


def registered(rig: Rig, many: int) -> Watched:
    """So many servers that were registered and nothing more, and their nodes."""
    now = rig.clock.now()

    def insert(tx: Transaction) -> None:
        for number in range(many):
            rig.store.insert_server(tx, Server(uuid_of(number), f"r{number}", now), ())

    rig.database.transact(insert, label="test")
    site = watched(rig)
    for number in range(many):
        site.nodes.lead(uuid_of(number), "available", power="off")
    return site


def minutes(site: Watched, many: int) -> int:
    """How many pages so many minutes cost, its loop coming whenever it wants to."""
    before, end = site.nodes.pages, site.rig.clock.now() + timedelta(minutes=many)
    while site.rig.clock.now() < end:
        due = site.lister.tick(site.rig.clock.now())
        site.rig.clock.advance(max(0.1, (due - site.rig.clock.now()).total_seconds()))
    return site.nodes.pages - before


def test_a_thousand_nodes_at_rest_cost_two_pages_a_minute(rig: Rig) -> None:
    """
    However long it goes on, whole listings included; and no node is read by itself.
    """
    site = registered(rig, 1000)
    minutes(site, 1)

    assert minutes(site, 60) <= 120
    assert site.nodes.reads == 0


def test_where_ironic_gives_small_pages_only_whole_listings_cost_more(rig: Rig) -> None:
    """
    A site's max_limit of 100: ten pages once in ten minutes, else one page at a time.
    """
    site = registered(rig, 1000)
    site.nodes.most = 100
    minutes(site, 1)
    site.rig.clock.advance(300)

    assert minutes(site, 30) <= 60 + 3 * 9
    kept = rig.database.read(lambda tx: tx.one("SELECT count(*) AS n FROM observed_nodes"))
    assert kept is not None
    assert kept["n"] == 1000


def test_what_changed_is_found_by_the_next_look_wherever_it_stands(rig: Rig) -> None:
    """
    More changes than one page holds are paged through; one change costs one page.
    """
    site = registered(rig, 300)
    site.nodes.most = 50
    minutes(site, 1)
    rig.clock.advance(600)
    for number in range(120):
        site.nodes.lead(uuid_of(number), maintenance=True)
    site.lister._whole_at = rig.clock.now() + timedelta(hours=1)
    pages = site.nodes.pages
    site.see()

    assert site.nodes.pages - pages == 4  # the last one says nothing new
    kept = rig.database.read(lambda tx: tx.all("SELECT seen FROM observed_nodes"))
    assert sum('"maintenance":true' in row["seen"] for row in kept) == 120


def test_asked_for_it_looks_at_everything_at_once(rig: Rig) -> None:
    """
    After a reconnect: not only at what Ironic says was changed.
    """
    site = registered(rig, 3)
    site.lister.tick(rig.clock.now())
    site.nodes.nodes[uuid_of(2)] = replace(site.nodes.nodes[uuid_of(2)], maintenance=True)
    site.lister.list_anew()
    site.lister.tick(rig.clock.advance(1))

    assert [message for _, message in site.told(uuid_of(2))] == ["maintenance"]


def test_of_two_replicas_one_lists(rig: Rig) -> None:
    """
    The other judges all the same, and takes over when the first is gone.
    """
    site = registered(rig, 2)
    nodes = FakeNodes(rig.clock, dict(site.nodes.nodes))
    other = Lister(Observer(rig.database, rig.store, nodes, rig.clock), nodes)
    for _ in range(10):
        site.lister.tick(rig.clock.now())
        other.tick(rig.clock.advance(15))
    assert (site.nodes.pages > 0, nodes.pages) == (True, 0)
    site.lister.close()
    other.tick(rig.clock.advance(31))

    assert nodes.pages == 1


def test_an_ironic_that_is_away_is_asked_again_at_its_time(rig: Rig) -> None:
    """
    Not at every tick; and then for everything.
    """
    site = registered(rig, 2)
    site.nodes.silent = True
    with pytest.raises(PeerUnavailable):
        site.lister.tick(rig.clock.now())
    site.lister.tick(rig.clock.advance(1))
    site.nodes.silent = False
    site.lister.tick(rig.clock.advance(30))

    kept = rig.database.read(lambda tx: tx.one("SELECT count(*) AS n FROM observed_nodes"))
    assert kept is not None
    assert kept["n"] == 2


def test_nodes_of_servers_that_left_are_forgotten(rig: Rig) -> None:
    """
    No row outlives the server by more than a whole listing.
    """
    site = registered(rig, 2)
    site.lister.tick(rig.clock.now())
    rig.database.transact(
        lambda tx: tx.execute("UPDATE servers SET closed = 1 WHERE uuid = ?", (uuid_of(0),)), label="t"
    )
    rig.clock.advance(600)
    site.see()

    assert [row["uuid"] for row in rig.database.read(lambda tx: tx.all("SELECT uuid FROM observed_nodes"))] == [
        uuid_of(1)
    ]
