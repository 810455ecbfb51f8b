# SPDX-License-Identifier: Apache-2.0
"""Ports of servers: registering them, asking for what they shall be, and recording what was read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from services.kernel.calls import Call
from services.kernel.errors import AlreadyExists, InvalidField, NotFound, Stale, WrongState
from services.kernel.events import Event, Evidence, Head, PortSeen
from services.kernel.names import SERVER
from services.kernel.pages import Page, PageRequest
from services.network.domain.attachments import Attachment, Link, Reading, check_change, spread
from services.network.domain.networks import Network, PortClass
from services.network.domain.switch_ports import breach_of, class_of
from services.network.domain.wishes import FOUND, QUARANTINE, Purpose, Wish
from services.network.operations.networks import missing
from services.network.operations.sending import Sending, sending_of
from services.network.operations.store import Condition, Store
from services.network.ports import PortFact


def register(
    store: Store, call: Call, server: str, links: Sequence[Link], fence: int, *, as_found: bool = False
) -> list[Attachment]:
    """Makes *links* all the ports of *server*. New ones are asked into quarantine, others keep what they are.

    Args:
        as_found: new ones are asked nothing.

    Raises:
        AlreadyExists: another server's port is plugged in there.
        Stale: *fence* is lower than one seen before.
        WrongState: a port that would be forgotten, or is plugged in elsewhere now, was asked to be something and is not
            seen in quarantine; not if quarantine is all that was ever asked of it, and it was never read.
    """
    head = _claimed(store, server, fence)
    before = {attachment.link.port: attachment for attachment in store.attachments(server)}
    after = {link.port: link for link in links}
    gone = []
    for port, old in before.items():
        link = after.get(port)
        if link is not None and link.plug == old.link.plug:
            continue
        if old.asked and not old.isolated and not old.untouched:
            plug = old.link.plug
            msg = f"{port} was not seen in quarantine at {plug.switch} {plug.port}, where it was plugged in"
            raise WrongState(
                msg,
                remedy="Put it into quarantine and read it back, then register the server's ports again.",
                subject=port,
                state=old.observed.port_class if old.observed else PortClass.UNKNOWN,
            )
        gone.append(old)
    for old in gone:
        store.forget(old)
    if gone:
        head = _recorded(store, call, server, "port.forgotten", gone, fence, head)
    fresh = []
    for port, link in after.items():
        old_one = before.get(port)
        if old_one is not None and old_one not in gone:
            if old_one.link != link:
                store.save([(replace(old_one, link=link), old_one)])
            continue
        if holder := store.holder(link.plug):
            msg = f"{link.plug.switch} {link.plug.port} is where {holder} is plugged in"
            raise AlreadyExists(
                msg,
                remedy="Correct the switch and port of one of the two servers in inventory.",
                port=port,
                holder=holder,
                switch_name=link.plug.switch,
                switch_port=link.plug.port,
            )
        attachment = Attachment(
            server, link, FOUND if as_found else QUARANTINE, "", call.now, asked=0 if as_found else 1
        )
        store.save([(attachment, None)])
        fresh.append(attachment)
    if fresh:
        head = _recorded(store, call, server, "port.found" if as_found else "port.registered", fresh, fence, head)
    store.save_server_head(server, head)
    return store.attachments(server)


def attach(
    store: Store, call: Call, server: str, wishes: Mapping[str, Wish], project: str, fence: int
) -> tuple[list[Attachment], Sending]:
    """Records what ports shall be; the members of a port's group go with it.

    Answers all ports of the server, and what the fabric is to be told of those that were asked for: what `sending`
    finds after the commit, as long as nobody else changes the server's ports.

    Raises:
        InvalidField: a network is of another class than the wish, or a group's members are asked for different things.
        NotFound: a port is not registered, or a network does not exist for *project*.
        Stale: *fence* is lower than one seen before.
        WrongState: a port may not go to a tenant's network from where it is.
    """
    head = _claimed(store, server, fence)
    before = store.attachments(server)
    networks = store.hold_networks(networks_of(wishes))
    asked = asked_for(call, before, wishes, networks, project)
    if asked.changed:
        store.save(asked.changed)
        new = [new for new, _ in asked.changed]
        head = _recorded(store, call, server, "port.requested", new, fence, head)
        store.save_server_head(server, head)
    return asked.ports, asked.sending


def networks_of(wishes: Mapping[str, Wish]) -> set[str]:
    """The names of the networks that *wishes* name."""
    return {tag.network for wish in wishes.values() for tag in wish.tags}


@dataclass(frozen=True, slots=True)
class AskedFor:
    """What follows from wishes: all ports of the server then, those that change with what they were, what is sent."""

    ports: list[Attachment]
    changed: Sequence[tuple[Attachment, Attachment]]
    sending: Sending


def asked_for(
    call: Call, ports: Sequence[Attachment], wishes: Mapping[str, Wish], networks: Mapping[str, Network], project: str
) -> AskedFor:
    """What follows from *wishes* for the *ports* of a server; see `attach`.

    Raises:
        InvalidField, NotFound, WrongState: as `attach` says.
    """
    before = {one.link.port: one for one in ports}
    for port in wishes:
        if port not in before:
            msg = f"{port} is not registered"
            raise NotFound(msg, remedy="Register the server's ports first.", name=port)
    wanted = spread(wishes, (one.link for one in ports))
    changed = []
    for port, wish in wanted.items():
        _check_networks(wish, networks, project)
        old, owner = before[port], project if wish.port_class is PortClass.TENANT else ""
        check_change(old, wish, owner)
        wish = wish.after(old.wish)  # noqa: PLW2901 -- what is recorded is what counts from here on
        if (old.wish, old.project) != (wish, owner):
            new = replace(old, wish=wish, project=owner, request_time=call.now, asked=max(old.asked, 1) + 1)
            changed.append((new, old))
    after = before | {new.link.port: new for new, _ in changed}
    return AskedFor(
        list(after.values()), changed, sending_of([one for port, one in after.items() if port in wanted], networks)
    )


def observe(store: Store, call: Call, server: str, read: Sequence[tuple[Attachment, Reading]], fence: int) -> None:
    """Records what was read of ports, each as it was registered when the reading began.

    What was read of a port that is plugged in elsewhere by now is not kept.

    Raises:
        Stale: *fence* is lower than one seen before.
    """
    head = _claimed(store, server, fence)
    news = news_of(store.attachments(server), read)
    if news.moved:
        store.save(news.moved)
    if news.stayed:
        store.save_readings(news.stayed)
    if news.changed:
        head = _recorded(store, call, server, "port.observed", news.changed, fence, head)
        store.save_server_head(server, head)


@dataclass(frozen=True, slots=True)
class News:
    """What readings say: ports that are on other networks with what they were, those that are not, and what is told."""

    moved: Sequence[tuple[Attachment, Attachment]]
    stayed: Sequence[Attachment]
    changed: Sequence[Attachment]


def news_of(ports: Sequence[Attachment], read: Sequence[tuple[Attachment, Reading]]) -> News:
    """What was *read* says of the *ports* of a server as they are recorded now; see `observe`."""
    now = {one.link.port: one for one in ports}
    changed, stayed, moved = [], [], []
    for asked, reading in read:
        old = now.get(asked.link.port)
        if old is None or old.link.plug != asked.link.plug:
            continue
        seen = old.observed
        if seen is not None and (seen.asked, seen.read_time) > (reading.asked, reading.read_time):
            continue  # somebody who began later has recorded his already
        new = replace(old, observed=reading)
        if new.networks == old.networks:
            stayed.append(new)
        else:
            moved.append((new, old))
        if seen is None or shown(seen) != shown(reading):
            changed.append(new)
    return News(moved, stayed, changed)


def shown(reading: Reading) -> tuple[object, ...]:
    """What of *reading* is news where it differs from the one before."""
    return reading.port_class, reading.tags, reading.breach


def list_attachments(store: Store, page: PageRequest, where: Sequence[Condition]) -> Page[Attachment]:
    """A page of ports by name."""
    return store.list_attachments(page, where)


def readings_of(store: Store, facts: Sequence[tuple[Attachment, PortFact]]) -> list[tuple[Attachment, Reading]]:
    """What *facts* say of ports in our words, each as it was registered when the reading began."""
    networks = store.networks_on({one for _, fact in facts if fact.config for one in fact.config.networks})
    return [(asked, reading_of(fact, networks, asked.asked)) for asked, fact in facts]


def check_fence(server: str, fence: int, highest: int) -> None:
    """Refuses a *fence* that is lower than the *highest* seen; 0 is none.

    Raises:
        Stale: it is.
    """
    if fence and fence < highest:
        msg = f"another worker has servers/{server} by now: its fence is {highest}, this one's {fence}"
        raise Stale(
            msg,
            remedy="Give up this work: whoever holds the claim goes on.",
            name=SERVER.format(server),
            given=str(fence),
            current=str(highest),
        )


def reading_of(fact: PortFact, networks: Mapping[str, Network], asked: int) -> Reading:
    """What *fact* says of a port in our words; *asked* is its count of wishes when the reading began."""
    if fact.config is None:
        detail = fact.detail or "the fabric did not answer"
        return Reading(PortClass.UNKNOWN, (), fact.read_time, b"", detail, asked)
    port_class, tags, detail = class_of(fact.config, networks)
    if fact.doubt:
        port_class, detail = PortClass.UNKNOWN, fact.doubt
    breach = breach_of(fact.config, networks) or fact.breach
    detail = detail or fact.detail or breach
    return Reading(port_class, tags, fact.read_time, fact.digest, detail, asked, fact.setup, breach)


def _check_networks(wish: Wish, networks: Mapping[str, Network], project: str) -> None:
    for tag in wish.tags:
        network = networks.get(tag.network)
        if network is None:
            raise missing(tag.network)
        if network.network_class is not wish.port_class:
            raise InvalidField(
                field="wishes",
                description=f"{tag.network} is a {network.network_class} network, not a {wish.port_class} one",
                remedy="Name a network of the class that the port shall be.",
                network=tag.network,
            )
        if network.network_class is PortClass.TENANT and network.project != project:
            raise missing(tag.network)


def _claimed(store: Store, server: str, fence: int) -> Head:
    highest, head = store.claim(server, fence)
    check_fence(server, fence, highest)
    return head


def _recorded(
    store: Store, call: Call, server: str, kind: str, ports: Sequence[Attachment], fence: int, head: Head
) -> Head:
    """Appends one event that tells of *ports*; answers the end of the server's stream."""
    return store.append(told(call, server, kind, ports, fence), head)


