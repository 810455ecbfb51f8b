# SPDX-License-Identifier: Apache-2.0
"""Tenants who want more servers than there are, and change their minds faster than anything can follow."""

from __future__ import annotations

from collections.abc import Callable

from google.longrunning import operations_pb2

from bms.lifecycle.v1 import instance_pb2
from tests.races.calling import Caller, Refused

MOST = 2
"""How many instances each wants at a time."""

_VERBS = ("stop", "start", "reboot", "rebuild", "rescue", "unrescue", "attach", "detach")
_STATE = instance_pb2.Instance
_FITTING = {
    _STATE.STATE_ACTIVE: ("stop", "reboot", "rebuild", "rescue", "attach", "detach"),
    _STATE.STATE_STOPPED: ("start",),
    _STATE.STATE_RESCUED: ("unrescue",),
}
_SIMPLE = {
    "StopInstance": instance_pb2.StopInstanceRequest,
    "StartInstance": instance_pb2.StartInstanceRequest,
    "RebootInstance": instance_pb2.RebootInstanceRequest,
    "RebuildInstance": instance_pb2.RebuildInstanceRequest,
    "RescueInstance": instance_pb2.RescueInstanceRequest,
    "UnrescueInstance": instance_pb2.UnrescueInstanceRequest,
}


class Tenant:
    """One of a project's callers.

    Args:
        number: of his process: instance names are his own.
    """

    def __init__(self, caller: Caller, project: str, number: int) -> None:
        self._me = caller
        self._project = project
        self._prefix = f"p{number}"
        self._made = 0
        self._mine: dict[str, str] = {}

    def live(self, goes_on: Callable[[], bool]) -> None:
        """Asks and asks, until *goes_on* says no."""
        chance = self._me.chance
        while goes_on():
            try:
                if len(self._mine) < MOST and chance.random() < 0.5:
                    self._create()
                elif self._mine:
                    self._use(chance.choice(sorted(self._mine)))
            except Refused:
                # The book has it.
                continue

    def leave(self) -> None:
        """Gives everything back."""
        for name in sorted(self._mine):
            while self._mine.get(name):
                self._delete(name, 30)

    def _create(self) -> None:
        me = self._me
        self._made += 1
        identity = f"{self._prefix}-{self._made}"
        wanted = instance_pb2.Instance(
            flavor="flavors/any",
            image=f"images/{self._project}",
            networks=[instance_pb2.InstanceNetwork(network=f"projects/{self._project}/networks/blue")],
        )
        if me.chance.random() < 0.3:
            wanted.networks.add(network=f"projects/{self._project}/networks/green", vlan_tag=200)
        request = instance_pb2.CreateInstanceRequest(
            parent=f"projects/{self._project}", instance_id=identity, instance=wanted
        )
        name = f"{request.parent}/instances/{identity}"
        self._mine[name] = "asked"
        operation = me.call("lifecycle", "CreateInstance", request)
        if me.chance.random() < 0.8 and self._wait(operation, 10).HasField("error"):
            self._delete(name, 10)

    def _use(self, name: str) -> None:
        me = self._me
        if me.chance.random() < 0.15:
            self._delete(name, 10)
            return
        found = me.call("lifecycle", "GetInstance", instance_pb2.GetInstanceRequest(name=name))
        if found.state in (_STATE.STATE_ERROR, _STATE.STATE_DELETING):
            self._delete(name, 10)
            return
        fitting = _FITTING.get(found.state, _VERBS) if me.chance.random() < 0.8 else _VERBS
        method, request = self._request(name, me.chance.choice(fitting))
        operation = me.call("lifecycle", method, request)
        if me.chance.random() < 0.7:
            self._wait(operation, 5)

    def _wait(self, operation: operations_pb2.Operation, seconds: float) -> operations_pb2.Operation:
        operation = self._me.done(operation, seconds)
        verb = operation.metadata.type_url.rpartition("/")[2]
        how = "under way" if not operation.done else "failed" if operation.HasField("error") else "ended"
        self._me.book.counts[f"{verb} {how}"] += 1
        return operation

    def _delete(self, name: str, seconds: float) -> None:
        me = self._me
        try:
            self._wait(me.call("lifecycle", "DeleteInstance", instance_pb2.DeleteInstanceRequest(name=name)), seconds)
        except Refused as refused:
            # Also while an administrator recovers the server, who took it from the instance.
            if refused.reason not in ("NOT_FOUND", "BUSY", "WRONG_STATE"):
                raise
        try:
            me.call("lifecycle", "GetInstance", instance_pb2.GetInstanceRequest(name=name))
        except Refused as refused:
            if refused.reason != "NOT_FOUND":
                raise
            del self._mine[name]

    def _request(self, name: str, verb: str):  # type: ignore[no-untyped-def]  # a method and its request, of any kind
        me = self._me
        network = f"projects/{self._project}/networks/{me.chance.choice(('blue', 'green'))}"
        if verb == "attach":
            wish = instance_pb2.InstanceNetwork(network=network, vlan_tag=me.chance.choice((0, 300)))
            return "AttachNetwork", instance_pb2.AttachNetworkRequest(name=name, network=wish)
        if verb == "detach":
            return "DetachNetwork", instance_pb2.DetachNetworkRequest(name=name, network=network)
        method = f"{verb.capitalize()}Instance"
        return method, _SIMPLE[method](name=name)
