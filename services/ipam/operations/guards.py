# SPDX-License-Identifier: Apache-2.0
"""Who may lease and release what, and with which proof."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from services.ipam.domain.addresses import Version
from services.ipam.domain.allocation import Frontier
from services.ipam.domain.leases import Kind, Lease, Owner
from services.ipam.domain.prefixes import Prefix
from services.ipam.operations.ports import Store
from services.ipam.operations.wishes import Detached, Wanted
from services.kernel.calls import Caller
from services.kernel.errors import AlreadyExists, Forbidden, InvalidField, NotFound, Stale
from services.kernel.names import INSTANCE, NETWORK

SKEW = timedelta(minutes=1)
"""How far the clocks of two services may be apart."""


def require_right(caller: Caller, kind: Kind, fence: int) -> None:
    """Refuses callers who may not hold addresses for such owners."""
    if caller.is_service:
        return
    if kind is Kind.BARE_METAL_INSTANCE:
        msg = "only services lease and release addresses of bare metal instances"
        raise Forbidden(
            msg,
            remedy="Attach or detach the instance's network instead; its lease follows.",
            subject=caller.subject,
            roles="service",
        )
    if fence:
        msg_0 = "fence"
        raise InvalidField(msg_0, "is for services alone", remedy="Leave it out.", given=str(fence))


def require_waivable(caller: Caller, lease: Lease) -> None:
    """Refuses a release without proof to others than services, and for leases that need no proof anyway."""
    if not caller.is_service:
        msg = "only services release addresses without proof"
        raise Forbidden(msg, remedy="Ask for a forced action of the server.", subject=caller.subject, roles="service")
    if lease.owner.kind is not Kind.BARE_METAL_INSTANCE:
        field = "without_proof"
        raise InvalidField(field, "is for bare metal instances alone", remedy="Leave it out.", lease=lease.name)


def require_own(wanted: Wanted) -> None:
    """Refuses an instance of another project."""
    if wanted.owner.kind is Kind.BARE_METAL_INSTANCE:
        project, _ = INSTANCE.parse(wanted.owner.resource, "owner.resource")
        if project != wanted.project:
            msg = "owner.resource"
            raise InvalidField(
                msg,
                f"{wanted.owner.resource} is not in projects/{wanted.project}",
                remedy=f"Give the parent projects/{project}.",
                given=wanted.owner.resource,
            )


def open_to(
    caller: Caller, wanted: Wanted, prefixes: Sequence[tuple[Prefix, Frontier]]
) -> Sequence[tuple[Prefix, Frontier]]:
    """Those of a network's *prefixes* that serve the owner: of another project's network, the shared ones.

    Raises:
        NotFound: the network is another project's, which shares none.
    """
    project, _ = NETWORK.parse(wanted.network, "network")
    if project == wanted.project or caller.is_admin or caller.is_service:
        return prefixes
    shared = [(prefix, frontier) for prefix, frontier in prefixes if prefix.tuning.shared]
    if not shared:
        msg = f"{wanted.network} does not exist"
        raise NotFound(msg, remedy="Name a network of the same project, or one that is shared.", name=wanted.network)
    return shared


def require_name(store: Store, caller: Caller, wanted: Wanted, version: Version) -> None:
    """Refuses a host name that another lease of the network has."""
    other = store.named(wanted.network, wanted.host_name, version)
    if other is None or other.holding == wanted.holding(version):
        return
    seen = caller.may_read(other.project)
    msg = f"{wanted.host_name} is the host name of another owner in {wanted.network}"
    if seen:
        msg = f"{wanted.host_name} is the host name of {other.owner.resource} in {wanted.network}"
    raise AlreadyExists(
        msg,
        remedy="Give another host name, or none.",
        host_name=wanted.host_name,
        **({"lease": other.name} if seen else {}),
    )


def pass_fence(store: Store, project: str, owner: Owner, fence: int) -> None:
    """Refuses a worker whose claim another worker has taken over."""
    if fence <= 0:
        return
    highest = store.raise_fence(f"{owner.kind.value}:{project}:{owner.resource}", fence)
    if highest > fence:
        msg = f"the claim on {owner.resource} has been taken over: its fence is {highest}, not {fence}"
        raise Stale(
            msg,
            remedy="Give the claim up; its new holder goes on.",
            name=owner.resource,
            fence=str(highest),
            given=str(fence),
        )


def version_of(wanted: Wanted, prefixes: Sequence[Prefix]) -> Version:
    """The IP version that is wanted of a network with these *prefixes*.

    Raises:
        InvalidField: it is not that of the address.
    """
    if wanted.address is not None:
        if wanted.version is not None and wanted.version != wanted.address.version:
            msg = "ip_version"
            raise InvalidField(
                msg,
                f"is {wanted.version}, but {wanted.address} is IPv{wanted.address.version}",
                remedy="Leave it 0.",
                given=str(wanted.version),
            )
        return wanted.address.version
    if wanted.version is not None:
        return wanted.version
    return 6 if prefixes and all(prefix.version == 6 for prefix in prefixes) else 4


def proven(lease: Lease, detached: Detached | None) -> Detached:
    """The proof that the owner is off the network."""
    if detached is None:
        msg = "detach"
        raise InvalidField(
            msg,
            "is required: the lease is a bare metal instance's",
            remedy="Read the server's ports back in quarantine, and give that reading.",
            lease=lease.name,
        )
    if detached.read_time < lease.create_time - SKEW:
        msg = "detach.read_time"
        raise InvalidField(
            msg,
            "lies before the lease was granted",
            remedy="Read the server's ports back again.",
            create_time=lease.create_time.isoformat(),
            given=detached.read_time.isoformat(),
        )
    return detached