def told(call: Call, server: str, kind: str, ports: Sequence[Attachment], fence: int) -> Event:
    """The event that tells of *ports*."""
    observed = kind == "port.observed"
    projects = {one.project for one in ports} - {""}
    return Event(
        stream=SERVER.format(server),
        type=kind,
        time=call.now,
        actor=call.caller.subject,
        project=projects.pop() if len(projects) == 1 else "",
        request_id=call.request_id,
        fence=fence,
        evidence=Evidence(ports=tuple(_seen(one) if observed else _asked(one) for one in ports)),
        facts={
            key: value
            for one in ports
            for key, value in (
                (f"{one.link.port}/switch", f"{one.link.plug.switch} {one.link.plug.port}"),
                (f"{one.link.port}/detail", one.observed.detail if observed and one.observed else ""),
                (f"{one.link.port}/breach", one.observed.breach if observed and one.observed else ""),
                (f"{one.link.port}/purpose", "" if observed or one.wish.purpose is Purpose.STEP else one.wish.purpose),
            )
            if value
        },
    )


def _asked(attachment: Attachment) -> PortSeen:
    wish = attachment.wish
    return PortSeen(attachment.link.port, wish.port_class, tuple(tag.network for tag in wish.tags))


def _seen(attachment: Attachment) -> PortSeen:
    reading = attachment.observed
    assert reading is not None
    networks = tuple(tag.network for tag in reading.tags)
    return PortSeen(attachment.link.port, reading.port_class, networks, reading.read_time, reading.digest)
