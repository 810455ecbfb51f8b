# SPDX-License-Identifier: Apache-2.0
"""What differs between mirroring flavors with Nova and images with Glance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from services.inventory.backends.glance import Glance
from services.inventory.backends.glance_image import (
    ACTIVE,
    DEACTIVATED,
    ON_ITS_WAY,
    GlanceImage,
    from_glance,
    to_glance,
)
from services.inventory.backends.nova import Nova
from services.inventory.backends.nova_flavor import NovaFlavor, from_nova, to_nova
from services.inventory.domain.flavor import Flavor, FlavorSpec
from services.inventory.domain.image import Image, ImageSpec
from services.inventory.domain.mirror import MIRRORED, Mirror, MirrorState, Standing, Unfit
from services.inventory.store.mirror import Entry, MirrorRows

T = TypeVar("T")
FETCHING = Standing(MirrorState.PENDING, "FETCHING", "Glance fetches it")


@dataclass(frozen=True, slots=True)
class Verdict:
    """How something of ours stands there.

    Attributes:
        withdraw: what is there must go.
        again: and be made anew, by another id.
        hopeless: the same would fail again: it is not tried again before long.
    """

    standing: Standing
    withdraw: bool = False
    again: bool = False
    hopeless: bool = False


WELL = Verdict(MIRRORED)
ANEW = Verdict(Standing(MirrorState.PENDING, "REPLACED", "it is made anew there"), withdraw=True, again=True)


class Side(Protocol, Generic[T]):
    """One kind of row and the service it is mirrored with; T is the thing in that service's words.

    Whatever asks the service raises PeerUnavailable or Refused of `services.runtime.openstack`.
    """

    kind: ClassVar[str]
    peer: ClassVar[str]

    def look(self, rows: MirrorRows) -> None:
        """Takes from our rows what `taken` needs; the only method within a transaction."""
        ...

    def everything(self) -> dict[str, T]:
        """All that is there, by id there."""
        ...

    def get(self, ref: str) -> T | None:
        """One that `everything` may leave out."""
        ...

    def wanted(self, entry: Entry) -> T:
        """What should be there for a row of ours.

        Raises:
            Unfit: nothing can be.
        """
        ...

    def possible(self, ref: str, wanted: T, there: Mapping[str, T]) -> None:
        """Looks whether it can be made there as things are.

        Raises:
            Unfit: it cannot.
        """
        ...

    def make(self, ref: str, wanted: T) -> Verdict:
        """Makes it."""
        ...

    def bring(self, found: T, wanted: T) -> Verdict:
        """Puts right what differs, as far as it can be changed."""
        ...

    def remove(self, ref: str) -> None:
        """Removes what is ours there."""
        ...

    def taken(self, found: T, there: Mapping[str, T]) -> tuple[FlavorSpec | ImageSpec, Standing, str] | None:
        """What is theirs as a row of ours: with its standing and its name there; None if it is not for us."""
        ...

    def entry(self, item: str, spec: Any, mirror: Mirror, now: datetime) -> Entry:
        """A new row."""
        ...


class Flavors:
    """`Side` of flavors and Nova."""

    kind: ClassVar[str] = "flavor"
    peer: ClassVar[str] = "Nova"

    def __init__(self, nova: Nova) -> None:
        self._nova = nova
        self._classes: frozenset[str] = frozenset()

    def look(self, rows: MirrorRows) -> None:
        """See `Side`."""
        self._classes = rows.resource_classes()

    def everything(self) -> dict[str, NovaFlavor]:
        """See `Side`."""
        return self._nova.everything()

    def get(self, ref: str) -> NovaFlavor | None:
        """See `Side`."""
        return None

    def wanted(self, entry: Entry) -> NovaFlavor:
        """See `Side`."""
        assert isinstance(entry, Flavor)
        return to_nova(entry.id, entry.spec)

    def possible(self, ref: str, wanted: NovaFlavor, there: Mapping[str, NovaFlavor]) -> None:
        """See `Side`."""
        for other in there.values():
            if other.name == wanted.name and other.ref != ref:
                msg = f"Nova has a flavor {other.name} ({other.ref}) that was not made with us"
                raise Unfit("NAME_TAKEN", msg)

    def make(self, ref: str, wanted: NovaFlavor) -> Verdict:
        """See `Side`."""
        self._nova.make(ref, wanted)
        return WELL

    def bring(self, found: NovaFlavor, wanted: NovaFlavor) -> Verdict:
        """See `Side`."""
        if found.fixed != wanted.fixed:
            return ANEW
        self._nova.put(found, wanted)
        return WELL

    def remove(self, ref: str) -> None:
        """See `Side`."""
        self._nova.remove(ref)

    def taken(self, found: NovaFlavor, there: Mapping[str, NovaFlavor]) -> tuple[FlavorSpec, Standing, str] | None:
        """See `Side`."""
        read = from_nova(found, self._classes)
        return (*read, found.name) if read else None

    def entry(self, item: str, spec: FlavorSpec, mirror: Mirror, now: datetime) -> Flavor:
        """See `Side`."""
        return Flavor(item, spec, now, now, mirror=mirror)


class Images:
    """`Side` of images and Glance."""

    kind: ClassVar[str] = "image"
    peer: ClassVar[str] = "Glance"

    def __init__(self, glance: Glance) -> None:
        self._glance = glance
        self._fetches: bool | None = None

    def look(self, rows: MirrorRows) -> None:
        """See `Side`. What Glance can do is asked for once a round."""
        self._fetches = None

    def everything(self) -> dict[str, GlanceImage]:
        """See `Side`."""
        return self._glance.everything()

    def get(self, ref: str) -> GlanceImage | None:
        """See `Side`. Hidden ones are not listed."""
        return self._glance.get(ref)

    def wanted(self, entry: Entry) -> GlanceImage:
        """See `Side`."""
        assert isinstance(entry, Image)
        return to_glance(entry.id, entry.spec)

    def possible(self, ref: str, wanted: GlanceImage, there: Mapping[str, GlanceImage]) -> None:
        """See `Side`."""
        if self._fetches is None:
            self._fetches = self._glance.fetches()
        if not self._fetches:
            raise Unfit("NO_WEB_DOWNLOAD", "this Glance fetches no images by itself (web-download)")

    def make(self, ref: str, wanted: GlanceImage) -> Verdict:
        """See `Side`. Until its bytes were compared with our checksum it is its owner's alone."""
        self._glance.make(ref, replace(wanted, visibility="private", members=frozenset()))
        self._glance.fetch(ref, wanted.source)
        return Verdict(FETCHING)

    def bring(self, found: GlanceImage, wanted: GlanceImage) -> Verdict:
        """See `Side`."""
        if found.asked != wanted.asked or found.disk_format != wanted.disk_format:
            return ANEW
        if wanted.owner and found.owner != wanted.owner:
            return ANEW
        if found.status == DEACTIVATED:
            # Whoever did so had a reason that counts here too.
            return Verdict(Standing(MirrorState.UNUSABLE, "DEACTIVATED", "it was deactivated in Glance"))
        if found.status == ACTIVE:
            return self._active(found, wanted)
        if found.status in ON_ITS_WAY:
            return self._on_its_way(found, wanted)
        return _failed("LOST", f"it is {found.status} in Glance")

    def _active(self, found: GlanceImage, wanted: GlanceImage) -> Verdict:
        if found.checksum == wanted.asked:
            self._glance.put(found, wanted)
            return WELL
        algorithm = wanted.asked.partition(":")[0]
        if found.hash_algo != algorithm:
            hashes = found.hash_algo or "MD5 alone"
            return _failed("HASH_OTHER", f"Glance hashes with {hashes}, and our checksum is {algorithm}")
        return _failed("HASH_MISMATCH", "what Glance fetched from its source has another checksum than ours")

    def _on_its_way(self, found: GlanceImage, wanted: GlanceImage) -> Verdict:
        if found.status != "queued":
            return Verdict(FETCHING)
        word, said = self._glance.fetching(found.ref)
        if word == "failure":
            return _failed("FETCH_FAILED", f"Glance could not fetch it: {said or 'it does not say why'}")
        if not word:
            # We fell silent between making it and asking for its bytes.
            self._glance.fetch(found.ref, wanted.source)
        return Verdict(FETCHING)

    def remove(self, ref: str) -> None:
        """See `Side`."""
        self._glance.remove(ref)

    def taken(self, found: GlanceImage, there: Mapping[str, GlanceImage]) -> tuple[ImageSpec, Standing, str] | None:
        """See `Side`."""
        read = from_glance(found, there)
        return (*read, found.name) if read else None

    def entry(self, item: str, spec: ImageSpec, mirror: Mirror, now: datetime) -> Image:
        """See `Side`."""
        return Image(item, spec, now, now, mirror=mirror)


def _failed(reason: str, message: str) -> Verdict:
    return Verdict(Standing(MirrorState.FAILED, reason, message), withdraw=True, hopeless=True)
