# SPDX-License-Identifier: Apache-2.0
"""How many events per second of a core the verifier judges, and whether four times as many cost four times as much.

The log is made of a genuine life (tests/verifier/evidence.py), told again of as many servers as it takes, hashed and
signed anew. Timed is judging it, event by event out of its bytes, as a file or a page brings them: parsing, hashing,
the invariants, every checkpoint and its signature.
"""

from __future__ import annotations

import gc
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bms.event.v1 import event_pb2
from services.kernel.names import stable_uuid
from services.verifier import chain
from services.verifier.judge import Judge
from services.verifier.verdict import Verdict
from tests.verifier.evidence import Evidence, live

RATE = 50_000
FACTOR = 4.6
"""Four times the events may cost so much: what a larger tree of heads and colder caches add is no other order."""
_EVERY = 1000
_AT_WORK = 64
"""So many servers are at work at a time, and their events interleaved."""


@dataclass(frozen=True)
class Log:
    """A log as its service publishes it; its events as bytes."""

    key: event_pb2.SigningKey
    checkpoints: Sequence[event_pb2.SignedCheckpoint]
    events: Sequence[bytes]


def retold(life: Evidence, events: int) -> Log:
    """*life*'s first server's events, of so many servers in turn that there are *events* of them."""
    stream = event_pb2.EventHeader.FromString(life.events[0].header).stream
    own = [one for one in life.events if event_pb2.EventHeader.FromString(one.header).stream == stream]
    servers = -(-events // len(own))
    names = [f"servers/{stable_uuid('bench', str(number))}" for number in range(servers)]
    heads = dict.fromkeys(names, b"")
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw()
    tree, running, previous = chain.Heads(), chain.START, b""
    told: list[bytes] = []
    checkpoints: list[event_pb2.SignedCheckpoint] = []
    for first in range(0, servers, _AT_WORK):
        for event, name in product(own, names[first : first + _AT_WORK]):
            header = event_pb2.EventHeader.FromString(event.header)
            header.stream = name
            data = header.SerializeToString(deterministic=True)
            digest = chain.event_digest(heads[name], data, event.body_digest)
            position = len(told) + 1
            told.append(
                event_pb2.StoredEvent(
                    header=data, body=event.body, body_digest=event.body_digest, previous=heads[name], digest=digest,
                    position=position,
                ).SerializeToString()
            )  # fmt: skip
            heads[name] = digest
            running = chain.running_digest(running, position, digest)
            tree.put(name, header.sequence, digest)
            if position % _EVERY == 0 or position == len(own) * servers:
                checkpoint = event_pb2.Checkpoint(
                    service="lifecycle", log="bench", number=len(checkpoints) + 1, position=position,
                    running_digest=running, heads_root=tree.root(), streams=len(tree), key_id=chain.key_id(public),
                    previous=previous,
                ).SerializeToString()  # fmt: skip
                checkpoints.append(
                    event_pb2.SignedCheckpoint(
                        checkpoint=checkpoint, key_id=chain.key_id(public),
                        signature=key.sign(chain.signed_bytes(checkpoint)),
                    )
                )  # fmt: skip
                previous = chain.checkpoint_digest(checkpoint)
    signer = event_pb2.SigningKey(
        service="lifecycle", log="bench", key_id=chain.key_id(public), public_key=public, from_number=1
    )
    return Log(signer, checkpoints, told)


def judge(log: Log) -> float:
    """Processor seconds of judging."""
    judging = Judge("lifecycle")
    judging.key(log.key)
    for checkpoint in log.checkpoints:
        judging.checkpoint(checkpoint)
    # The log is the benchmark's memory, not the verifier's.
    gc.collect()
    gc.freeze()
    began = time.process_time()
    for event in log.events:
        judging.event(event_pb2.StoredEvent.FromString(event))
    report = judging.report()
    spent = time.process_time() - began
    gc.unfreeze()
    assert report.verdict is Verdict.PASS, report.problems
    return spent


def main(counts: Sequence[str]) -> int:
    """Runs it; 1 if a promise is not kept.

    Args:
        counts: another number of events than 50,000.
    """
    small = int(counts[0]) if counts else 50_000
    with tempfile.TemporaryDirectory() as folder:
        life = live(Path(folder))
    few, many = retold(life, small), retold(life, 4 * small)
    first = min(judge(few) for _ in range(5))
    second = min(judge(many) for _ in range(3))
    rate, factor = len(few.events) / first, second / first * len(few.events) * 4 / len(many.events)
    fast, even = rate >= RATE, factor <= FACTOR
    sys.stdout.write(
        f"  {len(few.events)} events: {first:.2f} s, {len(many.events)} events: {second:.2f} s of a core\n"
        f"judged per second and core: {rate:,.0f} events (at least {RATE:,}): {'as promised' if fast else 'MISSED'}\n"
        f"four times the events: {factor:.2f} times the time (at most {FACTOR}):"
        f" {'as promised' if even else 'MISSED'}\n"
    )
    return 0 if fast and even else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
