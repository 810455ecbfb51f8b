# SPDX-License-Identifier: Apache-2.0
"""Whatever changes on either side, in whatever order and with whatever failing: in the end both agree."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bms.inventory.v1 import catalogue_pb2
from services.runtime.database import open_database
from services.runtime.migrations import migrate
from services.runtime.openstack import Answer
from services.runtime.secrets import Vault
from tests.inventory.fake_openstack import sha512
from tests.inventory.mirrored import Site, stands
from tests.inventory.rig import Rig
from tests.support.memory import IN_MEMORY

_NAMES = st.sampled_from(["a", "b", "c"])
_CLASSES = st.sampled_from(["gold", "silver", ""])
_FAULTS = st.sampled_from([409, 500, 503, 403])
_PATHS = st.sampled_from(
    [
        *(("GET", "/flavors/detail"), ("POST", "/flavors"), ("DELETE", "/flavors/"), ("PUT", "/flavors/")),
        *(("GET", "/images"), ("POST", "/images"), ("DELETE", "/images/"), ("PATCH", "/images/")),
    ]
)


@cache
def _template() -> Path:
    """A migrated file: migrating takes a quarter of a second, copying none."""
    folder = Path(tempfile.mkdtemp(prefix="bms-mirror-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    migrate(f"sqlite:///{folder / 'template.sqlite'}", "services.inventory")
    return folder / "template.sqlite"


class Both(RuleBasedStateMachine):
    """People change both sides while rounds go on, answers fail, and lines break after the deed."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=IN_MEMORY)
        path = Path(self.folder.name)
        shutil.copyfile(_template(), path / "inventory.sqlite")
        self.database = open_database(f"sqlite:///{path / 'inventory.sqlite'}")
        self.site = Site(Rig(self.database, Vault(path / "data.key")))
        self.site.glance.web = {f"http://images/{content}": content.encode() for content in ("x", "y")}
        self.theirs: set[str] = set()

    def teardown(self) -> None:
        try:
            self.it_comes_to_rest()
        finally:
            self.database.close()
            self.folder.cleanup()

    def call(self, method: str, request: Any) -> None:
        """Calls, whether it is taken or refused."""
        self.site.rig.wire.call(method, request, caller=None)

    @rule(name=_NAMES, resource_class=_CLASSES, cpus=st.integers(0, 2))
    def make_flavor(self, name: str, resource_class: str, cpus: int) -> None:
        flavor = catalogue_pb2.Flavor(resource_class=resource_class, min_cpus=cpus)
        self.call("CreateFlavor", catalogue_pb2.CreateFlavorRequest(flavor_id=name, flavor=flavor))

    @rule(name=_NAMES, resource_class=_CLASSES, cpus=st.integers(1, 2))
    def change_flavor(self, name: str, resource_class: str, cpus: int) -> None:
        flavor = catalogue_pb2.Flavor(name=f"flavors/{name}", resource_class=resource_class, min_cpus=cpus)
        self.call("UpdateFlavor", catalogue_pb2.UpdateFlavorRequest(flavor=flavor))

    @rule(name=_NAMES)
    def drop_flavor(self, name: str) -> None:
        self.call("DeleteFlavor", catalogue_pb2.DeleteFlavorRequest(name=f"flavors/{name}"))

    @rule(name=_NAMES, content=st.sampled_from(["x", "y", "nowhere"]), sum_of=st.sampled_from(["x", "y"]))
    def make_image(self, name: str, content: str, sum_of: str) -> None:
        image = catalogue_pb2.Image(source_uri=f"http://images/{content}", checksum=sha512(sum_of.encode()))
        self.call("CreateImage", catalogue_pb2.CreateImageRequest(image_id=name, image=image))

    @rule(name=_NAMES, sum_of=st.sampled_from(["x", "y"]))
    def change_image(self, name: str, sum_of: str) -> None:
        image = catalogue_pb2.Image(name=f"images/{name}", checksum=sha512(sum_of.encode()))
        self.call("UpdateImage", catalogue_pb2.UpdateImageRequest(image=image))

    @rule(name=_NAMES)
    def drop_image(self, name: str) -> None:
        self.call("DeleteImage", catalogue_pb2.DeleteImageRequest(name=f"images/{name}"))

    @rule(name=_NAMES, metal=st.booleans())
    def they_make_a_flavor(self, name: str, metal: bool) -> None:
        if self.site.nova.named(name) is None:
            self.theirs.add(self.site.nova.add(name, extra={"resources:CUSTOM_GOLD": "1"} if metal else {}))

    @rule(name=_NAMES, content=st.sampled_from([b"x", None]))
    def they_make_an_image(self, name: str, content: bytes | None) -> None:
        self.theirs.add(self.site.glance.add(name, content, visibility="public", owner="ops"))

    @rule(data=st.data())
    def they_remove_or_bend_one(self, data: st.DataObject) -> None:
        there: list[dict[str, Any]] = [*self.site.nova.flavors.values(), *self.site.glance.images.values()]
        if not there:
            return
        one = data.draw(st.sampled_from(sorted(there, key=lambda each: str(each["id"]))))
        ref = str(one["id"])
        if data.draw(st.booleans()):
            self.theirs.discard(ref)
            if self.site.nova.flavors.pop(ref, None) is None:
                self.site.glance.serve("DELETE", ["images", ref], {}, None)
        elif "extra_specs" in one:
            one["extra_specs"]["trait:CUSTOM_BENT"] = "required"
        else:
            one["min_disk"] = 7

    @rule(path=_PATHS, status=_FAULTS)
    def an_answer_will_fail(self, path: tuple[str, str], status: int) -> None:
        fake = self.site.nova if "flavors" in path[1] else self.site.glance
        fake.answers[path] = Answer(status, {"message": "not now"})

    @rule()
    def a_round(self) -> None:
        self.site.round()

    @rule()
    def bytes_arrive(self) -> None:
        self.site.glance.step()

    @precondition(lambda self: self.theirs)
    @invariant()
    def nothing_of_theirs_is_removed(self) -> None:
        assert self.theirs <= self.site.nova.flavors.keys() | self.site.glance.images.keys()

    @rule()
    def it_comes_to_rest(self) -> None:
        """Left alone, both sides agree, and stay so."""
        site = self.site
        site.nova.answers.clear()
        site.glance.answers.clear()
        site.rig.clock.advance(3700)  # what was given up is tried once more
        for _ in range(3):
            site.settle()
        self.agree()
        told, asked = len(site.rig.events()), len(site.nova.writes()) + len(site.glance.writes())
        site.round(2)
        assert (len(site.rig.events()), len(site.nova.writes()) + len(site.glance.writes())) == (told, asked)

    def agree(self) -> None:
        """What is there is ours or theirs, each has its row, and each row what it tells of."""
        site = self.site
        rows: list[Any] = [site.flavor(name) if kind == "flavors" else site.image(name)
                for kind, name in (each.split("/") for each in site.names())]  # fmt: skip
        by_ref = {row.mirror.remote_id: row for row in rows if row.mirror.remote_id}
        metal = {
            ref for ref, each in site.nova.flavors.items()
            if any(key.startswith("resources:CUSTOM_") for key in each["extra_specs"])
        }  # fmt: skip
        assert by_ref.keys() == metal | site.glance.images.keys()
        for row in rows:
            origin = row.mirror.origin
            state, why = stands(row)
            assert (row.mirror.remote_id in self.theirs) == (origin == catalogue_pb2.Mirror.ORIGIN_THEIRS)
            if origin == catalogue_pb2.Mirror.ORIGIN_OURS:
                assert (state == "MIRRORED") == bool(row.mirror.remote_id), (state, why)
                assert state in ("MIRRORED", "FAILED")
                assert why in ("", "NAME_TAKEN", "NO_RESOURCE_CLASS", "HASH_MISMATCH", "FETCH_FAILED")
        for ref, row in by_ref.items():
            if (flavor := site.nova.flavors.get(ref)) is not None and ref not in self.theirs:
                assert (flavor["name"], flavor["vcpus"]) == (row.name.split("/")[1], max(1, row.min_cpus))
                assert "trait:CUSTOM_BENT" not in flavor["extra_specs"]
            if (image := site.glance.images.get(ref)) is not None:
                assert row.min_local_gb == image["min_disk"]
                assert row.checksum.removeprefix("sha512:") == image.get("os_hash_value", "")


TestBoth = Both.TestCase
TestBoth.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
