# SPDX-License-Identifier: Apache-2.0
"""Dividing a container, and putting parts back: its free ranges are kept as the widest blocks that hold them.

A part is cut out of the one block that holds it, whose rest becomes blocks again; a part put back grows with its free
neighbour, as long as there is one. Either touches as many rows as a prefix has bits, however much the container is
divided.
Whoever does so has the lock of the VRF.
"""

from __future__ import annotations

from ipaddress import ip_network

from services.ipam.domain.addresses import Network
from services.ipam.domain.prefixes import Prefix
from services.ipam.operations.ports import Store
from services.kernel.errors import AlreadyExists, Exhausted, InvalidField


def next_range(store: Store, container: Prefix, length: int) -> Network:
    """The lowest range of *length* in the smallest block that has one.

    Raises:
        Exhausted: there is none.
        InvalidField: the container is not as wide.
    """
    if not container.cidr.prefixlen <= length <= container.cidr.max_prefixlen:
        field = "prefix_length"
        raise InvalidField(
            field,
            f"{length} is no length of a part of {container.cidr}",
            remedy=f"Give one from {container.cidr.prefixlen} to {container.cidr.max_prefixlen}.",
            given=str(length),
        )
    block = store.smallest_block(container, length)
    if block is None:
        msg = f"{container.name} has no free range of length {length}"
        remedy = "Give a greater length, or remove prefixes."
        raise Exhausted(msg, remedy=remedy, name=container.name, length=str(length))
    return ip_network((block.network_address, length))


def carve(store: Store, container: Prefix, wanted: Network) -> None:
    """Takes *wanted* out of the container's free ranges.

    Raises:
        AlreadyExists: some of it is another part's.
        InvalidField: it lies outside.
    """
    whole = container.cidr
    if wanted.version != whole.version or not _within(wanted, whole):
        field = "prefix.cidr"
        raise InvalidField(
            field, f"{wanted} is outside {whole}", remedy=f"Give a part of {whole}.", given=str(wanted), cidr=str(whole)
        )
    lengths = range(whole.prefixlen, wanted.prefixlen + 1)
    block = store.block_among(container.uid, [wanted.supernet(new_prefix=length) for length in lengths])
    if block is None:
        msg = f"some of {wanted} is another part of {container.name}"
        raise AlreadyExists(msg, remedy="Give a range that lies apart.", name=container.name, cidr=str(wanted))
    store.take_block(container.uid, block)
    store.add_blocks(container.uid, _rest(block, wanted))


def put_back(store: Store, container: Prefix, part: Network) -> None:
    """Makes *part* free again, as wide as its free neighbours allow."""
    while part.prefixlen > container.cidr.prefixlen:
        wider = part.supernet()
        (neighbour,) = _rest(wider, part)
        if not store.take_block(container.uid, neighbour):
            break
        part = wider
    store.add_blocks(container.uid, [part])


def _within(part: Network, whole: Network) -> bool:
    return part.prefixlen >= whole.prefixlen and part.network_address in whole


def _rest(block: Network, part: Network) -> list[Network]:
    """What is left of *block* without *part*, a half at each length between."""
    rest: list[Network] = []
    for length in range(block.prefixlen, part.prefixlen):
        for half in part.supernet(new_prefix=length).subnets():
            if part.network_address not in half:
                rest.append(half)  # noqa: PERF401 -- of two kinds of networks, which a comprehension cannot tell
    return rest
