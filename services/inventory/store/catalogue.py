# SPDX-License-Identifier: Apache-2.0
"""The tables flavors, images and image_shares."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from services.inventory.domain.flavor import Flavor, FlavorSpec
from services.inventory.domain.image import Image, ImageSpec, ImageType, Visibility
from services.inventory.domain.mirror import Mirror, MirrorState, Origin
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
            "INSERT INTO flavors (id, sequence, body, mirror, mirror_ref, create_time, update_time)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            (
                flavor.id,
                flavor.sequence,
                _json(flavor.spec),
                *_mirror_columns(flavor.mirror),
                to_micros(flavor.create_time),
                to_micros(flavor.update_time),
            ),
        )
        if not added:
            raise _exists(flavor.name)

    def save_flavor(self, before: Flavor, after: Flavor) -> None:
        """Writes *after* over *before*."""
        changed = self._tx.execute(
            "UPDATE flavors SET sequence = ?, body = ?, mirror = ?, mirror_ref = ?, update_time = ?"
            " WHERE id = ? AND sequence = ?",
            (
                after.sequence,
                _json(after.spec),
                *_mirror_columns(after.mirror),
                to_micros(after.update_time),
                before.id,
                before.sequence,
            ),
        )
        if not changed:
            raise _busy(before.name)

    def remove_flavor(self, flavor: Flavor) -> None:
        """Removes the flavor; what was made of it in Nova is noted as to be removed there."""
        self._leave("flavor", flavor.mirror)
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
            "INSERT INTO images (id, project, visibility, sequence, body, mirror, mirror_ref, create_time, update_time)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (
                image.id,
                spec.project,
                spec.visibility,
                image.sequence,
                _json(spec),
                *_mirror_columns(image.mirror),
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
            "UPDATE images SET project = ?, visibility = ?, sequence = ?, body = ?, mirror = ?, mirror_ref = ?,"
            " update_time = ? WHERE id = ? AND sequence = ?",
            (
                after.spec.project,
                after.spec.visibility,
                after.sequence,
                _json(after.spec),
                *_mirror_columns(after.mirror),
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
        """Removes the image; what was made of it in Glance is noted as to be removed there."""
        self._leave("image", image.mirror)
        self._tx.execute("DELETE FROM image_shares WHERE image = ?", (image.id,))
        self._tx.execute("DELETE FROM images WHERE id = ?", (image.id,))

    def images(self) -> Mapping[str, Image]:
        """All images by id."""
        return {row["id"]: _image(row) for row in self._tx.all("SELECT * FROM images ORDER BY id")}

    def note_use(self, holder: str, flavor_id: str, image_id: str) -> None:
        """Notes that *holder* is made by this flavor and image (empty for none), as far as they are mirrored."""
        for kind, table, item in (("flavor", "flavors", flavor_id), ("image", "images", image_id)):
            self._tx.execute(
                f"INSERT INTO catalogue_uses (kind, item, holder) SELECT ?, id, ? FROM {table}"
                " WHERE id = ? AND mirror <> '' ON CONFLICT DO NOTHING",
                (kind, holder, item),
            )

    def _leave(self, kind: str, mirror: Mirror) -> None:
        if mirror.ref and not mirror.theirs:
            self._tx.execute(
                "INSERT INTO mirror_remains (kind, ref) VALUES (?, ?) ON CONFLICT DO NOTHING", (kind, mirror.ref)
            )

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
        mirror=_mirror(row["mirror"]),
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
        mirror=_mirror(row["mirror"]),
    )


def _mirror_columns(mirror: Mirror) -> tuple[str, str]:
    """The columns mirror and mirror_ref; empty while nothing was compared."""
    if mirror == Mirror():
        return "", ""
    since = to_micros(mirror.since) if mirror.since is not None else None
    body = {name: getattr(mirror, name) for name in Mirror.__dataclass_fields__} | {"since": since}
    return orjson.dumps(body).decode(), mirror.ref


def _mirror(text: str) -> Mirror:
    if not text:
        return Mirror()
    body = orjson.loads(text)
    since = from_micros(body["since"]) if body["since"] is not None else None
    return Mirror(**{**body, "origin": Origin(body["origin"]), "state": MirrorState(body["state"]), "since": since})


def _json(spec: FlavorSpec | ImageSpec) -> str:
    return orjson.dumps({name: getattr(spec, name) for name in spec.__dataclass_fields__}).decode()


def _exists(name: str) -> AlreadyExists:
    return AlreadyExists(f"{name} exists", remedy="Choose another id, or update it.", kind="id", name=name)


def _busy(name: str) -> Busy:
    return Busy(f"{name} is being changed by somebody else", remedy="Send the request again.", name=name)
