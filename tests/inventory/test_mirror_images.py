# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from bms.inventory.v1 import catalogue_pb2, pool_pb2
from tests.inventory.fake_openstack import sha512
from tests.inventory.mirrored import Site, stands
from tests.inventory.rig import DEMO, HOLDER, LIFECYCLE, Rig
from tests.support.wire import member, reason

CONTENT = b"a system"
URI = "http://images/debian.qcow2"
PUBLIC, PRIVATE, SHARED = (
    catalogue_pb2.Image.VISIBILITY_PUBLIC,
    catalogue_pb2.Image.VISIBILITY_PRIVATE,
    catalogue_pb2.Image.VISIBILITY_SHARED,
)


@pytest.fixture
def site(rig: Rig) -> Site:
    found = Site(rig)
    found.glance.web[URI] = CONTENT
    return found


def test_an_image_of_ours_is_fetched_by_glance_and_compared(site: Site) -> None:
    """
    Until Glance's hash is ours it is nobody's but its owner's; then it is seen by whom we say.
    """
    site.rig.image("debian", source_uri=URI, checksum=sha512(CONTENT), min_local_gb=8, cpu_arch="x86_64")
    site.round()

    (there,) = site.glance.named("debian")
    assert (there["visibility"], there["disk_format"], there["min_disk"]) == ("private", "qcow2", 8)
    assert stands(site.image("debian")) == ("PENDING", "FETCHING")
    site.glance.step()
    site.round()
    assert (there["visibility"], there["hw_architecture"]) == ("public", "x86_64")
    assert stands(site.image("debian")) == ("MIRRORED", "")
    told, written = len(site.rig.events()), len(site.glance.writes())
    site.round(3)
    assert (len(site.rig.events()), len(site.glance.writes())) == (told, written)


def test_an_image_of_a_project_is_that_projects_there(site: Site) -> None:
    """
    Owner, sharing and its end; drift is put right.
    """
    fields: dict[str, Any] = {"project": "demo", "visibility": SHARED, "shared_projects": ["other"]}
    site.rig.image("debian", DEMO, source_uri=URI, checksum=sha512(CONTENT), **fields)
    site.settle()

    (there,) = site.glance.named("debian")
    assert (there["owner"], there["visibility"]) == ("demo", "shared")
    assert list(site.glance.members[there["id"]]) == ["other"]
    site.glance.share(there["id"], "strangers")
    there["visibility"] = "public"
    site.settle()
    assert there["visibility"] == "shared"
    assert list(site.glance.members[there["id"]]) == ["other"]


@pytest.mark.parametrize(
    ("checksum", "why"),
    [(sha512(b"other bytes"), "HASH_MISMATCH"), ("sha256:" + "ab" * 32, "HASH_OTHER")],
)
def test_bytes_that_cannot_be_held_to_our_checksum_go_again(site: Site, checksum: str, why: str) -> None:
    """
    What is there is removed, ours stays ours alone and says so; it is fetched again after an hour or a change.
    """
    site.rig.image("debian", source_uri=URI, checksum=checksum)
    site.settle()

    assert stands(site.image("debian")) == ("FAILED", why)
    assert site.glance.images == {}
    written = len(site.glance.writes())
    site.round(3)
    assert len(site.glance.writes()) == written
    change = catalogue_pb2.Image(name="images/debian", checksum=sha512(CONTENT))
    site.rig.ok("UpdateImage", catalogue_pb2.UpdateImageRequest(image=change))
    site.settle()
    assert stands(site.image("debian")) == ("MIRRORED", "")
    site.rig.ok("UpdateImage", catalogue_pb2.UpdateImageRequest(image=catalogue_pb2.Image(
        name="images/debian", checksum=sha512(b"new"), source_uri="http://images/new"
    )))  # fmt: skip
    site.glance.web["http://images/new"] = b"new"
    site.settle()
    (there,) = site.glance.images.values()
    assert there["os_hash_value"] == sha512(b"new").removeprefix("sha512:")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"source_uri": "file:///images/debian"}, "NOT_FETCHABLE"),
        ({"source_uri": "http://images/nothing"}, "FETCH_FAILED"),
        (
            {
                "type": catalogue_pb2.Image.TYPE_PARTITION,
                **{f"{part}_uri": "http://images/part" for part in ("kernel", "ramdisk")},
                **{f"{part}_checksum": sha512(b"part") for part in ("kernel", "ramdisk")},
            },
            "KERNEL_ELSEWHERE",
        ),
    ],
)
def test_what_glance_cannot_have_stays_ours_alone(site: Site, fields: dict[str, Any], why: str) -> None:
    """
    It can be used with us, and says why it is not there.
    """
    site.rig.image("debian", **{"source_uri": URI, "checksum": sha512(CONTENT), **fields})
    site.settle()

    assert stands(site.image("debian")) == ("FAILED", why)
    assert site.glance.images == {}
    got = site.rig.ok("GetImage", catalogue_pb2.GetImageRequest(name="images/debian", for_project="demo"), LIFECYCLE)
    assert got.checksum == sha512(CONTENT)


