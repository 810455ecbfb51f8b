# SPDX-License-Identifier: Apache-2.0
"""Whom Ironic holds its nodes for, as audits ask: page by page, or one; with the fields that are needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.kernel.effect import effect
from services.kernel.errors import PeerUnavailable
from services.lifecycle.backends.ironic_api import Deadline, IronicApi, NoNode
from services.lifecycle.backends.ironic_holds import HOLDER
from services.lifecycle.ports import HoldSeen
from services.runtime.openstack import Refused

_FIELDS = f"uuid,provision_state,provision_updated_at,{HOLDER},extra"
_UNUSED = frozenset({"enroll", "verifying", "manageable", "available"})
"""In any other state somebody has it, or it is on its way."""


@dataclass(frozen=True, slots=True)
class IronicHolds:
    """`services.lifecycle.ports.Holds` over Ironic; may be called from any thread."""

    api: IronicApi

    def page(self, after: str, size: int) -> tuple[list[HoldSeen], bool]:
        """See `Holds.page`."""
        marker = f"&marker={after}" if after else ""
        with effect("holds.list"):
            try:
                found = self._get(f"/nodes?fields={_FIELDS}&limit={size}&sort_key=uuid{marker}")
            except NoNode:
                # The node after which to go on went meanwhile.
                msg = "the listing of Ironic's nodes has to begin anew"
                raise PeerUnavailable(msg, remedy="Audit again.", peer="ironic") from None
        return [seen_of(one) for one in found.get("nodes") or ()], bool(found.get("next"))

    def hold(self, server: str) -> HoldSeen | None:
        """See `Holds.hold`."""
        with effect("holds.read"):
            try:
                return seen_of(self._get(f"/nodes/{server}?fields={_FIELDS}"))
            except NoNode:
                return None

    def _get(self, path: str) -> Mapping[str, Any]:
        try:
            return self.api.get(path, Deadline())
        except Refused as error:
            msg = f"Ironic refuses to show whom nodes are held for ({error.status}): {error.text}".removesuffix(": ")
            raise PeerUnavailable(msg, remedy="Look at the role of our login in Ironic.", peer="ironic") from None


def seen_of(data: Mapping[str, Any]) -> HoldSeen:
    """The hold of the node that Ironic answered as *data*."""
    bms = (data.get("extra") or {}).get("bms")
    bms = bms if isinstance(bms, dict) else {}
    note = bms.get("hold")
    note = note if isinstance(note, dict) else {}
    state, moved = str(data.get("provision_state") or ""), str(data.get("provision_updated_at") or "")
    offered = str(bms.get("offered") or "")
    return HoldSeen(
        server=str(data.get("uuid") or ""),
        state=state,
        holder=str(data.get(HOLDER) or ""),
        hold=str(note.get("id") or ""),
        instance=str(note.get("instance") or ""),
        used=state not in _UNUSED or bool(offered and offered != moved),
    )
