# SPDX-License-Identifier: Apache-2.0
"""inventory with a Nova and a Glance beside it, brought together by hand."""

from __future__ import annotations

from typing import Any

from bms.inventory.v1 import catalogue_pb2
from services.inventory.backends.glance import Glance
from services.inventory.backends.nova import Nova
from services.inventory.mirror import Mirroring
from services.inventory.mirror_notes import Notes
from services.inventory.mirror_sides import Flavors, Images
from tests.inventory.fake_openstack import FakeGlance, FakeNova
from tests.inventory.rig import Rig
from tests.support.clocks import SequentialIds


class Site:
    """Both sides, and the rounds between them."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.nova = FakeNova()
        self.glance = FakeGlance()
        ids = SequentialIds("mirror")
        notes = Notes(rig.database, rig.log, ids)
        self.flavors = Mirroring(Flavors(Nova(self.nova)), notes, ids)
        self.images = Mirroring(Images(Glance(self.glance)), notes, ids)

    def round(self, times: int = 1) -> None:
        """Compares both sides, a moment later each time."""
        for _ in range(times):
            self.rig.clock.advance(30)
            self.flavors.tick(self.rig.clock.now())
            self.images.tick(self.rig.clock.now())

    def settle(self) -> None:
        """Compares until all that takes time is over."""
        for _ in range(4):
            self.round()
            self.glance.step()
        self.round()

    def flavor(self, flavor_id: str) -> catalogue_pb2.Flavor:
        """Reads a flavor."""
        request = catalogue_pb2.GetFlavorRequest(name=f"flavors/{flavor_id}")
        found: catalogue_pb2.Flavor = self.rig.ok("GetFlavor", request)
        return found

    def image(self, image_id: str) -> catalogue_pb2.Image:
        """Reads an image."""
        request = catalogue_pb2.GetImageRequest(name=f"images/{image_id}")
        found: catalogue_pb2.Image = self.rig.ok("GetImage", request)
        return found

    def names(self) -> list[str]:
        """All flavors and images."""
        flavors = self.rig.ok("ListFlavors", catalogue_pb2.ListFlavorsRequest(page_size=1000)).flavors
        images = self.rig.ok("ListImages", catalogue_pb2.ListImagesRequest(page_size=1000)).images
        return [each.name for each in (*flavors, *images)]

    def remove(self, name: str) -> None:
        """Deletes a flavor or image of ours."""
        if name.startswith("flavors/"):
            self.rig.ok("DeleteFlavor", catalogue_pb2.DeleteFlavorRequest(name=name))
        else:
            self.rig.ok("DeleteImage", catalogue_pb2.DeleteImageRequest(name=name))


def stands(found: Any) -> tuple[str, str]:
    """The state and reason of a flavor or image."""
    return catalogue_pb2.Mirror.State.Name(found.mirror.state).removeprefix("STATE_"), found.mirror.reason
