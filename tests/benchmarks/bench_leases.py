# SPDX-License-Identifier: Apache-2.0
"""How leasing keeps up as a prefix fills and as callers come, as ratios within one run.

    python -m tests.benchmarks.bench_leases [postgresql://... [held]]

The database is empty; without one, a server is started.
*held* (60000) is how full the fullest prefix is made first. Compared, slice by slice in turn:

- the verb with its event, its chain and its durable commit, in a /16 in which 100 and a third of *held* addresses are
  leased, and in a /15, which does not run out meanwhile, in which *held* are;
- beside it, with a third of *held*, the scheme that go-ipam publishes: one JSON document per prefix with all of its
  addresses, read whole, searched from the first address, written back if its version is still the one read, else tried
  again after a pause. Written anew for this comparison, from that description;
- one caller against 32, in threads of this process at the operations, and over gRPC against a service in a process of
  its own (this process is then the client, and costs as much as the service).
"""

from __future__ import annotations

import json
import logging
import random
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from ipaddress import ip_address
from pathlib import Path

import structlog

from bms.ipam.v1 import ipam_service_pb2_grpc
from services.ipam.domain.addresses import key
from services.ipam.store.rows import LEASE_COLUMNS, NEVER
from services.kernel.calls import Role
from services.kernel.clock import RandomIds
from services.runtime.database import Database, Transaction, open_database
from services.runtime.migrations import migrate
from tests.benchmarks.served import Work, compared, own_server, serving
from tests.ipam.rig import Rig, wish
from tests.ipam.test_concurrency import served

ROUNDS = 5
SECONDS = 1.5
CALLERS = 32
_FEW = 100


class Ours:
    """The servicer's method, without the wire."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.rig = Rig(database, ids=RandomIds())
        self._ids = RandomIds()

    def prefix(self, name: str, cidr: str = "10.0.0.0/16") -> str:
        """Makes a prefix in a network of its own; answers the network."""
        network = f"projects/demo/networks/{name}"
        self.rig.prefix(cidr, name, network=network)
        return network

    def fill(self, network: str, many: int) -> None:
        """Has so many addresses leased as if they had been one after the other, but for their events."""

        def rows(tx: Transaction) -> None:
            ((prefix, _),) = self.rig.servicer.store(tx).prefixes_of(network)
            first = int(prefix.cidr.network_address) + 2  # after the gateway
            tx.execute(
                "INSERT INTO addresses (vrf, address, pool, state, free_at, epoch, lease, sequence)"
                " SELECT ?, '4' || lpad(to_hex(?::bigint + number), 8, '0'), ?, 'leased', ?, 1,"
                " 'projects/demo/leases/' || gen_random_uuid(), 1 FROM generate_series(0, ?::bigint - 1) AS number",
                (prefix.vrf, first, prefix.uid, NEVER, many),
            )
            tx.execute(
                f"INSERT INTO leases ({LEASE_COLUMNS}) SELECT lease, 'demo', vrf, address, ?, '', '[]', ?, pool, ?,"
                " 'virtual_machine', lease, '', 4, '', 1, 'leased', 0, NULL, 0, '', NULL, NULL, '', ''"
                " FROM addresses WHERE pool = ?",
                (prefix.cidr.prefixlen, prefix.name, network, prefix.uid),
            )
            tx.execute(
                "UPDATE prefixes SET next_address = ?, made = ? WHERE uid = ?",
                (key(ip_address(first + many)), many, prefix.uid),
            )

        self.database.transact(rows, label="bench.fill")

    def leasing(self, network: str) -> Work:
        """Leases for one owner after the other."""

        def work(caller: int, turn: int) -> None:
            served(self.rig, "LeaseAddress", wish(self._ids.uuid(), network=network))

        return work


class Published:
    """One document per prefix, an optimistic version, a search from the first address."""

    tries, pause = 10, 0.1

    def __init__(self, database: Database, first: str, held: int) -> None:
        self.database = database
        self._first = int(ip_address(first))
        self.lost = 0
        ips = {self._text(number): True for number in range(held + 1)}
        database.transact(lambda tx: _make(tx, ips), label="bench.make")

    def _text(self, number: int) -> str:
        return socket.inet_ntoa((self._first + number).to_bytes(4, "big"))

    def acquire(self, caller: int, turn: int) -> None:
        """Takes the first address that is in nobody's name."""
        while True:
            for _ in range(self.tries):
                if self.database.transact(self._try, label="bench.acquire"):
                    return
                time.sleep(random.uniform(0, 2 * self.pause))
            self.lost += 1  # there the caller is told; here he asks again

    def _try(self, tx: Transaction) -> bool:
        row = tx.one("SELECT document, version FROM documents WHERE name = 'p'")
        if row is None:
            raise AssertionError
        document = json.loads(row["document"]) if isinstance(row["document"], str) else row["document"]
        number = 0
        while self._text(number) in document["ips"]:
            number += 1
        document["ips"][self._text(number)] = True
        changed = tx.execute(
            "UPDATE documents SET document = ?::jsonb, version = ? WHERE name = 'p' AND version = ?",
            (json.dumps(document), row["version"] + 1, row["version"]),
        )
        return bool(changed)


