# SPDX-License-Identifier: Apache-2.0
"""Images of ours in a genuine Glance, and its own with us."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from bms.inventory.v1 import catalogue_pb2
from services.inventory.backends.glance import Glance
from services.inventory.mirror import Mirroring
from services.inventory.mirror_notes import Notes
from services.inventory.mirror_sides import Images as ImageSide
from services.runtime.database import open_database
from services.runtime.migrations import migrate
from services.runtime.openstack_sdk import Cloud
from services.runtime.secrets import Vault
from tests.inventory.fake_openstack import sha512
from tests.inventory.mirrored import stands
from tests.inventory.rig import Rig
from tests.openstack.glance import RunningGlance, running_glance
from tests.openstack.images import Images, serving
from tests.support.clocks import SequentialIds

pytestmark = [
    pytest.mark.openstack,
    pytest.mark.timeout(300),
    # Of the SDK's own parts.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"),
]

CONTENT = os.urandom(200_000)


@pytest.fixture(scope="module")
def web() -> Iterator[Images]:
    """Where Glance fetches from."""
    with serving() as found:
        yield found


@pytest.fixture(scope="module")
def genuine(web: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGlance]:
    """A genuine Glance."""
    port = int(web.url.rpartition(":")[2])
    with running_glance(tmp_path_factory.mktemp("glance"), port) as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OS_CLIENT_CONFIG_FILE", str(running.clouds))
        patch.setenv("no_proxy", "127.0.0.1")
        patch.setenv("NO_PROXY", "127.0.0.1")
        yield running


class Both:
    """Inventory and the genuine Glance."""

    def __init__(self, folder: Path) -> None:
        url = f"sqlite:///{folder / 'inventory.sqlite'}"
        migrate(url, "services.inventory")
        self.database = open_database(url)
        self.rig = Rig(self.database, Vault(folder / "data.key"))
        self.cloud = Cloud("glance", "BMS_INVENTORY_GLANCE_CLOUD").service("Glance", "image", seconds=20)
        self.glance = Glance(self.cloud)
        ids = SequentialIds(str(folder))
        self._mirror = Mirroring(ImageSide(self.glance), Notes(self.database, self.rig.log, ids), ids)

    def until(self, true: Callable[[], bool]) -> None:
        """Goes round until *true*."""
        end = time.monotonic() + 25
        while True:
            self._mirror.tick(self.rig.clock.advance(30))
            if true():
                return
            assert time.monotonic() < end, f"{self.images()}"
            time.sleep(0.2)  # Glance fetches at its own pace

    def images(self) -> dict[str, Any]:
        """All images by id."""
        found = self.rig.ok("ListImages", catalogue_pb2.ListImagesRequest(page_size=1000)).images
        return {each.name.removeprefix("images/"): each for each in found}

    def stands(self, image: str) -> tuple[str, str]:
        """The state and reason of an image; nothing if there is none."""
        found = self.images()
        return stands(found[image]) if image in found else ("", "")

    def send(self, method: str, path: str, body: object = None, content_type: str = "") -> Any:
        """Asks Glance as an operator does."""
        answer = self.cloud.send(method, path, body, content_type)
        assert answer.status < 400, answer
        return answer.body


@pytest.fixture
def both(genuine: RunningGlance, tmp_path: Path) -> Iterator[Both]:
    """Inventory beside it; what was left there goes."""
    found = Both(tmp_path)
    yield found
    for ref in found.glance.everything():
        found.glance.remove(ref)
    found.database.close()


def test_glance_fetches_our_image_and_its_hash_is_ours(both: Both, web: Images) -> None:
    """
    Made, fetched, compared, opened to all; changed; deleted with ours.
    """
    web.contents["/debian.img"] = CONTENT
    both.rig.image("debian", source_uri=f"{web.url}/debian.img", checksum=sha512(CONTENT), cpu_arch="x86_64")
    both.until(lambda: both.stands("debian") == ("MIRRORED", ""))

    ref = both.images()["debian"].mirror.remote_id
    there = both.send("GET", f"/images/{ref}")
    assert (there["os_hash_algo"], f"sha512:{there['os_hash_value']}") == ("sha512", sha512(CONTENT))
    assert (there["visibility"], there["status"], there["hw_architecture"]) == ("public", "active", "x86_64")
    change = catalogue_pb2.Image(name="images/debian", description="for all", min_local_gb=8)
    both.rig.ok("UpdateImage", catalogue_pb2.UpdateImageRequest(image=change))
    both.until(lambda: both.send("GET", f"/images/{ref}").get("description") == "for all")
    assert both.send("GET", f"/images/{ref}")["min_disk"] == 8
    both.rig.ok("DeleteImage", catalogue_pb2.DeleteImageRequest(name="images/debian"))
    both.until(lambda: both.glance.get(ref) is None)


def test_an_image_deleted_there_is_made_again_by_another_id(both: Both, web: Images) -> None:
    """
    Glance never gives an id twice.
    """
    web.contents["/again.img"] = CONTENT
    both.rig.image("again", source_uri=f"{web.url}/again.img", checksum=sha512(CONTENT))
    both.until(lambda: both.stands("again") == ("MIRRORED", ""))
    first = both.images()["again"].mirror.remote_id
    both.glance.remove(first)

    both.until(lambda: both.stands("again") == ("MIRRORED", "") and both.images()["again"].mirror.remote_id != first)
    assert len(both.glance.everything()) == 1


@pytest.mark.parametrize(
    ("path", "checksum", "why"),
    [("/other.img", sha512(b"another"), "HASH_MISMATCH"), ("/nothing.img", sha512(CONTENT), "FETCH_FAILED")],
)
def test_what_glance_fetched_wrongly_goes_again(both: Both, web: Images, path: str, checksum: str, why: str) -> None:
    """
    Ours stays ours alone, and says why.
    """
    web.contents["/other.img"] = CONTENT
    both.rig.image("bad", source_uri=web.url + path, checksum=checksum)
    both.until(lambda: both.stands("bad") == ("FAILED", why))

    both.until(lambda: not both.glance.everything())


def test_an_image_of_theirs_appears_with_its_hash_and_goes(both: Both, genuine: RunningGlance) -> None:
    """
    Not usable before it has bytes; SHA-512 as Glance keeps it; deactivated, reactivated, deleted.
    """
    made = both.send("POST", "/images", {"name": "Their Image", "disk_format": "raw", "container_format": "bare"})
    both.until(lambda: both.stands("their-image") == ("UNUSABLE", "NOT_ACTIVE"))
    url = f"{genuine.endpoint}/images/{made['id']}/file"
    session = requests.Session()
    session.trust_env = False
    session.put(url, data=CONTENT, headers={"Content-Type": "application/octet-stream"}, timeout=30).raise_for_status()
    both.until(lambda: both.stands("their-image") == ("MIRRORED", ""))
    found = both.images()["their-image"]
    assert (found.checksum, found.size_bytes) == (sha512(CONTENT), len(CONTENT))
    assert found.source_uri == f"glance://{made['id']}"
    both.send("POST", f"/images/{made['id']}/actions/deactivate")
    both.until(lambda: both.stands("their-image") == ("UNUSABLE", "DEACTIVATED"))
    both.send("POST", f"/images/{made['id']}/actions/reactivate")
    both.until(lambda: both.stands("their-image") == ("MIRRORED", ""))
    both.send("DELETE", f"/images/{made['id']}")
    both.until(lambda: not both.images())
