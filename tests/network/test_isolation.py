# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.runtime.database import open_database
from services.runtime.migrations import migrate
from services.simulated import control
from tests.network.conftest import SERVER, Site, link, port, wish

RED, BLUE, CLEANING = "projects/red/networks/a", "projects/blue/networks/a", "projects/site/networks/cleaning"
FAULTS = ("switch-lags", "switch-lies", "switch-read-fails", "switch-write-fails")

_steps = st.one_of(
    st.tuples(st.just("attach"), st.sampled_from(["red", "blue", "cleaning", "quarantine"])),
    st.tuples(st.just("read"), st.just("")),
    st.tuples(st.just("fault"), st.sampled_from(FAULTS)),
    st.tuples(st.just("mend"), st.just("")),
    st.tuples(st.just("wait"), st.just("")),
)


def _play(site: Site, what: str, which: str) -> None:
    if what == "attach":
        networks = {"red": (RED,), "blue": (BLUE,), "cleaning": (CLEANING,)}.get(which, ())
        port_class = "tenant" if which in {"red", "blue"} else which
        site.attach(wish(0, port_class, *networks), project=which if port_class == "tenant" else "")
    elif what == "read":
        site.read()
    elif what == "fault":
        site.fault(which, count=2, seconds=3 if which == "switch-lags" else None)
    elif what == "mend":
        control.clear(site.rack)
    else:
        site.clock.advance(5)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_steps, min_size=6, max_size=30))
def test_no_port_goes_from_one_tenant_to_another(steps: list[tuple[str, str]]) -> None:
    """
    Whatever is asked, in whatever order, whatever the switches do: between two tenants' networks a port was in none.

    The witness is the rack itself, and neither what network recorded nor what it was told.
    """
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/network.sqlite"
        migrate(url, "services.network")
        database = open_database(url)
        site = Site(database, Path(folder))
        try:
            site.private()
            site.network(RED, vlan=200)
            site.network(BLUE, vlan=300)
            site.register(link())
            site.read()
            for what, which in steps:
                _play(site, what, which)
            plug = f"{link().switch_name}/{link().switch_port}"
            book = control.witness(site.rack, site.clock.now(), server=SERVER)
            seen = [line.vlans.get(plug, ()) for line in book]
            tenants = [vlans for vlans in seen if not set(vlans) & {12}]
            assert {(200,), (300,)} not in [{before, after} for before, after in pairwise(tenants)]
            assert {attachment.name for attachment in site.attachments()} == {port()}
        finally:
            site.close()
            database.close()
