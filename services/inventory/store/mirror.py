# SPDX-License-Identifier: Apache-2.0
"""The catalogue as the mirror sees it: rows of either kind, what is left to remove there, and who uses what."""

from __future__ import annotations

from collections.abc import Mapping

from services.inventory.domain.flavor import Flavor
from services.inventory.domain.image import Image
from services.inventory.store.catalogue import CatalogueRows

Entry = Flavor | Image


class MirrorRows(CatalogueRows):
    """Rows of one kind within one transaction; *kind* is ``flavor`` or ``image`` throughout."""

    def entries(self, kind: str) -> Mapping[str, Entry]:
        """All rows by id."""
        return self.flavors() if kind == "flavor" else self.images()

    def entry(self, kind: str, item: str) -> Entry | None:
        """One row, for change."""
        return self.flavor_for_change(item) if kind == "flavor" else self.image_for_change(item)

    def insert_entry(self, entry: Entry) -> None:
        """Adds a row.

        Raises:
            AlreadyExists: there is one with its id, or with its id there.
        """
        if isinstance(entry, Flavor):
            self.insert_flavor(entry)
        else:
            self.insert_image(entry)

    def save_entry(self, before: Entry, after: Entry) -> None:
        """Writes *after*, of the kind of *before*, over it."""
        if isinstance(before, Flavor) and isinstance(after, Flavor):
            self.save_flavor(before, after)
        elif isinstance(before, Image) and isinstance(after, Image):
            self.save_image(before, after)

    def remove_entry(self, entry: Entry) -> None:
        """Removes a row."""
        if isinstance(entry, Flavor):
            self.remove_flavor(entry)
        else:
            self.remove_image(entry)

    def remains(self, kind: str) -> list[str]:
        """The ids of what is still to be removed there."""
        return [
            str(row["ref"])
            for row in self._tx.all("SELECT ref FROM mirror_remains WHERE kind = ? ORDER BY ref", (kind,))
        ]

    def leave(self, kind: str, ref: str) -> None:
        """Notes that what we made there by this id is to be removed there."""
        self._tx.execute("INSERT INTO mirror_remains (kind, ref) VALUES (?, ?) ON CONFLICT DO NOTHING", (kind, ref))

    def removed(self, kind: str, ref: str) -> None:
        """Notes that it was removed there."""
        self._tx.execute("DELETE FROM mirror_remains WHERE kind = ? AND ref = ?", (kind, ref))

    def is_ours(self, kind: str, ref: str) -> bool:
        """Whether a row has this id there, or something of ours that is to be removed."""
        table = "flavors" if kind == "flavor" else "images"
        found = self._tx.one(
            f"SELECT 1 AS one FROM {table} WHERE mirror_ref = ?"
            " UNION SELECT 1 AS one FROM mirror_remains WHERE kind = ? AND ref = ?",
            (ref, kind, ref),
        )
        return found is not None

    def in_use(self, kind: str, item: str) -> bool:
        """Whether an instance that was made by it has a server."""
        found = self._tx.one(
            "SELECT 1 AS one FROM catalogue_uses u JOIN servers s ON s.reserved_by = u.holder"
            " WHERE u.kind = ? AND u.item = ? LIMIT 1",
            (kind, item),
        )
        return found is not None

    def forget_uses(self) -> None:
        """Forgets the uses of instances that have no server any more."""
        self._tx.execute(
            "DELETE FROM catalogue_uses WHERE NOT EXISTS"
            " (SELECT 1 FROM servers WHERE servers.reserved_by = catalogue_uses.holder)"
        )

    def resource_classes(self) -> frozenset[str]:
        """The resource classes of all servers."""
        return frozenset(
            str(row["resource_class"]) for row in self._tx.all("SELECT DISTINCT resource_class FROM servers")
        )
