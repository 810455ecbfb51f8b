# SPDX-License-Identifier: Apache-2.0
"""A mechanism driver of a genuine Neutron, standing in for a switch's plugin; it keeps a journal of what it was told.

It binds the bare metal ports that say where they are plugged in, and makes them ACTIVE; a port that does not say so yet
is left unbound, which Ironic asks for on purpose before it deploys. The tagged networks of a port go onto the switch
with it, and a trunk is ACTIVE once they are; like many, it takes no trunk on a port that is bound, nor off one. The
journal, ``$BMS_STANDIN_JOURNAL``, has one object a line: ``time`` (seconds of the epoch), ``what``, ``port``, and
``before`` (how the port was) or ``segment``.

Loaded by Neutron in an environment of its own; nothing of ours can be imported here.
"""

from __future__ import annotations

import json
import os
import time

from neutron.db import provisioning_blocks
from neutron.services.trunk.drivers import base
from neutron_lib.api.definitions import portbindings
from neutron_lib.callbacks import events, registry, resources
from neutron_lib.plugins import directory
from neutron_lib.plugins.ml2 import api
from oslo_config import cfg

NAME = "bms-standin"
ENTITY = "BMS-STANDIN"


def _note(what, **facts) -> None:
    line = json.dumps({"time": time.time(), "what": what, **facts}, default=str) + "\n"
    # One write to a file that is open for appending: two processes tell of their ports.
    journal = os.open(os.environ["BMS_STANDIN_JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(journal, line.encode())
    finally:
        os.close(journal)


class StandInTrunks(base.DriverBase):
    """Says that the switch takes trunks, and when a trunk that is bound has changed."""

    def __init__(self):
        super().__init__(NAME, (portbindings.VIF_TYPE_OTHER,), ("vlan",), can_trunk_bound_port=False)

    @property
    def is_loaded(self):
        return NAME in cfg.CONF.ml2.mechanism_drivers

    @registry.receives(resources.SUBPORTS, [events.AFTER_CREATE, events.AFTER_DELETE])
    def changed(self, resource, event, trigger, payload):
        trunk = payload.latest_state
        parent = directory.get_plugin().get_port(payload.context.elevated(), trunk.port_id)
        _note("subports", port=parent)
        if parent[portbindings.VIF_TYPE] == portbindings.VIF_TYPE_OTHER:
            trunk.update(status="ACTIVE")


class StandInSwitch(api.MechanismDriver):
    # Ironic gives no address to a port that does not boot, and without this such a port is bound by nobody.
    connectivity = portbindings.CONNECTIVITY_L2

    def initialize(self):
        # Trunks look for who takes them once all of Neutron is loaded.
        self.trunks = StandInTrunks()

    def bind_port(self, context):
        port = context.current
        plugged = (port.get(portbindings.PROFILE) or {}).get("local_link_information")
        for segment in context.segments_to_bind:
            _note("bind", port=port, segment=segment)
            if plugged:
                provisioning_blocks.add_provisioning_component(
                    context._plugin_context, port["id"], resources.PORT, ENTITY
                )
                context.set_binding(segment[api.ID], portbindings.VIF_TYPE_OTHER, {})
                return

    def create_port_postcommit(self, context):
        _note("create", port=context.current)

    def update_port_postcommit(self, context):
        port = context.current
        _note("update", port=port, before=context.original)
        if port.get(portbindings.VIF_TYPE) == portbindings.VIF_TYPE_OTHER and port.get("status") != "ACTIVE":
            if trunk := port.get("trunk_details"):
                wanted = {"trunk": {"status": "ACTIVE"}}
                directory.get_plugin("trunk").update_trunk(context._plugin_context, trunk["trunk_id"], wanted)
            provisioning_blocks.provisioning_complete(context._plugin_context, port["id"], resources.PORT, ENTITY)

    def delete_port_postcommit(self, context):
        _note("delete", port=context.current)
