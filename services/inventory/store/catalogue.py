# SPDX-License-Identifier: Apache-2.0
"""The tables flavors, images and image_shares."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from services.inventory.domain.flavor import Flavor, FlavorSpec
from services.inventory.domain.image import Image, ImageSpec, ImageType, Visibility
from services.inventory.store.journal import Journal
from services.kernel.calls import Caller, Role
from services.kernel.errors import AlreadyExists, Busy
from services.kernel.pages import Page, PageRequest
from services.runtime.database import Row, Transaction
from services.runtime.eventlog import EventLog
from services.runtime.times import from_micros, to_micros


class CatalogueRows(Journal):
    """See `services.inventory.operations.ports.Catalogue`."""

    def __init__(self, tx: Transaction, log: EventLog) -> None:
        super().__init__(tx, log)
        self._lock = " FOR UPDATE" if tx.dialect == "postgresql" else ""

    def flavor(self, flavor_id: str) -> Flavor | None:
        """The flavor; None if there is none."""
        row = self._tx.one("SELECT * FROM flavors WHERE id = ?", (flavor_id,))
        return _flavor(row) if row else None

    def flavor_for_change(self, flavor_id: str) -> Flavor | None:
        """As `flavor`; nobody else changes it until this transaction ends."""
        row = self._tx.one(f"SELECT * FROM flavors WHERE id = ?{self._lock}", (flavor_id,))
        return _flavor(row) if row else None

    def flavors(self) -> Mapping[str, Flavor]:
        """All flavors by id."""
        return {row["id"]: _flavor(row) for row in self._tx.all("SELECT * FROM flavors ORDER BY id")}

    def flavor_page(self, page: PageRequest) -> Page[Flavor]:
        """One page of flavors, by id."""
        rows = self._tx.all("SELECT * FROM flavors WHERE id > ? ORDER BY id LIMIT ?", (page.after, page.size + 1))
        flavors = [_flavor(row) for row in rows[: page.size]]
        return Page(flavors, flavors[-1].id if len(rows) > page.size else "")

    def insert_flavor(self, flavor: Flavor) -> None:
        """Adds a flavor."""
        added = self._tx.execute(
            "INSERT INTO flavors (id, sequence, body, create_time, update_time) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            (
                flavor.id,
                flavor.sequence,
                _json(flavor.spec),
                to_micros(flavor.create_time),
                to_micros(flavor.update_time),
            ),
        )
        if not added:
            raise _exists(flavor.name)

    def save_flavor(self, before: Flavor, after: Flavor) -> None:
        """Writes *after* over *before*."""
        changed = self._tx.execute(
            "UPDATE flavors SET sequence = ?, body = ?, update_time = ? WHERE id = ? AND sequence = ?",
            (after.sequence, _json(after.spec), to_micros(after.update_time), before.id, before.sequence),
        )
        if not changed:
            raise _busy(before.name)

    def remove_flavor(self, flavor: Flavor) -> None:
        """Removes the flavor."""
        self._tx.execute("DELETE FROM flavors WHERE id = ?", (flavor.id,))

    def image(self, image_id: str) -> Image | None:
        """The image; None if there is none."""
        row = self._tx.one("SELECT * FROM images WHERE id = ?", (image_id,))
        return _image(row) if row else None

    def image_for_change(self, image_id: str) -> Image | None:
        """As `image`; nobody else changes it until this transaction ends."""
        row = self._tx.one(f"SELECT * FROM images WHERE id = ?{self._lock}", (image_id,))
        return _image(row) if row else None

    def image_page(self, caller: Caller, page: PageRequest) -> Page[Image]:
        """One page of the images that *caller* may know of, by id."""
        condition, values = "1 = 1", list[object]()
        if not caller.site_roles & {Role.ADMIN, Role.SERVICE, Role.READER}:
            projects = sorted(project for project, roles in caller.project_roles.items() if roles)
            marks = ", ".join("?" for _ in projects)
            condition = "visibility = 'public'"
            if projects:
                condition = (
                    f"({condition} OR project IN ({marks})"
                    f" OR id IN (SELECT image FROM image_shares WHERE project IN ({marks})))"
                )
                values = [*projects, *projects]
        rows = self._tx.all(
            f"SELECT * FROM images WHERE {condition} AND id > ? ORDER BY id LIMIT ?",
            (*values, page.after, page.size + 1),
        )
        images = [_image(row) for row in rows[: page.size]]
        return Page(images, images[-1].id if len(rows) > page.size else "")

    def insert_image(self, image: Image) -> None:
        """Adds an image."""
        spec = image.spec
        added = self._tx.execute(
            "INSERT INTO images (id, project, visibility, sequence, body, create_time, update_time)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (
                image.id,
                spec.project,
                spec.visibility,
                image.sequence,
                _json(spec),
                to_micros(image.create_time),
                to_micros(image.update_time),
            ),
        )
        if not added:
            raise _exists(image.name)
        self._share(image)

    def save_image(self, before: Image, after: Image) -> None:
        """Writes *after* over *before*."""
        changed = self._tx.execute(
            "UPDATE images SET visibility = ?, sequence = ?, body = ?, update_time = ? WHERE id = ? AND sequence = ?",
            (
                after.spec.visibility,
                after.sequence,
                _json(after.spec),
                to_micros(after.update_time),
                before.id,
                before.sequence,
            ),
        )
        if not changed:
            raise _busy(before.name)
        self._tx.execute("DELETE FROM image_shares WHERE image = ?", (before.id,))
        self._share(after)

    def remove_image(self, image: Image) -> None:
        """Removes the image."""
        self._tx.execute("DELETE FROM image_shares WHERE image = ?", (image.id,))
        self._tx.execute("DELETE FROM images WHERE id = ?", (image.id,))

    def _share(self, image: Image) -> None:
        for project in image.spec.shared_projects:
            self._tx.execute("INSERT INTO image_shares (image, project) VALUES (?, ?)", (image.id, project))


def _flavor(row: Row) -> Flavor:
    return Flavor(
        id=row["id"],
        spec=FlavorSpec(**orjson.loads(row["body"])),
        create_time=from_micros(row["create_time"]),
        update_time=from_micros(row["update_time"]),
        sequence=row["sequence"],
    )


def _image(row: Row) -> Image:
    body = orjson.loads(row["body"])
    spec = ImageSpec(
        **{
            **body,
            "visibility": Visibility(body["visibility"]),
            "shared_projects": tuple(body["shared_projects"]),
            "type": ImageType(body["type"]),
        }
    )
    return Image(
        id=row["id"],
        spec=spec,
        create_time=from_micros(row["create_time"]),
        update_time=from_micros(row["update_time"]),
        sequence=row["sequence"],
    )


def _json(spec: FlavorSpec | ImageSpec) -> str:
    return orjson.dumps({name: getattr(spec, name) for name in spec.__dataclass_fields__}).decode()


def _exists(name: str) -> AlreadyExists:
    return AlreadyExists(f"{name} exists", remedy="Choose another id, or update it.", kind="id", name=name)


def _busy(name: str) -> Busy:
    return Busy(f"{name} is being changed by somebody else", remedy="Send the request again.", name=name)
