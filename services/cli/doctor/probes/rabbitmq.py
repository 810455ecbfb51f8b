# SPDX-License-Identifier: Apache-2.0
"""Asks the broker, and if that is wanted changes a node to hear of it."""

from __future__ import annotations

import contextlib
import json
import ssl
import uuid
from collections.abc import Sequence
from dataclasses import replace

from services.cli.doctor.facts import Endpoint, Node, Rabbitmq, Seen
from services.cli.doctor.probes.amqp import Address, Broker, NoBroker, Refused, parse
from services.cli.doctor.probes.certificates import days_left
from services.cli.doctor.probes.http import Api, Silent, is_here

EXCHANGE, KEYS = "ironic", "ironic_versioned_notifications.*"
HEARD_SECONDS = 8.0
_QUIET = ("available", "manageable", "active", "enroll")


def look(url: str, ca: str, seconds: float) -> Rabbitmq:
    """What is seen of the broker at *url*, without changing anything."""
    try:
        address = parse(url)
    except ValueError as error:
        return Rabbitmq(Endpoint("the URL in the file", why=str(error), kind="broken"))
    found = _place(address, seconds)
    try:
        with Broker(address, seconds, ca) as broker:
            try:
                there = Seen(broker.has_exchange(EXCHANGE))
            except (Refused, NoBroker) as error:
                there = Seen(None, str(error))
            return Rabbitmq(found, login=Seen(True), exchange=there, heard=Seen(None, "not tried without --probe"))
    except Refused as error:
        told = f"it refuses the login of user {address.user!r}" if error.code == 403 else str(error)
        return Rabbitmq(found, login=Seen(None, told))
    except NoBroker as error:
        return Rabbitmq(replace(found, why=str(error), kind="broken"))
    except ssl.SSLError as error:
        return Rabbitmq(replace(found, why=f"no TLS with it that can be trusted ({error.reason})", kind="distrusted"))
    except TimeoutError:
        return Rabbitmq(replace(found, why=f"no answer within {seconds:.0f} s", kind="slow"))
    except OSError as error:
        told = error.strerror or "the connection is closed without an answer"
        return Rabbitmq(replace(found, why=str(told).lower(), kind="silent"))


def _place(address: Address, seconds: float) -> Endpoint:
    days = days_left(f"{address.host}:{address.port}", seconds) if address.tls else None
    return Endpoint(address.shown, tls=address.tls, local=is_here(address.host), days=days)


def listen(found: Rabbitmq, url: str, ca: str, api: Api | Endpoint, nodes: Sequence[Node], seconds: float) -> Rabbitmq:
    """*found*, and whether a note on a node that nobody works on is told of; the note is removed again."""
    if not found.exchange.value:
        return found
    quiet = [node for node in nodes if node.state in _QUIET and not node.maintenance]
    if isinstance(api, Endpoint) or not quiet:
        return replace(found, heard=Seen(None, "there is no node that could be changed"))
    # One that nobody has, if there is one.
    node = min(quiet, key=lambda each: (bool(each.instance), each.uuid))
    try:
        with Broker(parse(url), seconds, ca) as broker:
            heard = broker.listen(EXCHANGE, KEYS)
            return replace(found, heard=_change(broker, heard, api, node.uuid))
    except (OSError, Refused, NoBroker) as error:
        return replace(found, heard=Seen(None, f"the broker: {error}"))


def _change(broker: Broker, heard: list[bytes], api: Api, node: str) -> Seen[str]:
    mark = uuid.uuid4().hex
    path = f"/v1/nodes/{node}"
    try:
        added = api.ask(path, "PATCH", [{"op": "add", "path": "/extra/bms_doctor", "value": mark}])
    except Silent as error:
        return Seen(None, str(error))
    if refusal := added.refusal():
        return Seen(None, f"the node could not be changed: {refusal}")
    try:
        for body in broker.messages(heard, HEARD_SECONDS):
            if mark.encode() in body:
                return Seen(_type(body))
        return Seen("")
    finally:
        # What stays behind if this fails is a word in `extra`, which the next probe writes over.
        with contextlib.suppress(Silent):
            api.ask(path, "PATCH", [{"op": "remove", "path": "/extra/bms_doctor"}])


def _type(body: bytes) -> str:
    try:
        outer = json.loads(body)
        return str(json.loads(outer["oslo.message"])["event_type"])
    except (KeyError, TypeError, ValueError):
        return "a message of another form"
