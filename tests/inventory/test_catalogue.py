# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from bms.inventory.v1 import catalogue_pb2
from services.kernel.calls import Caller
from tests.inventory.rig import ADMIN, AUDITOR, DEMO, LIFECYCLE, OTHER, Rig, image
from tests.support.wire import fields, reader, reason

PUBLIC, PRIVATE, SHARED = (
    catalogue_pb2.Image.VISIBILITY_PUBLIC,
    catalogue_pb2.Image.VISIBILITY_PRIVATE,
    catalogue_pb2.Image.VISIBILITY_SHARED,
)


def test_a_flavors_life(rig: Rig) -> None:
    """
    Made, read by everybody, changed, removed, and made again: the stream goes on without a gap.
    """
    made = rig.flavor("bm.large", min_cpus=8, capabilities={"boot_mode": "uefi"})

    assert rig.ok("GetFlavor", catalogue_pb2.GetFlavorRequest(name=made.name), DEMO) == made
    change = catalogue_pb2.Flavor(name=made.name, etag=made.etag)
    changed = rig.ok(
        "UpdateFlavor",
        catalogue_pb2.UpdateFlavorRequest(flavor=change, update_mask=FieldMask(paths=["min_cpus"])),
    )
    assert (changed.min_cpus, dict(changed.capabilities)) == (0, {"boot_mode": "uefi"})
    stale = catalogue_pb2.DeleteFlavorRequest(name=made.name, etag=made.etag)
    assert reason(rig.refused("DeleteFlavor", stale).status) == "STALE"
    rig.ok("DeleteFlavor", catalogue_pb2.DeleteFlavorRequest(name=made.name, etag=changed.etag))
    assert rig.refused("GetFlavor", catalogue_pb2.GetFlavorRequest(name=made.name)).code is grpc.StatusCode.NOT_FOUND
    rig.flavor("bm.large")
    assert rig.types(made.name) == ["flavor.created", "flavor.updated", "flavor.deleted", "flavor.created"]
    assert [event.header.sequence for event in rig.events(made.name)] == [1, 2, 3, 4]


def test_flavors_have_one_name_each(rig: Rig) -> None:
    """
    A second flavor of the same id is refused, and so is an id that is none.
    """
    rig.flavor("a")

    request = catalogue_pb2.CreateFlavorRequest(flavor_id="a", flavor=catalogue_pb2.Flavor(min_cpus=1))
    assert rig.refused("CreateFlavor", request).code is grpc.StatusCode.ALREADY_EXISTS
    request.flavor_id = "No Id"
    assert fields(rig.refused("CreateFlavor", request).status) == ["flavor_id"]
    request = catalogue_pb2.CreateFlavorRequest(flavor_id="b", flavor=catalogue_pb2.Flavor(min_cpus=-1, min_disks=-2))
    assert fields(rig.refused("CreateFlavor", request).status) == ["flavor.min_cpus", "flavor.min_disks"]


def test_flavors_are_listed_by_name(rig: Rig) -> None:
    """
    Everybody lists all flavors, by pages.
    """
    for flavor_id in ("c", "a", "b"):
        rig.flavor(flavor_id)

    first = rig.ok("ListFlavors", catalogue_pb2.ListFlavorsRequest(page_size=2), DEMO)
    second = rig.ok("ListFlavors", catalogue_pb2.ListFlavorsRequest(page_token=first.next_page_token), DEMO)
    assert [each.name for each in [*first.flavors, *second.flavors]] == ["flavors/a", "flavors/b", "flavors/c"]
    assert second.next_page_token == ""


@pytest.mark.parametrize("method", ["CreateFlavor", "UpdateFlavor", "DeleteFlavor"])
def test_tenants_make_no_flavors(rig: Rig, method: str) -> None:
    """
    Flavors are the administrator's.
    """
    request: Any = {
        "CreateFlavor": catalogue_pb2.CreateFlavorRequest(flavor_id="x", flavor=catalogue_pb2.Flavor(min_cpus=1)),
        "UpdateFlavor": catalogue_pb2.UpdateFlavorRequest(flavor=catalogue_pb2.Flavor(name="flavors/x")),
        "DeleteFlavor": catalogue_pb2.DeleteFlavorRequest(name="flavors/x"),
    }[method]

    assert rig.refused(method, request, DEMO).code is grpc.StatusCode.PERMISSION_DENIED


def test_who_sees_which_image(rig: Rig) -> None:
    """
    Everybody sees public images, members their project's and those shared with it; others are not there.
    """
    rig.image("site")
    rig.image("hidden", visibility=PRIVATE)
    rig.image("mine", DEMO, project="demo")
    rig.image("lent", OTHER, project="other", visibility=SHARED, shared_projects=["demo", "third"])
    rig.image("theirs", OTHER, project="other")

    def seen(caller: Caller) -> list[str]:
        listed = rig.ok("ListImages", catalogue_pb2.ListImagesRequest(), caller).images
        for name in ("site", "hidden", "mine", "lent", "theirs"):
            request = catalogue_pb2.GetImageRequest(name=f"images/{name}")
            code = rig.wire.call("GetImage", request, caller=caller).code
            known = f"images/{name}" in [each.name for each in listed]
            assert code is (grpc.StatusCode.OK if known else grpc.StatusCode.NOT_FOUND)
        return [each.name.removeprefix("images/") for each in listed]

    assert seen(DEMO) == ["lent", "mine", "site"]
    assert seen(reader("demo")) == ["lent", "mine", "site"]
    assert seen(OTHER) == ["lent", "site", "theirs"]
    assert seen(Caller("nobody")) == ["site"]
    for caller in (ADMIN, AUDITOR, LIFECYCLE):
        assert seen(caller) == ["hidden", "lent", "mine", "site", "theirs"]


