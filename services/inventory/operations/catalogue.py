# SPDX-License-Identifier: Apache-2.0
"""Flavors and images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from services.inventory.domain import flavor as flavors
from services.inventory.domain import image as images
from services.inventory.domain.checks import Checks
from services.inventory.domain.flavor import Flavor, FlavorSpec
from services.inventory.domain.image import Image, ImageSpec
from services.inventory.domain.mirror import refuse_change, refuse_use
from services.inventory.operations.events import event, values
from services.inventory.operations.ports import Catalogue, Fresh
from services.kernel.calls import Call, Role
from services.kernel.errors import Forbidden, InvalidField, NotFound
from services.kernel.names import FLAVOR, IMAGE, new_id

_NOVA, _GLANCE = "Nova", "Glance"


def get_flavor(rows: Catalogue, flavor_id: str) -> Flavor:
    """The flavor.

    Raises:
        NotFound: there is none.
    """
    return _flavor(rows.flavor(flavor_id), flavor_id)


def flavor_for(rows: Catalogue, flavor_id: str) -> Flavor:
    """The flavor, if servers may be reserved by it.

    Raises:
        NotFound: there is none.
        WrongState: it was made in Nova, and is gone there or not usable.
    """
    flavor = get_flavor(rows, flavor_id)
    refuse_use(flavor.mirror, flavor.name, _NOVA)
    return flavor


def create_flavor(rows: Catalogue, call: Call, flavor_id: str, spec: FlavorSpec) -> Flavor:
    """Makes a flavor.

    Raises:
        InvalidFields: its id or a constraint is malformed.
        AlreadyExists: there is one with this id.
    """
    flavor = Flavor(new_id(flavor_id, "flavor_id"), _checked_flavor(spec), call.now, call.now)
    told = event(call, flavor.name, "flavor.created", facts=values(FlavorSpec(), flavor.spec))
    flavor = replace(flavor, sequence=rows.record(told, rows.last(flavor.name)))
    rows.insert_flavor(flavor)
    return flavor


def update_flavor(
    rows: Catalogue, call: Call, flavor_id: str, fresh: Fresh, change: Callable[[Flavor], FlavorSpec]
) -> Flavor:
    """Changes a flavor to what *change* makes of it.

    Raises:
        NotFound: there is none.
        WrongState: it was made in Nova.
        Stale: it is not the version that the caller saw.
        InvalidFields: the outcome is malformed.
    """
    before = _flavor(rows.flavor_for_change(flavor_id), flavor_id)
    refuse_change(before.mirror, before.name, _NOVA)
    fresh(before.sequence, before.name)
    spec = _checked_flavor(change(before))
    if spec == before.spec:
        return before
    told = event(call, before.name, "flavor.updated", facts=values(before.spec, spec))
    after = replace(before, spec=spec, update_time=call.now, sequence=rows.record(told, before.sequence))
    rows.save_flavor(before, after)
    return after


def delete_flavor(rows: Catalogue, call: Call, flavor_id: str, fresh: Fresh) -> None:
    """Removes a flavor.

    Raises:
        NotFound: there is none.
        WrongState: it was made in Nova.
        Stale: it is not the version that the caller saw.
    """
    before = _flavor(rows.flavor_for_change(flavor_id), flavor_id)
    refuse_change(before.mirror, before.name, _NOVA)
    fresh(before.sequence, before.name)
    rows.record(event(call, before.name, "flavor.deleted"), before.sequence)
    rows.remove_flavor(before)


def get_image(rows: Catalogue, image_id: str) -> Image:
    """The image, whosever it is.

    Raises:
        NotFound: there is none.
    """
    image = rows.image(image_id)
    if image is None:
        raise images.unknown(IMAGE.format(image_id))
    return image


def image_for(rows: Catalogue, image_id: str, project: str) -> Image:
    """The image, if *project* may use it.

    Raises:
        NotFound: there is none, or not for this project.
        WrongState: it was made in Glance, and is gone there or not usable.
    """
    image = get_image(rows, image_id)
    if not image.usable_by(project):
        raise images.unknown(image.name)
    refuse_use(image.mirror, image.name, _GLANCE)
    return image


def see_image(rows: Catalogue, call: Call, image_id: str, for_project: str) -> Image:
    """The image, if the caller may know of it.

    Args:
        for_project: services ask for a project, and see what it may use.

    Raises:
        NotFound: there is none, or not for him.
        Forbidden: he asks for a project and is no service.
    """
    if for_project:
        if not call.caller.site_roles & {Role.ADMIN, Role.SERVICE}:
            msg = "for_project is for services"
            raise Forbidden(msg, remedy="Leave for_project empty: you see the images that you may use.")
        return image_for(rows, image_id, new_id(for_project, "for_project"))
    image = get_image(rows, image_id)
    if not image.visible_to(call.caller):
        raise images.unknown(image.name)
    return image


def create_image(rows: Catalogue, call: Call, image_id: str, spec: ImageSpec) -> Image:
    """Registers an image.

    Raises:
        InvalidFields: its id or a field is malformed.
        Forbidden: the caller may not have such an image.
        AlreadyExists: there is one with this id.
    """
    spec = _checked_image(spec)
    refused = images.may_have(spec, call.caller)
    if refused is not None:
        raise refused
    image = Image(new_id(image_id, "image_id"), spec, call.now, call.now)
    told = event(call, image.name, "image.created", project=spec.project, facts=values(ImageSpec(), spec))
    image = replace(image, sequence=rows.record(told, rows.last(image.name)))
    rows.insert_image(image)
    return image


def update_image(
    rows: Catalogue, call: Call, image_id: str, fresh: Fresh, change: Callable[[Image], ImageSpec]
) -> Image:
    """Changes an image to what *change* makes of it.

    Raises:
        NotFound: there is none, or not for the caller.
        Forbidden: he may not change it, or not so.
        WrongState: it was made in Glance.
        Stale: it is not the version that he saw.
        InvalidFields: the outcome is malformed.
    """
    before = _image_to_change(rows, call, image_id)
    fresh(before.sequence, before.name)
    spec = _checked_image(change(before))
    if spec.project != before.spec.project:
        field, description = "image.project", "cannot change"
        raise InvalidField(field, description, remedy="Make another image for the other project, or share this one.")
    if spec == before.spec:
        return before
    if (spec.visibility is not before.spec.visibility) and (refused := images.may_have(spec, call.caller)):
        raise refused
    told = event(call, before.name, "image.updated", project=spec.project, facts=values(before.spec, spec))
    after = replace(before, spec=spec, update_time=call.now, sequence=rows.record(told, before.sequence))
    rows.save_image(before, after)
    return after


def delete_image(rows: Catalogue, call: Call, image_id: str, fresh: Fresh) -> None:
    """Removes an image.

    Raises:
        NotFound: there is none, or not for the caller.
        Forbidden: he may not remove it.
        WrongState: it was made in Glance.
        Stale: it is not the version that he saw.
    """
    before = _image_to_change(rows, call, image_id)
    fresh(before.sequence, before.name)
    rows.record(event(call, before.name, "image.deleted", project=before.spec.project), before.sequence)
    rows.remove_image(before)


def _image_to_change(rows: Catalogue, call: Call, image_id: str) -> Image:
    image = rows.image_for_change(image_id)
    if image is None:
        raise images.unknown(IMAGE.format(image_id))
    refused = images.may_change(image, call.caller)
    if refused is not None:
        raise refused
    refuse_change(image.mirror, image.name, _GLANCE)
    return image


def _flavor(flavor: Flavor | None, flavor_id: str) -> Flavor:
    if flavor is None:
        name = FLAVOR.format(flavor_id)
        msg = f"{name} does not exist"
        raise NotFound(msg, remedy="List flavors with ListFlavors (`bms flavor list`).", name=name)
    return flavor


def _checked_flavor(spec: FlavorSpec) -> FlavorSpec:
    checks = Checks()
    spec = flavors.checked(spec, checks)
    checks.raise_for("flavor.")
    return spec


def _checked_image(spec: ImageSpec) -> ImageSpec:
    checks = Checks()
    spec = images.checked(spec, checks)
    checks.raise_for("image.")
    return spec
