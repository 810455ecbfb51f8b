# SPDX-License-Identifier: Apache-2.0
"""What others did to a server in its controller (Ironic), as far as we stand still for it; see waits.py."""

from __future__ import annotations

from datetime import timedelta

from services.lifecycle.domain.blocker import Blocker, Kind

_SHOW = "openstack baremetal node show {server} --fields provision_state instance_uuid maintenance fault last_error"
_ANEW = ("bms server quarantine {server} --reason REASON", "bms server recover {server}")

OF_OTHERS = (
    Blocker(
        "NODE_UNEXPECTED",
        Kind.WAIT,
        "The controller (Ironic) shows the server's node in a state that nobody here asked for.",
        "administrator",
        "Find out who led it there, and lead it back. A free server is not offered meanwhile; the sure way back for it"
        " is quarantine and recovery.",
        (_SHOW, *_ANEW),
        sla=timedelta(0),
    ),
    Blocker(
        "NODE_GONE",
        Kind.WAIT,
        "Somebody deleted the server's node in the controller (Ironic): its power can be neither read nor switched.",
        "administrator",
        "Delete the server here too if it left the site; else set it aside and recover it, which makes the node anew."
        " An instance on it goes on running until then.",
        ("openstack baremetal node show {server}", *_ANEW),
        sla=timedelta(0),
    ),
    Blocker(
        "USED_ELSEWHERE",
        Kind.FAULT,
        "Somebody used the server's node in the controller (Ironic) while nobody here held it: its clean pass no longer"
        " counts.",
        "administrator",
        "Find out who did, and keep the node from him; then recover: everything is inspected and erased anew.",
        (_SHOW, "bms server recover {server}"),
    ),
    Blocker(
        "UNDEPLOYED_ELSEWHERE",
        Kind.FAULT,
        "Somebody undeployed the server's node in the controller (Ironic) while an instance held it: whether it was"
        " clean between the two, nothing here shows.",
        "administrator",
        "Find out who did, then recover: everything is inspected and erased anew. The tenant deletes his instance.",
        (_SHOW, "bms server recover {server}"),
    ),
)
"""Codes that services/lifecycle/observing gives, beside BMC_SILENT and those of waits_of_controllers.py."""