def test_with_whom_an_image_is_shared_is_its_owners_to_know(rig: Rig) -> None:
    """
    A project that may use another's image does not learn who else may.
    """
    rig.image("lent", OTHER, project="other", visibility=SHARED, shared_projects=["demo", "third"])
    request = catalogue_pb2.GetImageRequest(name="images/lent")

    assert list(rig.ok("GetImage", request, DEMO).shared_projects) == []
    assert list(rig.ok("GetImage", request, OTHER).shared_projects) == ["demo", "third"]


def test_services_ask_for_a_project(rig: Rig) -> None:
    """
    A service asks on behalf of a project and sees what that project may use; nobody else may ask so.
    """
    rig.image("theirs", OTHER, project="other")

    def get(project: str, caller: Caller) -> grpc.StatusCode:
        request = catalogue_pb2.GetImageRequest(name="images/theirs", for_project=project)
        return rig.wire.call("GetImage", request, caller=caller).code

    assert get("other", LIFECYCLE) is grpc.StatusCode.OK
    assert get("demo", LIFECYCLE) is grpc.StatusCode.NOT_FOUND
    assert get("other", OTHER) is grpc.StatusCode.PERMISSION_DENIED


def test_who_makes_which_image(rig: Rig) -> None:
    """
    Members make their project's, administrators the site's and public ones; a foreign project is refused.
    """

    def make(caller: Caller, **said: Any) -> grpc.StatusCode:
        request = catalogue_pb2.CreateImageRequest(image_id="x", image=image(**said), validate_only=True)
        return rig.wire.call("CreateImage", request, caller=caller).code

    assert make(DEMO, project="demo") is grpc.StatusCode.OK
    assert make(DEMO) is grpc.StatusCode.PERMISSION_DENIED
    assert make(DEMO, project="demo", visibility=PUBLIC) is grpc.StatusCode.PERMISSION_DENIED
    assert make(reader("demo"), project="demo") is grpc.StatusCode.PERMISSION_DENIED
    assert make(DEMO, project="other") is grpc.StatusCode.INVALID_ARGUMENT
    assert make(ADMIN, project="demo", visibility=PUBLIC) is grpc.StatusCode.OK


def test_who_changes_which_image(rig: Rig) -> None:
    """
    An image is changed and removed by its project's members; those who only use it are refused; others see none.
    """
    rig.image("mine", DEMO, project="demo", visibility=SHARED, shared_projects=["other"])

    def delete(caller: Caller) -> grpc.StatusCode:
        return rig.wire.call("DeleteImage", catalogue_pb2.DeleteImageRequest(name="images/mine"), caller=caller).code

    assert delete(OTHER) is grpc.StatusCode.PERMISSION_DENIED
    assert delete(Caller("nobody")) is grpc.StatusCode.NOT_FOUND
    change = catalogue_pb2.Image(name="images/mine", visibility=PRIVATE)
    mask = FieldMask(paths=["visibility", "shared_projects"])
    rig.ok("UpdateImage", catalogue_pb2.UpdateImageRequest(image=change, update_mask=mask), DEMO)
    assert delete(OTHER) is grpc.StatusCode.NOT_FOUND
    assert delete(DEMO) is grpc.StatusCode.OK
    assert rig.types("images/mine") == ["image.created", "image.updated", "image.deleted"]


def test_an_images_project_stands(rig: Rig) -> None:
    """
    An image does not change hands; one that a member may not make public does not become so.
    """
    rig.image("mine", DEMO, project="demo")

    change = catalogue_pb2.Image(name="images/mine", project="other")
    request = catalogue_pb2.UpdateImageRequest(image=change)
    assert fields(rig.refused("UpdateImage", request, ADMIN).status) == ["image.project"]
    change = catalogue_pb2.Image(name="images/mine", visibility=PUBLIC)
    request = catalogue_pb2.UpdateImageRequest(image=change)
    assert rig.refused("UpdateImage", request, DEMO).code is grpc.StatusCode.PERMISSION_DENIED


def test_a_login_in_an_uri_is_refused(rig: Rig) -> None:
    """
    An URI with a password in it is refused, and the refusal does not repeat it.
    """
    request = catalogue_pb2.CreateImageRequest(image_id="x", image=image(source_uri="https://u:hunter2@images/x"))

    reply = rig.refused("CreateImage", request)
    assert fields(reply.status) == ["image.source_uri"]
    assert b"hunter2" not in reply.status.SerializeToString()


def test_events_of_an_image_belong_to_its_project(rig: Rig) -> None:
    """
    An event of a project's image names the project, so that its body is hidden from others.
    """
    rig.image("mine", DEMO, project="demo")

    (event,) = rig.events("images/mine")
    assert (event.body.project, event.body.actor) == ("demo", DEMO.subject)