def test_a_glance_that_fetches_nothing_is_told(site: Site) -> None:
    """
    And asked again: what it can do may change.
    """
    site.glance.methods = ["glance-direct"]
    site.rig.image("debian", source_uri=URI, checksum=sha512(CONTENT))
    site.round(2)
    assert (stands(site.image("debian")), site.glance.writes()) == (("FAILED", "NO_WEB_DOWNLOAD"), [])

    site.glance.methods = ["web-download"]
    site.settle()
    assert stands(site.image("debian")) == ("MIRRORED", "")


def test_an_image_of_ours_that_was_deleted_there_is_made_again(site: Site) -> None:
    """
    By another id: Glance never takes one twice.
    """
    site.rig.image("debian", source_uri=URI, checksum=sha512(CONTENT))
    site.settle()
    (first,) = site.glance.images
    site.glance.serve("DELETE", ["images", first], {}, None)

    site.settle()
    (second,) = site.glance.images
    assert (first != second, site.image("debian").mirror.remote_id) == (True, second)


def test_an_image_that_was_hidden_is_not_made_twice(site: Site) -> None:
    """
    A hidden image is in no list, and there all the same.
    """
    site.rig.image("debian", source_uri=URI, checksum=sha512(CONTENT))
    site.settle()
    (there,) = site.glance.images.values()
    there["os_hidden"] = True

    site.settle()
    assert len(site.glance.images) == 1
    assert stands(site.image("debian")) == ("MIRRORED", "")


def test_who_deactivates_an_image_of_ours_is_heeded(site: Site) -> None:
    """
    It is not activated again, and nobody writes it to a server meanwhile.
    """
    site.rig.image("debian", source_uri=URI, checksum=sha512(CONTENT))
    site.settle()
    (there,) = site.glance.images.values()
    there["status"] = "deactivated"
    site.round()

    assert (stands(site.image("debian")), there["status"]) == (("UNUSABLE", "DEACTIVATED"), "deactivated")
    request = catalogue_pb2.GetImageRequest(name="images/debian", for_project="demo")
    assert reason(site.rig.refused("GetImage", request, LIFECYCLE).status) == "WRONG_STATE"
    there["status"] = "active"
    site.round()
    site.rig.ok("GetImage", request, LIFECYCLE)


def test_a_protected_image_stays_until_it_is_not(site: Site) -> None:
    """
    Ours is deleted here at once and there when it can be; meanwhile it does not come back as theirs.
    """
    site.rig.image("debian", source_uri=URI, checksum=sha512(CONTENT))
    site.settle()
    (there,) = site.glance.images.values()
    there["protected"] = True
    site.remove("images/debian")
    site.round(2)
    assert (site.names(), len(site.glance.images)) == ([], 1)

    there["protected"] = False
    site.round()
    assert site.glance.images == {}


