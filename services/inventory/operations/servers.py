# SPDX-License-Identifier: Apache-2.0
"""Registering, reading, changing and removing servers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from services.inventory.domain import server as domain
from services.inventory.domain.checks import Checks
from services.inventory.domain.importing import changed_fields, fixed_while_held
from services.inventory.domain.server import Login, PoolRow, Server, ServerSpec
from services.inventory.operations.events import event, values
from services.inventory.operations.ports import Fresh, Servers
from services.kernel.calls import Call
from services.kernel.clock import Ids
from services.kernel.errors import InvalidField, NotFound, WrongState
from services.kernel.names import OPERATION, SERVER

Change = Callable[[Server], tuple[ServerSpec, Login]]
"""What an update makes of a server: its new spec (with the properties as best known), and the login it gives."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """A deletion that lifecycle has to let happen.

    Attributes:
        operation: its name, which reserves the server.
        begun: False if it had been asked for before.
    """

    server: str
    operation: str
    create_time: datetime
    begun: bool


def get(rows: Servers, uuid: str) -> Server:
    """The server.

    Raises:
        NotFound: there is none.
    """
    return _there(rows.get(uuid), uuid)


def get_for_change(rows: Servers, uuid: str, fresh: Fresh) -> Server:
    """The server, locked.

    Raises:
        NotFound: there is none.
        Stale: it is not the version that the caller saw.
    """
    server = _there(rows.get_for_change(uuid), uuid)
    fresh(server.sequence, server.name)
    return server


def create(
    rows: Servers, call: Call, ids: Ids, spec: ServerSpec, login: Login, *, server_id: str = "", unchecked: bool = True
) -> Server:
    """Registers a server; it starts as enrolled.

    Args:
        server_id: the UUID to use; "" makes one.
        unchecked: False if *spec* and *login* were checked before.

    Raises:
        InvalidFields: the spec or the UUID is malformed.
        AlreadyExists: the UUID, name, a MAC address, the BMC or a switch port is another server's.
    """
    if unchecked:
        spec, login = _checked(spec, login)
    uuid = _uuid(server_id) if server_id else ids.uuid()
    server = Server(
        uuid=uuid,
        spec=spec,
        pool=PoolRow(update_time=call.now),
        create_time=call.now,
        update_time=call.now,
        has_credentials=bool(login.username and login.password),
    )
    # Only a UUID that was given can have had a life before, whose sequence goes on.
    before = rows.last(server.name) if server_id else 0
    recorded = rows.record(event(call, server.name, "server.created", facts=values(ServerSpec(), spec)), before)
    server = replace(server, sequence=recorded)
    rows.insert(server)
    if login:
        rows.set_login(uuid, login)
    return server


def update(rows: Servers, call: Call, uuid: str, fresh: Fresh, change: Change) -> Server:
    """Changes a server to what *change* makes of it.

    Raises:
        NotFound: there is no such server.
        Stale: it is not the version that the caller saw.
        InvalidFields: the outcome is malformed.
        WrongState: it is being deleted, or held by an instance and the change touches its ports or BMC.
        AlreadyExists: its new name, a MAC address, the BMC or a switch port is another server's.
    """
    server = get_for_change(rows, uuid, fresh)
    spec, login = _checked(*change(server))
    if spec.properties == server.properties:
        # What inspection found was handed back unchanged: it does not become a declaration.
        spec = replace(spec, properties=server.spec.properties)
    if not login:
        return apply(rows, call, server, spec, login, login_changed=False)
    stored = rows.login(uuid)
    whole = login.over(stored)
    return apply(rows, call, server, spec, whole, login_changed=whole != stored)


def apply(rows: Servers, call: Call, server: Server, spec: ServerSpec, login: Login, *, login_changed: bool) -> Server:
    """Writes a checked *spec* and, if it changed, *login* over *server*.

    Raises:
        WrongState, AlreadyExists: see `update`.
    """
    changed = changed_fields(server.spec, spec)
    if not changed and not login_changed:
        return server
    _allowed(server, spec)
    facts = values(server.spec, spec)
    if login_changed:
        facts = {**facts, "bmc.credentials": "changed"}
        rows.set_login(server.uuid, login)
    facts["fields"] = ", ".join([*changed, *(["bmc.credentials"] if login_changed else [])])
    sequence = rows.record(event(call, server.name, "server.updated", facts=facts), server.sequence)
    after = replace(
        domain.redeclared(server, spec),
        update_time=call.now,
        has_credentials=bool(login.username and login.password) if login_changed else server.has_credentials,
        sequence=sequence,
    )
    rows.save(server, after)
    return after


def delete(rows: Servers, call: Call, ids: Ids, uuid: str, fresh: Fresh) -> Deletion:
    """Reserves a server for its deletion; it goes when lifecycle has closed its stream.

    Raises:
        NotFound: there is no such server.
        Stale: it is not the version that the caller saw.
        WrongState: an instance holds it, or is about to.
    """
    server = get_for_change(rows, uuid, fresh)
    if server.delete_time is not None:
        return Deletion(server.name, server.pool.reserved_by, server.delete_time, begun=False)
    if server.pool.in_use:
        msg = f"{server.name} ({server.spec.display_name}) is held by {server.pool.reserved_by}"
        raise WrongState(
            msg,
            remedy=f"Delete {server.pool.reserved_by} first (`bms instance delete {server.pool.reserved_by}`) "
            "and wait until the server is back in the pool.",
            subject=server.name,
            instance=server.pool.reserved_by,
        )
    operation = OPERATION.format(f"inventory-{ids.uuid()}")
    pool = replace(server.pool, ready=False, reason="DELETING", reserved_by=operation, held=False, update_time=call.now)
    told = event(
        call, server.name, "server.deleting", operation=operation, facts={"display_name": server.spec.display_name}
    )
    sequence = rows.record(told, server.sequence)
    rows.save(server, replace(server, pool=pool, delete_time=call.now, sequence=sequence))
    return Deletion(server.name, operation, call.now, begun=True)


def require_kept(server: Server) -> None:
    """Refuses to change what is being deleted.

    Raises:
        WrongState: it is.
    """
    if server.delete_time is not None:
        msg = f"{server.name} is being deleted"
        raise WrongState(
            msg, remedy=f"Follow {server.pool.reserved_by}.", subject=server.name, operation=server.pool.reserved_by
        )


def login(rows: Servers, uuid: str) -> tuple[Server, Login]:
    """The server and the login of its BMC; an empty one if its controller keeps that.

    Raises:
        NotFound: there is no such server.
        WrongState: no login is stored.
    """
    server = get(rows, uuid)
    if server.spec.bmc.kept_by_controller:
        return server, Login()
    stored = rows.login(uuid)
    if not stored:
        msg = f"no login is stored for the BMC of {server.name}"
        raise WrongState(msg, remedy="Set bmc.username and bmc.password with UpdateServer.", subject=server.name)
    return server, stored


def _there(server: Server | None, uuid: str) -> Server:
    if server is None:
        name = SERVER.format(uuid)
        msg = f"{name} does not exist"
        raise NotFound(msg, remedy="List servers with ListServers (`bms server list`).", name=name)
    return server


def _uuid(given: str) -> str:
    try:
        return SERVER.parse(SERVER.format(given), "server_id")[0]
    except InvalidField:
        field, description = "server_id", "is not a UUID in lower case"
        raise InvalidField(field, description, remedy="Give the server's UUID, or leave it empty.") from None


def _checked(spec: ServerSpec, given: Login) -> tuple[ServerSpec, Login]:
    checks = Checks()
    spec = domain.checked(spec, checks)
    domain.told_twice(spec, checks)
    domain.checked_login(given, checks, kept=spec.bmc.kept_by_controller)
    checks.raise_for("server.")
    return spec, given


def _allowed(server: Server, spec: ServerSpec) -> None:
    require_kept(server)
    fixed = fixed_while_held(server.spec, spec) if server.pool.in_use else []
    if fixed:
        msg = f"{', '.join(fixed)} of {server.name} cannot change while {server.pool.reserved_by} holds it"
        raise WrongState(
            msg,
            remedy=f"Delete {server.pool.reserved_by} first, or change other fields only.",
            subject=server.name,
            instance=server.pool.reserved_by,
            fields=", ".join(fixed),
        )
