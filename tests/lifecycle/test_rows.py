# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.events import DiskSeen, Head
from services.lifecycle.domain.instance import Instance, Interface, NetworkWish
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.plans import plan_of
from services.lifecycle.domain.server import Intent, Lease, Port, Report, Server, Tag, Wait
from services.lifecycle.ports import HardwareFacts
from services.lifecycle.rows import instance_of, instance_values, server_of, server_values

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
moments = st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 -- hypothesis adds the zone
tags = st.builds(Tag, texts, st.integers(0, 4094))
known = {str: texts, datetime: moments, Tag: tags, int: st.integers(-(2**53), 2**53), bytes: st.binary(max_size=40)}


for one, strategy in known.items():
    st.register_type_strategy(one, strategy)

kinds = st.sampled_from(IntentKind)
intents = kinds.flatmap(
    lambda kind: st.builds(
        Intent,
        id=texts,
        kind=st.just(kind),
        operation=texts,
        actor=texts,
        create_time=moments,
        step_since=moments,
        index=st.integers(0, len(plan_of(kind)) - 1),
        attempt=st.integers(1, 9),
        acted=st.booleans(),
        within=st.integers(0, 100),
        network=texts,
        request_id=texts,
        warnings=st.lists(texts, max_size=2).map(tuple),
    )
)
servers = st.builds(
    Server,
    uuid=texts,
    display_name=texts,
    state_since=moments,
    ports=st.lists(st.builds(Port, texts, texts, texts, texts), max_size=3).map(tuple),
    disks=st.lists(st.from_type(DiskSeen), max_size=2).map(tuple),
    leases=st.lists(st.from_type(Lease), max_size=2).map(tuple),
    intent=st.none() | intents,
    wait=st.none() | st.from_type(Wait),
    facts=st.none() | st.from_type(HardwareFacts),
    reported=st.none() | st.from_type(Report),
    version=st.integers(0, 2**53),
    fence=st.integers(0, 2**53),
    head=st.builds(Head, st.integers(0, 2**53), st.binary(max_size=32)),
)
instances = st.builds(
    Instance,
    networks=st.lists(st.from_type(NetworkWish), max_size=3).map(tuple),
    interfaces=st.lists(st.from_type(Interface), max_size=3).map(tuple),
    labels=st.dictionaries(texts, texts, max_size=2),
    version=st.integers(0, 2**53),
    fence=st.integers(0, 2**53),
)


@given(servers)
def test_a_server_comes_back_as_it_was_stored(server: Server) -> None:
    """
    Whatever a server holds survives its row; the claim's columns are not the server's to write.
    """
    values = server_values(server)

    assert "fence" not in values
    assert server_of({**values, "fence": server.fence}) == server


@given(instances)
def test_an_instance_comes_back_as_it_was_stored(instance: Instance) -> None:
    """
    Whatever an instance holds survives its row; its secrets and the claim's columns are not among its values.
    """
    values = instance_values(instance)

    assert not {"fence", "user_data"} & set(values)
    assert instance_of({**values, "fence": instance.fence}) == instance


@pytest.mark.parametrize(("kept", "fixed"), [("", ()), ("10.0.0.7", ("10.0.0.7",))])
def test_a_row_from_before_there_were_two_addresses(kept: str, fixed: tuple[str, ...]) -> None:
    """
    A wish had one fixed address or none, as text.
    """
    now = datetime(2026, 1, 1, tzinfo=UTC)
    wish = NetworkWish("projects/demo/networks/blue", fixed)
    wanted = Instance("projects/demo/instances/web", "demo", "flavors/f", "images/i", (wish,), now, now)
    row = instance_values(wanted)
    doc = orjson.loads(str(row["doc"]))
    doc["networks"] = [[wish.network, kept, 0]]

    assert instance_of({**row, "fence": wanted.fence, "doc": orjson.dumps(doc).decode()}) == wanted