def test_images_of_theirs_appear_to_whom_they_are_there(site: Site) -> None:
    """
    Public, a project's own, shared with who accepted; community ones are their owner's.
    """
    everybody = site.glance.add("Everybody", visibility="public", owner="ops")
    site.glance.add("mine", visibility="private", owner="demo")
    shared = site.glance.add("shared", visibility="shared", owner="demo")
    site.glance.share(shared, "accepted")
    site.glance.share(shared, "asked", "pending")
    site.glance.add("community", visibility="community", owner="demo")
    site.round()

    seen = {
        project: [
            each.name.removeprefix("images/")
            for each in site.rig.ok("ListImages", catalogue_pb2.ListImagesRequest(), member(project)).images
        ]
        for project in ("demo", "accepted", "asked")
    }
    assert seen == {
        "demo": ["community", "everybody", "mine", "shared"],
        "accepted": ["everybody", "shared"],
        "asked": ["everybody"],
    }
    found = site.image("everybody")
    assert (found.source_uri, found.checksum) == (f"glance://{everybody}", sha512(b"image"))
    assert (found.size_bytes, found.mirror.origin) == (5, catalogue_pb2.Mirror.ORIGIN_THEIRS)
    assert not site.glance.writes()


def test_an_image_of_theirs_follows_and_is_read_only(site: Site) -> None:
    """
    Even its owner changes it there: renamed, closed, deactivated, deleted.
    """
    ref = site.glance.add("web", visibility="public", owner="demo")
    site.round()
    delete = catalogue_pb2.DeleteImageRequest(name="images/web")
    assert reason(site.rig.refused("DeleteImage", delete, DEMO).status) == "WRONG_STATE"

    site.glance.images[ref] |= {"name": "web 2", "visibility": "private", "status": "deactivated"}
    site.round()
    found = site.image("web")
    assert (found.visibility, found.mirror.remote_name) == (PRIVATE, "web 2")
    assert stands(found) == ("UNUSABLE", "DEACTIVATED")
    del site.glance.images[ref]
    site.round()
    assert site.names() == []


@pytest.mark.parametrize("content", [None, b"x"])
def test_an_image_without_bytes_or_hash_is_shown_and_not_used(site: Site, content: bytes | None) -> None:
    """
    Nothing that could not be compared afterwards is ever written to a server.
    """
    ref = site.glance.add("early", content, visibility="public", owner="ops")
    if content:
        site.glance.images[ref] |= {"os_hash_algo": None, "os_hash_value": None}
    site.rig.flavor("any")
    site.rig.available(1)
    site.round()

    assert stands(site.image("early")) == ("UNUSABLE", "NO_HASH" if content else "NOT_ACTIVE")
    order = pool_pb2.ReserveServersRequest(holder=HOLDER, flavor="flavors/any", image="images/early")
    assert reason(site.rig.refused("ReserveServers", order, LIFECYCLE).status) == "WRONG_STATE"


def test_an_image_of_theirs_that_is_used_stays_until_it_is_not(site: Site) -> None:
    """
    As with flavors.
    """
    ref = site.glance.add("web", visibility="public", owner="ops")
    site.rig.flavor("any")
    site.rig.available(1)
    site.round()
    site.rig.reserve(image="images/web")

    del site.glance.images[ref]
    site.round(2)
    assert stands(site.image("web")) == ("GONE", "GONE")
    site.rig.release(HOLDER)
    site.round()
    assert site.names() == ["flavors/any"]


def test_a_glance_that_is_away_loses_nothing(site: Site) -> None:
    """
    What was begun goes on when it is back.
    """
    site.rig.image("debian", source_uri=URI, checksum=sha512(CONTENT))
    site.round()
    site.glance.away = True
    site.round(2)
    assert stands(site.image("debian")) == ("PENDING", "PEER_UNAVAILABLE")

    site.glance.away = False
    site.settle()
    assert stands(site.image("debian")) == ("MIRRORED", "")
    assert len(site.glance.images) == 1
