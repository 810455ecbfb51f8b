# SPDX-License-Identifier: Apache-2.0
"""Between two tenants' networks a port is in none, whatever is asked and whatever Contrail and others do."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.runtime.contrail import network_uuid
from services.runtime.database import open_database
from services.runtime.migrations import migrate
from tests.network.conftest import link, port, wish
from tests.network.contrail_rig import BLUE, CLEANING, DEMO, GREEN, SITES, Cloud, furnished, ok
from tests.support.contrail import FakeContrail

RED = f"projects/{SITES}/networks/red"
LOST = (("POST", "virtual-machine-interfaces"), ("DELETE", "virtual-machine-interface"), ("POST", "ref-update"))

_steps = st.one_of(
    st.tuples(st.just("attach"), st.sampled_from(["red", "blue", "both", "cleaning", "quarantine"])),
    st.tuples(st.just("read"), st.just("")),
    st.tuples(st.just("lost"), st.sampled_from(LOST)),
    st.tuples(st.just("refused"), st.tuples(st.sampled_from(LOST), st.sampled_from([400, 404, 409, 500, 503]))),
    st.tuples(st.just("moved"), st.sampled_from([RED, BLUE])),
    st.tuples(st.just("away"), st.booleans()),
    st.tuples(st.just("unplugged"), st.just("")),
)


class Watched(FakeContrail):
    """Keeps which networks are at the server's switch port, after every request."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[frozenset[str]] = []

    def handle(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        answer = super().handle(method, path, body)
        self.seen.append(self.networks())
        return answer

    def networks(self) -> frozenset[str]:
        """By the routing instance: that is what is configured, whatever the reference to the network says."""
        names = ["default-global-system-config", link().switch_name, link().switch_port]
        there = self.objects.by_name("physical-interface", names)
        found = set()
        for group in self.objects.of("virtual-port-group"):
            if there and any(ref["uuid"] == there.uuid for ref in group.body.get("physical_interface_refs") or ()):
                for ref in group.body.get("virtual_machine_interface_refs") or ():
                    for routing in self.objects.things[ref["uuid"]].body.get("routing_instance_refs") or ():
                        found.add(self.objects.things[routing["uuid"]].parent)
        return frozenset(found)


def _play(cloud: Cloud, fake: Watched, what: str, which: Any) -> None:
    if what == "attach":
        networks = {"red": (RED,), "blue": (BLUE,), "both": (BLUE, (GREEN, 9)), "cleaning": (CLEANING,)}.get(which, ())
        tenants = {"red": SITES, "blue": DEMO, "both": DEMO}
        cloud.attach(wish(0, "tenant" if which in tenants else which, *networks), project=tenants.get(which, ""))
    elif what == "read":
        cloud.read()
    elif what == "lost":
        fake.loses = which
    elif what == "refused":
        (where, status) = which
        fake.refuses[where] = (status, "no")
    elif what == "away":
        fake.away = which
    elif what == "moved" and (there := cloud.at(0)):
        body = {"virtual_network_refs": [{"to": fake.read("virtual-network", network_uuid(which))["fq_name"]}]}
        fake.do("PUT", f"/virtual-machine-interface/{there[0]['uuid']}", {"virtual-machine-interface": body})
    elif what == "unplugged":
        names = ["default-global-system-config", link().switch_name, link().switch_port]
        if found := fake.named("physical-interface", *names):
            fake.do("DELETE", f"/physical-interface/{found['uuid']}")
        fake.add("physical-interface", names)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_steps, min_size=6, max_size=30))
def test_no_port_goes_from_one_tenant_to_another(steps: list[tuple[str, Any]]) -> None:
    """
    Whatever is asked, refused, lost or changed by hand: between two tenants' networks a port was in none, and never in
    two tenants' at once. In the end the same wish, repeated, holds.
    """
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/network.sqlite"
        migrate(url, "services.network")
        database = open_database(url)
        fake = furnished(made=Watched())
        assert isinstance(fake, Watched)
        cloud = Cloud(database, Path(folder), fake)
        try:
            cloud.network(CLEANING, "cleaning")
            for name in (RED, BLUE, GREEN):
                cloud.network(name)
            ok(cloud.register(link()))
            ok(cloud.read())
            for what, which in steps:
                _play(cloud, fake, what, which)
            whose = {network_uuid(name): name.split("/")[1] for name in (RED, BLUE, GREEN)}
            tenants = [{whose.get(one, "") for one in seen} for seen in fake.seen]
            assert not [seen for seen in tenants if len(seen) > 1]
            assert not [1 for before, after in pairwise(tenants) if before and after and before != after]
            fake.away, fake.loses = False, None
            fake.refuses.clear()
            ok(cloud.attach(wish(0, "quarantine")))
            assert cloud.classes() == ["quarantine"]
            assert fake.networks() == frozenset()
            assert {attachment.name for attachment in cloud.attachments()} == {port()}
        finally:
            cloud.close()
            database.close()
