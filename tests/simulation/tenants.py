# SPDX-License-Identifier: Apache-2.0
"""What tenants do: make an instance, use it, give it back, and begin again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from bms.inventory.v1 import catalogue_pb2
from bms.lifecycle.v1 import instance_pb2
from tests.simulation.people import Person, Refused, failed, why

_SUM = "sha256:" + "5f" * 32
_TRIES = 4
_PATIENCE = 0.95
_S = instance_pb2.Instance


@dataclass(slots=True)
class Ledger:
    """What all tenants together have still to live, and what came of it.

    Attributes:
        lives: how many instances are still to be made.
        images: image -> the instance it was made for: the rack tells by it whose a disk is.
        ended: lives that went through.
        verbs: how often each verb ended well.
    """

    lives: int
    made: int = 0
    images: dict[str, str] = field(default_factory=dict)
    ended: int = 0
    verbs: dict[str, int] = field(default_factory=dict)

    def count(self, verb: str) -> None:
        """One more of these."""
        self.verbs[verb] = self.verbs.get(verb, 0) + 1


class Tenant:
    """Lives one instance after the other, until there are none left to live."""

    def __init__(self, person: Person, admin: Person, project: str, ledger: Ledger, restless: float) -> None:
        self._me = person
        self._admin = admin
        self._project = project
        self._ledger = ledger
        self._restless = restless
        self._networks = [f"projects/{project}/networks/{colour}" for colour in ("blue", "green")]

    def live(self) -> None:
        """All his lives."""
        while self._ledger.lives > 0:
            self._ledger.lives -= 1
            self._life()
            self._ledger.ended += 1

    def _life(self) -> None:
        me, chance = self._me, self._me.chance
        tries = 0
        while tries < _TRIES:
            tries += 1
            made = self._create()
            if made is None:
                continue
            name, operation = made
            if chance.random() < 0.1:
                # He changes his mind while it is being made.
                me.sim.sleep(chance.expovariate(1 / (40 * self._restless)))
                self.delete(name)
                return
            operation = me.done(operation)
            if not failed(operation):
                self._ledger.count("create")
                self.live_with(name)
                return
            self.delete(name)
            me.sim.sleep(chance.uniform(5, 60) * self._restless)
            if "servers would do now" in operation.error.message:
                # The others are being cleaned: that is no failure.
                tries -= chance.random() < _PATIENCE
                self._ledger.count("create found none")
            else:
                self._ledger.count(f"create failed: {why(operation)}")

    def live_with(self, name: str) -> None:
        """Uses an instance that there is, and gives it back."""
        for verb in self._verbs():
            self._use(name, verb)
        self.delete(name)

    def _verbs(self) -> Iterator[str]:
        chance = self._me.chance
        while chance.random() < 0.55:
            yield chance.choice(("stop", "start", "reboot", "rebuild", "rescue", "unrescue", "attach", "detach"))

    def _create(self) -> tuple[str, Any] | None:
        me, ledger = self._me, self._ledger
        ledger.made += 1
        identity = f"i{ledger.made}"
        name = f"projects/{self._project}/instances/{identity}"
        wanted = instance_pb2.Instance(
            flavor="flavors/any",
            image=self.image(name, identity),
            networks=[instance_pb2.InstanceNetwork(network=self._networks[0])],
            user_data=b"#cloud-config\n",
        )
        if me.chance.random() < 0.3:
            wanted.networks.add(network=self._networks[1], vlan_tag=me.chance.choice((0, 200)))
        request = instance_pb2.CreateInstanceRequest(
            parent=f"projects/{self._project}", instance_id=identity, instance=wanted
        )
        try:
            return name, me.call("lifecycle", "CreateInstance", request)
        except Refused as refused:
            ledger.count(f"create refused: {refused.reason}")
            me.sim.sleep(me.chance.uniform(5, 60))
            return None

    def image(self, instance: str, identity: str) -> str:
        """An image that only *instance* boots."""
        self._ledger.images[f"images/{identity}"] = instance
        image = catalogue_pb2.Image(
            source_uri="https://images.example.org/any.raw",
            checksum=_SUM,
            visibility=catalogue_pb2.Image.VISIBILITY_PUBLIC,
        )
        self._admin.call("inventory", "CreateImage", catalogue_pb2.CreateImageRequest(image_id=identity, image=image))
        return f"images/{identity}"

    def _use(self, name: str, verb: str) -> None:
        me = self._me
        request = self._request(name, verb)
        method, message = request
        try:
            operation = me.done(me.call("lifecycle", method, message))
        except Refused as refused:
            self._ledger.count(f"{verb} refused: {refused.reason}")
            return
        self._ledger.count(f"{verb} failed" if failed(operation) else verb)
        me.sim.sleep(me.chance.expovariate(1 / (20 * self._restless)))

    def _request(self, name: str, verb: str) -> tuple[str, Any]:
        network = self._me.chance.choice(self._networks)
        simple: dict[str, Callable[..., Any]] = {
            "StopInstance": instance_pb2.StopInstanceRequest,
            "StartInstance": instance_pb2.StartInstanceRequest,
            "RebootInstance": instance_pb2.RebootInstanceRequest,
            "RebuildInstance": instance_pb2.RebuildInstanceRequest,
            "RescueInstance": instance_pb2.RescueInstanceRequest,
            "UnrescueInstance": instance_pb2.UnrescueInstanceRequest,
        }
        if verb == "attach":
            wish = instance_pb2.InstanceNetwork(network=network, vlan_tag=self._me.chance.choice((0, 300)))
            return "AttachNetwork", instance_pb2.AttachNetworkRequest(name=name, network=wish)
        if verb == "detach":
            return "DetachNetwork", instance_pb2.DetachNetworkRequest(name=name, network=network)
        method = f"{verb.capitalize()}Instance"
        return method, simple[method](name=name)

    def delete(self, name: str) -> None:
        """Deletes an instance, whatever it takes."""
        me = self._me
        while True:
            try:
                operation = me.call("lifecycle", "DeleteInstance", instance_pb2.DeleteInstanceRequest(name=name))
            except Refused as refused:
                if refused.reason == "NOT_FOUND":
                    return
                if refused.reason != "BUSY":
                    raise
                # It is being deleted: an answer of ours was lost, or its request is still on its way.
                me.sim.sleep(me.chance.uniform(5, 60))
                continue
            operation = me.done(operation)
            self._ledger.count("delete failed" if failed(operation) else "delete")
            if not failed(operation):
                return
