# SPDX-License-Identifier: Apache-2.0
"""The methods of LifecycleService on the brake: in, call, out."""

# ruff: noqa: N802 -- the methods have the contract's names

from __future__ import annotations

from datetime import datetime

import grpc

from bms.lifecycle.v1 import brake_pb2
from services.kernel.errors import WrongState
from services.lifecycle.brakes import Brakes
from services.lifecycle.domain.notes import note
from services.lifecycle.domain.walk import Change
from services.lifecycle.operations.checks import short_enough
from services.lifecycle.store import Store
from services.lifecycle.wire import span, stamp
from services.runtime.context import current_call
from services.runtime.database import Database, Transaction
from services.runtime.writing import Writer

Context = grpc.ServicerContext


class BrakeMethods:
    """What LifecycleServicer serves of the brake."""

    _database: Database
    _writer: Writer
    _store: Store
    _brakes: Brakes

    def GetBrake(self, request: brake_pb2.GetBrakeRequest, context: Context) -> brake_pb2.Brake:
        """See the contract."""
        now = current_call().now
        return self._database.read(lambda tx: message(self._brakes, tx, now))

    def ReleaseBrake(self, request: brake_pb2.ReleaseBrakeRequest, context: Context) -> brake_pb2.Brake:
        """See the contract."""
        call = current_call()
        short_enough(request.reason, "reason")

        def release(tx: Transaction) -> brake_pb2.Brake:
            before = self._brakes.state(tx, call.now)
            if before.pull_time is None:
                msg = "the brake is not pulled"
                raise WrongState(msg, remedy="Nothing needs to be done.", subject="brake")
            self._brakes.release(tx, call.caller.subject, request.reason, call.now)
            server = self._store.find_server(tx, before.server)
            if server is not None and not server.closed:
                released = note(
                    server, server, "brake.released", call.now, actor=call.caller.subject, message=request.reason,
                    request_id=call.request_id, facts={"cause": before.cause, "held": str(before.held)},
                )  # fmt: skip
                self._store.write(tx, Change(server, (released,)), call.now, due=call.now)
            return message(self._brakes, tx, call.now)

        return self._writer.once(call, request, release)


def message(brakes: Brakes, tx: Transaction, now: datetime) -> brake_pb2.Brake:
    """The brake as it stands."""
    found = brakes.state(tx, now)
    return brake_pb2.Brake(
        pulled=found.pull_time is not None,
        pull_time=stamp(found.pull_time),
        server=f"servers/{found.server}" if found.server else "",
        cause=found.cause,
        backend=found.backend,
        why=found.why,
        held_count=found.held,
        quarantined_count=found.cut,
        in_use_count=found.in_use,
        allowance=found.allowance,
        window=span(brakes.policy.window),
        release_time=stamp(found.release_time),
        released_by=found.released_by,
        release_reason=found.release_reason,
    )
