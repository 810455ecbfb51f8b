# SPDX-License-Identifier: Apache-2.0
"""A cloud's Nova and Placement, by the login that the whole process shares, for any project."""

from __future__ import annotations

import re
from functools import cache

from services.lifecycle.backends.nova_servers import COMPUTE, PEER, PLACEMENT, NovaServers
from services.runtime.keystone.clouds import shared_login
from services.runtime.openstack_sdk import Cloud, Service

SETTING = "BMS_LIFECYCLE_NOVA_CLOUD"
_SECONDS = 10.0
_PROJECT_ID = re.compile(r"[0-9a-f]{32}")


def nova_servers(name: str) -> NovaServers:
    """The servers of the Nova of cloud *name* in clouds.yaml; nobody is asked yet."""
    # What is deployed through Nova belongs to projects of Keystone's: a login that is none there is said to be so.
    cloud = Cloud(name, SETTING, lambda: shared_login(name))
    placement = cloud.service("Placement", "placement", seconds=_SECONDS, microversion=PLACEMENT)

    def compute(project: str) -> Service:
        return cloud.service(PEER, "compute", seconds=_SECONDS, microversion=COMPUTE, project=project)

    own = cache(cloud.own_project)
    # A word of the site's own is the project of our login.
    return NovaServers(compute, placement, lambda ours: ours if _PROJECT_ID.fullmatch(ours) else own())