def _make(tx: Transaction, ips: dict[str, bool]) -> None:
    tx.execute("CREATE TABLE documents (name text PRIMARY KEY, document jsonb NOT NULL, version bigint NOT NULL)")
    tx.execute("INSERT INTO documents VALUES ('p', ?::jsonb, 0)", (json.dumps({"ips": ips}),))


def at_the_operations(url: str, held: int) -> dict[str, float]:
    """Everything but gRPC."""
    with closing(open_database(url)) as database:
        ours = Ours(database)
        third, full = ours.prefix("third"), ours.prefix("full", "10.0.0.0/15")
        ours.fill(third, held // 3)
        ours.fill(full, held)
        database.transact(lambda tx: tx.execute("ANALYZE"), label="bench.analyze")
        published = Published(database, "10.9.0.0", held // 3)
        made = 0

        def few() -> Work:
            nonlocal made
            made += 1
            network = ours.prefix(f"few-{made}")
            ours.fill(network, _FEW)
            return ours.leasing(network)

        return compared(
            {
                "few 1": (few, 1),
                "few": (few, CALLERS),
                "third 1": (lambda: ours.leasing(third), 1),
                "third": (lambda: ours.leasing(third), CALLERS),
                "full": (lambda: ours.leasing(full), CALLERS),
                "published 1": (lambda: published.acquire, 1),
                "published": (lambda: published.acquire, CALLERS),
            },
            rounds=ROUNDS,
            seconds=SECONDS,
        )


def over_the_wire(url: str) -> dict[str, float]:
    """One caller and many, over gRPC."""
    ids = RandomIds()
    with closing(open_database(url)) as database:
        network = Ours(database).prefix("wire")
    roles = {"demo": (Role.MEMBER,)}
    with tempfile.TemporaryDirectory() as folder, serving("ipam", url, Path(folder), project_roles=roles) as service:
        stub = ipam_service_pb2_grpc.IpamServiceStub(service.channel)

        def work(caller: int, turn: int) -> None:
            stub.LeaseAddress(wish(ids.uuid(), network=network), metadata=service.metadata, timeout=60)

        return compared({"rpc 1": (lambda: work, 1), "rpc": (lambda: work, CALLERS)}, rounds=ROUNDS, seconds=SECONDS)


def report(rates: dict[str, float], held: int) -> Sequence[str]:
    """The lines to print."""

    def ratio(one: str, other: str) -> str:
        return f"{rates[one] / rates[other]:6.2f}  ({rates[one]:,.0f} / {rates[other]:,.0f} a second)"

    return [
        f"with {held // 3:,} held, {CALLERS} callers, of the published scheme  {ratio('third', 'published')}",
        f"with {held // 3:,} held, one caller, of the published scheme   {ratio('third 1', 'published 1')}",
        f"with {held:,} held, of the rate with {_FEW}                 {ratio('full', 'few')}",
        f"{CALLERS} callers of one, at the operations                 {ratio('few', 'few 1')}",
        f"{CALLERS} callers of one, over gRPC                         {ratio('rpc', 'rpc 1')}",
    ]


def main() -> None:
    """Measures and prints."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    url = sys.argv[1] if len(sys.argv) > 1 else own_server()
    held = int(sys.argv[2]) if len(sys.argv) > 2 else 60000
    migrate(url, "services.ipam")
    rates = over_the_wire(url) | at_the_operations(url, held)
    sys.stdout.write("\n".join(report(rates, held)) + "\n")


if __name__ == "__main__":
    main()
