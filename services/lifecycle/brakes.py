# SPDX-License-Identifier: Apache-2.0
"""The brake's books: what was found of servers in use, and whether the brake is pulled.

Every function runs in the caller's transaction, which also writes the server; on PostgreSQL the brake's row is locked
first, so that two workers cannot each allow the last one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from services.lifecycle.domain.brake import Allowed, Held, Policy, Sign, Verdict, objection
from services.lifecycle.domain.server import Server
from services.runtime.database import Transaction
from services.runtime.times import from_micros, to_micros


@dataclass(frozen=True, slots=True)
class BrakeState:
    """How the brake stands.

    Attributes:
        pull_time: when it was pulled; None: it is not.
        server: the UUID of the server whose finding pulled it last; "" if it never was.
        cause, backend, why: what pulled it.
        held: how many servers it holds now.
        cut: how many were set aside by themselves in the last window.
        in_use: how many servers instances hold.
        allowance: how many of those may be set aside in one window.
        release_time, released_by, release_reason: the last release.
    """

    pull_time: datetime | None
    server: str
    cause: str
    backend: str
    why: str
    held: int
    cut: int
    in_use: int
    allowance: int
    release_time: datetime | None
    released_by: str
    release_reason: str


@dataclass(frozen=True, slots=True)
class Brakes:
    """Asks, reads and releases the brake."""

    policy: Policy = field(default_factory=Policy)

    def may_quarantine(self, tx: Transaction, server: Server, cause: str, backend: str, now: datetime) -> Verdict:
        """Whether *server*, which an instance holds, may be set aside by itself for *cause*; counts it if so.

        Pulls the brake if this is one too many.
        """
        return self.ask(tx, Sign(server.uuid, cause, backend, now, cut=True))

    def ask(self, tx: Transaction, sign: Sign) -> Verdict:
        """What the brake says to *sign*, which is remembered."""
        lock = " FOR UPDATE" if tx.dialect == "postgresql" else ""
        row = tx.one(f"SELECT pull_time, why FROM brake WHERE id = 1{lock}")
        since = to_micros(sign.time - self.policy.window)
        tx.execute("DELETE FROM brake_signs WHERE time <= ?", (since,))
        pulled = row is not None and row["pull_time"] is not None
        why = row["why"] if row is not None and pulled else self._objection(tx, sign)
        acted = sign.cut and not why
        tx.execute(
            "INSERT INTO brake_signs (server, cause, backend, time, wanted, cut) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (server, cause) DO UPDATE SET backend = excluded.backend, wanted = excluded.wanted,"
            " cut = excluded.cut",
            (sign.server, sign.cause, sign.backend, to_micros(sign.time), int(sign.cut), int(acted)),
        )
        if not why:
            return Allowed()
        if not pulled:
            tx.execute(
                "UPDATE brake SET pull_time = ?, server = ?, cause = ?, backend = ?, why = ? WHERE id = 1",
                (to_micros(sign.time), sign.server, sign.cause, sign.backend, why),
            )
        return Held(why, pulls=not pulled)

    def is_pulled(self, tx: Transaction) -> bool:
        """Whether it is pulled."""
        row = tx.one("SELECT pull_time FROM brake WHERE id = 1")
        return row is not None and row["pull_time"] is not None

    def state(self, tx: Transaction, now: datetime) -> BrakeState:
        """How the brake stands at *now*."""
        row = tx.one("SELECT * FROM brake WHERE id = 1")
        assert row is not None  # the migration makes it
        in_use = _in_use(tx)
        since = to_micros(now - self.policy.window)
        cut = tx.one("SELECT count(DISTINCT server) AS n FROM brake_signs WHERE cut = 1 AND time > ?", (since,))
        held = tx.one("SELECT count(*) AS n FROM servers WHERE closed = 0 AND wait_code = 'BRAKE_PULLED'")
        return BrakeState(
            pull_time=_time(row["pull_time"]),
            server=row["server"],
            cause=row["cause"],
            backend=row["backend"],
            why=row["why"],
            held=int(held["n"]) if held else 0,
            cut=int(cut["n"]) if cut else 0,
            in_use=in_use,
            allowance=self.policy.allowance(in_use),
            release_time=_time(row["release_time"]),
            released_by=row["released_by"],
            release_reason=row["release_reason"],
        )

    def release(self, tx: Transaction, who: str, reason: str, now: datetime) -> None:
        """Releases the brake: counting begins anew, and every server it held is looked at again at once."""
        tx.execute(
            "UPDATE brake SET pull_time = NULL, release_time = ?, released_by = ?, release_reason = ? WHERE id = 1",
            (to_micros(now), who, reason),
        )
        tx.execute("DELETE FROM brake_signs")
        tx.execute("UPDATE servers SET due = ? WHERE closed = 0 AND wait_code = 'BRAKE_PULLED'", (to_micros(now),))

    def _objection(self, tx: Transaction, sign: Sign) -> str:
        rows = tx.all("SELECT server, cause, backend, time, wanted FROM brake_signs")
        signs = [
            Sign(one["server"], one["cause"], one["backend"], from_micros(one["time"]), cut=bool(one["wanted"]))
            for one in rows
        ]
        return objection(signs, sign, _in_use(tx), self.policy)


def _in_use(tx: Transaction) -> int:
    row = tx.one("SELECT count(*) AS n FROM servers WHERE closed = 0 AND instance <> ''")
    return int(row["n"]) if row else 0


def _time(micros: int | None) -> datetime | None:
    return from_micros(micros) if micros is not None else None
