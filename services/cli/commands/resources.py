# SPDX-License-Identifier: Apache-2.0
"""`bms api-resources`: what there is to know about, in one table."""

from __future__ import annotations

from dataclasses import dataclass

import click

from services.cli.screen import Column
from services.cli.session import Session, reads


@dataclass(frozen=True, slots=True)
class _Resource:
    noun: str
    form: str
    service: str
    meaning: str


_RESOURCES = (
    _Resource("server", "servers/{uuid}", "inventory", "a machine: what it is, where it is, how it is wired"),
    _Resource("server", "servers/{uuid}/status", "lifecycle", "where that machine is in its life"),
    _Resource("flavor", "flavors/{flavor}", "inventory", "what a tenant asks a server to be"),
    _Resource("image", "images/{image}", "inventory", "what can be written to a disk"),
    _Resource("pool", "pools/{kind}.{value}", "inventory", "servers that have something in common, counted"),
    _Resource("force", "servers/{uuid}/forcedActions/{uuid}", "lifecycle", "what two administrators answer for"),
    _Resource("instance", "projects/{project}/instances/{instance}", "lifecycle", "a tenant's hold on a server"),
    _Resource("operation", "[projects/{project}/]operations/{service}-{uuid}", "its own", "long work, to be followed"),
    _Resource("network", "projects/{project}/networks/{network}", "network", "what server ports are attached to"),
    _Resource("prefix", "projects/{project}/prefixes/{prefix}", "ipam", "a range of addresses of a network"),
    _Resource("lease", "projects/{project}/leases/{uuid}", "ipam", "an owner's hold on an address"),
    _Resource("event", "(its id)", "telemetry", "what happened, from every service's log"),
    _Resource("checkpoint", "(its number)", "each log's", "what a service has signed of its log"),
    _Resource("uve", "uves/{type}/{key}", "telemetry", "what analytics knows of an object now"),
    _Resource("message", "(its id)", "telemetry", "Sandesh as it came over the wire"),
)


@click.command("api-resources")
@reads
def api_resources(session: Session) -> None:
    """List the resources, the forms of their names, and the services they are of."""
    session.screen.rows(
        _RESOURCES,
        (
            Column("NOUN", lambda each: each.noun),
            Column("NAME", lambda each: each.form),
            Column("SERVICE", lambda each: each.service),
            Column("WHAT IT IS", lambda each: each.meaning),
        ),
        name=lambda each: each.form,
        as_data=lambda each: {"noun": each.noun, "name": each.form, "service": each.service, "meaning": each.meaning},
    )
